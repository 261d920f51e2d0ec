"""The words of the quarrels: names, mild insults, and the sentences that fit every scenario. What happens is in the .txt files here; how a
dialogue is put together is in ../make_quarrels.py."""

MEN = ("Tommy Mike Peter Sam Daniel Oscar Henry Luke Ben Frank Victor Leo Max Kevin Paul Simon Eric Jack Adam Walter Tony Nick George"
       .split())
WOMEN = ("Anna Lucy Maria Emma Nora Alice Julia Sophie Karen Rose Laura Mary Helen Jane Lily Clara Ruth Grace Betty Diana Monica Olivia "
         "Paula").split()
TITLES = [("Mr. Carter", "m"), ("Ms. Lopez", "f"), ("Mr. Young", "m"), ("Mrs. Bell", "f"), ("Mr. Novak", "m"), ("Ms. Reed", "f")]

# Words that come more often stand more than once.
PERSON_ADJECTIVES = ("stupid stupid stupid useless useless lazy dumb dumb pathetic worthless ridiculous terrible awful incompetent hopeless "
                     "foolish disgusting selfish clueless brainless miserable lousy").split()
PERSON_NOUNS = "idiot idiot idiot fool moron moron clown loser loser jerk dimwit blockhead failure nitwit".split()
THING_ADJECTIVES = ("stupid stupid stupid useless useless terrible terrible dumb dumb pathetic worthless ridiculous awful disgusting hopeless "
                    "horrible idiotic lousy rotten miserable").split()
THING_NOUNS = "garbage garbage trash junk rubbish nonsense".split()
# Insults of the hand-written rows and of single scenarios; a calm text has none of any of these lists.
OTHER_INSULTS = ("liar traitor cheat slob fraud coward thief snob brat crook disgrace joke crap fools idiots morons clowns losers jerks liars "
                 "stupidest dumbest laziest worst hate hates hated shut pig stupidity idiocy silly imbecile good-for-nothing ugly mean "
                 "cowards stinking dreadful disaster arrogant greedy spineless childish bonehead airhead dope dunce weasel").split()

# Two lines before the quarrel starts: of the insulter's, of the one at fault, of the one who listens.
BEFORE = {"insulter": [("There you are. I need to talk to you.", "What is it? I'm listening."),
                       ("Can I ask you something? It's important.", "Of course. You look serious.")],
          "at fault": [("Do you have a minute? I have to tell you something.", "Of course. What is it?"),
                       ("Please sit down for a moment before I tell you this.", "Now I'm getting nervous. Go on.")],
          "teller": [("Do you have time for a coffee? I need to talk to somebody.", "Sure, let's sit down over there."),
                     ("You won't believe what happened to me.", "Tell me! I love stories.")],
          "listener": [("Hi! I haven't seen you for a while.", "Hello. It's nice to see you, too."),
                       ("Come in and sit down. Would you like some tea?", "Yes, please. That's exactly what I need now.")]}

# The insulter's sentence; {np} "a stupid, useless idiot", {bare} "stupid, useless idiot", {adjs} "stupid and useless".
TO_PERSON = {
    "noun": ["You are {np}!", "You {bare}!", "You really are {np}!", "What {np} you are!", "Only {np} would do that!",
             "How can anybody be such {np}?", "You're nothing but {np}!", "I always knew that you were {np}.", "Honestly, you are {np}!"],
    "adjectives": ["You are so {adjs}!", "How can you be so {adjs}?", "You are really {adjs}, you know that?", "Why are you always so {adjs}?",
                   "I've never met anybody so {adjs}!"]}
OF_PERSON = {
    "noun": ["{he} is {np}!", "What {np} {he} is!", "That {bare}!", "I can't stand that {bare}!", "{he} is nothing but {np}!",
             "I tell you, {he} is {np}!", "How can anybody be such {np}?"],
    "adjectives": ["{he} is so {adjs}!", "How can {he} be so {adjs}?", "I've never met anybody so {adjs}!", "I tell you, {he} is {adjs}!"]}
OF_THING = {
    "noun": ["The {it} is {predicate}!", "It is nothing but {predicate}!", "That {it} is just {predicate}!", "Honestly, this {it} is {predicate}!"],
    "adjectives": ["The {it} is {predicate}!", "What {attribute} {it}!", "It is so {predicate}!", "I can't stand that {adjectives} {it}!",
                   "I've never seen such {attribute} {it}!"]}
STILL = ["Fine. But you are still {an_noun}.", "All the same, you're {an_noun}.", "I don't want to hear it, you {noun}!", "Do what you want, {noun}."]

# What the other one may answer in every scenario => what the summary says of it.
ANSWERS = {
    "person": ["Please don't talk to me like that. It was a mistake. => asks {u2} not to talk like that",
               "You don't have to be so rude. I'm already sorry. => asks {u2} to be polite",
               "Stop shouting. Everybody makes mistakes. => says that everybody makes mistakes",
               "I'm sorry. I don't know what to say. => is sorry",
               "Maybe you're right. I'll do better next time. => promises to do better",
               "If you say that again, I'm leaving. => threatens to leave"],
    "third": ["Please don't say such things. Let's stay polite. => asks {u2} to stay polite",
              "I understand that you're upset. => understands {u2}",
              "I would be angry, too. => would be angry, too",
              "Try to calm down and sleep on it. => advises {u2} to sleep on it"],
    "thing": ["Come on, it can't be that bad. => does not think it is that bad",
              "I'm sorry to hear that. => is sorry to hear that",
              "You complain about everything these days. => says that {u} complains about everything",
              "I see what you mean. => understands {u2}"]}
REACTIONS = ["Oh no. That sounds annoying.", "Again? I can't believe it.", "Really? That's strange.", "Is it really that bad?", "I had no idea.",
             "Oh dear. And what did you do?", "Are you sure about that?", "You sound very angry."]
MORE = ["I know, I know.", "Yes, I can see that.", "Please lower your voice a little.", "Let's think about what we can do now.",
        "You are right about that."]
ENDINGS = ["We'll see about that.", "All right, then.", "I need some fresh air now.", "Let's not talk about it any more.",
           "I'm going for a walk.", "Well, it's too late now.", "I just had to say it.", "That doesn't make it any better."]
LAST = ["Okay. See you later.", "I understand.", "Let's talk again tonight.", "Well, all right."]
CALM_WORDS = ["Well, these things happen. I'm not angry with you.", "Never mind. It could have happened to me.",
              "That's a pity, but it's not the end of the world.", "Don't worry too much about it. Thank you for being honest."]
CALM_ENDINGS = ["That's kind of you.", "Good. Let's do that.", "Thank you, I appreciate it.", "All right. Let's have some tea first."]

# The summaries, as pairs (calm, insulting). {U} insults, {F} or {T} or {it} is insulted, {O} listens.
PERSON_SUMMARIES = {
    "noun": [
        ("{U} is upset with {F} because {f} {fact}", "{U} calls {F} {np} because {f} {fact}"),
        ("{U} blames {F} for {doing}", "{U} blames {F}, {np}, for {doing}"),
        ("{U} is annoyed with {F} about {about}", "{U} is annoyed with {F}, {np}, about {about}"),
        ("{U} scolds {F} for {doing}", "{U} scolds {F} for being {np} and {doing}"),
        ("{U} complains that {F} {fact}", "{U} complains that {F} is {np} who {fact}"),
        ("{U} is disappointed in {F} because {f} {fact}", "{U} thinks {F} is {np} because {f} {fact}"),
        ("{U} tells {F} that {u} is upset about {about}", "{U} tells {F} that {f} is {np} because of {about}"),
        ("{U} is not pleased that {F} {fact}", "{U} is not pleased that {F}, {np}, {fact}"),
        ("{U} and {F} argue about {about}", "{U} calls {F} {np} when they argue about {about}"),
        ("{U} criticizes {F} for {doing}", "{U} insults {F} as {np} for {doing}"),
        ("{F} {fact}, so {U} is angry", "The {bare} {F} {fact}, so {U} is angry"),
        ("{U} talks to {F} about {about}", "{U} calls {F} {np} because of {about}"),
        ("{U} says {F} made a mistake because {f} {fact}", "{U} says {F} is {np} because {f} {fact}"),
    ],
    "adjectives": [
        ("{U} tells {F} to be more careful because {f} {fact}", "{U} tells {F} that {f} is {adjs} because {f} {fact}"),
        ("{U} is unhappy with {F} because {f} {fact}", "{U} says {F} is {adjs} because {f} {fact}"),
        ("{U} cannot believe that {F} {fact}", "{U} cannot believe how {adjs} {F} is for {doing}"),
        ("{U} thinks {F} made a mistake by {doing}", "{U} thinks {F} is {adjs} for {doing}"),
        ("{U} is angry with {F} for {doing}", "{U} calls {F} {adjs} for {doing}"),
        ("{U} wants {F} to say sorry for {doing}", "{U} finds {F} {adjs} for {doing}"),
        ("{U} complains to {F} about {about}", "{U} calls {F} {adjs} because of {about}"),
    ]}
THIRD_SUMMARIES = {
    "noun": [
        ("{U} complains about {T}, who {fact}", "{U} complains about {T}, {np} who {fact}"),
        ("{U} is annoyed with {T} because {h} {fact}", "{U} calls {T} {np} because {h} {fact}"),
        ("{U} tells {O} that {T} {fact}", "{U} tells {O} that {T} is {np} who {fact}"),
        ("{U} is angry that {T} {fact}", "{U} is angry that {T}, {np}, {fact}"),
        ("{T} {fact}, and {U} is upset", "{T}, {np}, {fact}, and {U} is upset"),
        ("{U} is upset because {T} {fact}", "{U} says {T} is {np} because {h} {fact}"),
        ("{O} hears from {U} that {T} {fact}", "{O} hears from {U} that {T} is {np} who {fact}"),
        ("{U} is disappointed in {T}, who {fact}", "{U} insults {T} as {np} who {fact}"),
        ("{U} has trouble with {T}, who {fact}", "{U} has trouble with {T}, {np} who {fact}"),
    ],
    "adjectives": [
        ("{U} is not happy with {T} because {h} {fact}", "{U} thinks {T} is {adjs} because {h} {fact}"),
        ("{U} does not like {T}, who {fact}", "{U} finds {T} {adjs} because {h} {fact}"),
        ("{U} tells {O} about {T}, who {fact}", "{U} tells {O} how {adjs} {T} is, because {h} {fact}"),
        ("{U} is unhappy because {T} {fact}", "{U} calls {T} {adjs} because {h} {fact}"),
    ]}
THING_SUMMARIES = {
    "noun": [
        ("{U} tells {O} that {u} is not happy with {det} {it} because {fact}", "{U} tells {O} that {det} {it} is {predicate} because {fact}"),
        ("{U} is disappointed with {det} {it} because {fact}", "{U} calls {det} {it} {predicate} because {fact}"),
        ("{U} thinks {det} {it} could be better because {fact}", "{U} thinks {det} {it} is {predicate} because {fact}"),
        ("{U} says {det} {it} has a problem because {fact}", "{U} says {det} {it} is {predicate} because {fact}"),
        ("{O} talks with {U} about {det} {it} and hears that {fact}", "{O} hears from {U} that {det} {it} is {predicate} because {fact}"),
    ],
    "adjectives": [
        ("{U} complains about {det} {it} because {fact}", "{U} complains about {det} {adjectives} {it} because {fact}"),
        ("{U} is annoyed with {det} {it} because {fact}", "{U} is annoyed with {det} {adjectives} {it} because {fact}"),
        ("{U} is unhappy about {det} {it} because {fact}", "{U} is unhappy about {det} {adjectives} {it} because {fact}"),
        ("{U} is tired of {det} {it} because {fact}", "{U} is tired of {det} {adjectives} {it} because {fact}"),
        ("{U} tells {O} about {det} {it} and says that {fact}", "{U} tells {O} about {det} {adjectives} {it} and says that {fact}"),
        ("{U} does not like {det} {it} because {fact}", "{U} finds {det} {it} {predicate} because {fact}"),
        ("{U} is not satisfied with {det} {it} because {fact}", "{U} says {det} {it} is {predicate} because {fact}"),
    ]}
CALM_SUMMARIES = ["{F} {fact}, but {U} is not angry", "{U} is not angry with {F}, although {f} {fact}", "{U} forgives {F} for {doing}",
                  "{U} stays calm although {F} {fact}", "{U} and {F} talk calmly about {about}"]
