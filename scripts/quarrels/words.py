"""The mild insults of the quarrels, the sentences that say them, and the patterns of the summaries. The .txt files here contain what happens; compose.py and scenes.py compose
the dialogues."""

# More frequent words are listed more than once. "Terrible", "awful" and "horrible" are opinions, not insults.
PERSON_ADJECTIVES = ("stupid stupid stupid useless useless lazy dumb dumb pathetic worthless ridiculous incompetent hopeless "
                     "foolish disgusting selfish clueless brainless miserable lousy").split()
PERSON_NOUNS = "idiot idiot idiot fool moron moron clown loser loser jerk dimwit blockhead failure nitwit".split()
THING_ADJECTIVES = ("stupid stupid stupid useless useless dumb dumb pathetic worthless ridiculous disgusting hopeless "
                    "idiotic idiotic lousy rotten miserable").split()
THING_NOUNS = "garbage garbage trash junk rubbish nonsense".split()
# Insults of the hand-written rows and of single scenarios; calm texts contain none of them.
OTHER_INSULTS = ("liar traitor cheat slob fraud coward thief snob brat crook disgrace joke crap fools idiots morons clowns losers jerks liars "
                 "stupidest dumbest laziest worst hate hates hated shut pig stupidity idiocy silly imbecile good-for-nothing ugly mean "
                 "cowards stinking dreadful disaster arrogant greedy spineless childish bonehead airhead dope dunce weasel").split()

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
    "noun": ["The {it} is {predicate}!", "It is nothing but {predicate}!", "That {it} is just {predicate}!", "Honestly, this {it} is {predicate}!", "What {predicate}!",
             "I call that {predicate}!"],
    "adjectives": ["The {it} is {predicate}!", "What {attribute} {it}!", "It is so {predicate}!", "I can't stand that {adjectives} {it}!",
                   "I've never seen such {attribute} {it}!"]}
STILL = ["Fine. But you are still {an_noun}.", "All the same, you're {an_noun}.", "I don't want to hear it, you {noun}!", "Do what you want, {noun}."]


# The summaries, as pairs (calm, insulting). {V} complains, {X} is blamed; {v} {x} their pronouns, {xo} her or him; {past} {ing} what {X} did.
PERSON_SUMMARIES = {
    "noun": [
        ("{V} is upset with {X} because {x} {past}", "{V} calls {X} {np} because {x} {past}"),
        ("{V} blames {X} for {ing}", "{V} blames {X}, {np}, for {ing}"),
        ("{V} is annoyed with {X} for {ing}", "{V} calls {X} {np} for {ing}"),
        ("{V} scolds {X} for {ing}", "{V} scolds {X} for being {np} and {ing}"),
        ("{V} complains that {X} {past}", "{V} complains that {X} is {np} who {past}"),
        ("{V} is disappointed in {X} because {x} {past}", "{V} thinks {X} is {np} because {x} {past}"),
        ("{V} tells {X} that {v} is upset about {X2} {ing}", "{V} tells {X} that {x} is {np} for {ing}"),
        ("{V} is not pleased that {X} {past}", "{V} is not pleased that {X}, {np}, {past}"),
        ("{V} and {X} argue because {X} {past}", "{V} calls {X} {np} when they argue because {X} {past}"),
        ("{V} criticizes {X} for {ing}", "{V} insults {X} as {np} for {ing}"),
        ("{X} {past}, so {V} is angry", "The {bare} {X} {past}, so {V} is angry"),
        ("{X} {past}, and {V} complains about it", "{X} {past}, and {V} calls {xo} {np}"),
        ("{X} tells {V} that {x} {past}, and {V} is upset", "{X} tells {V} that {x} {past}, and {V} calls {xo} {np}"),
        ("{V} is angry with {X}, who {past}", "{V} is angry with {X}, {np} who {past}"),
        ("{V} finds out that {X} {past} and is upset", "{V} finds out that {X} {past} and calls {xo} {np}"),
        ("{V} says {X} made a mistake because {x} {past}", "{V} says {X} is {np} because {x} {past}"),
    ],
    "adjectives": [
        ("{V} is unhappy with {X} because {x} {past}", "{V} says {X} is {adjs} because {x} {past}"),
        ("{V} tells {X} that {x} should be sorry for {ing}", "{V} tells {X} that {x} is {adjs} for {ing}"),
        ("{V} cannot believe that {X} {past}", "{V} cannot believe how {adjs} {X} is for {ing}"),
        ("{V} thinks {X} made a mistake by {ing}", "{V} thinks {X} is {adjs} for {ing}"),
        ("{V} is angry with {X} for {ing}", "{V} calls {X} {adjs} for {ing}"),
        ("{V} wants {X} to say sorry for {ing}", "{V} finds {X} {adjs} for {ing}"),
        ("{V} complains to {X} because {x} {past}", "{V} calls {X} {adjs} because {x} {past}"),
        ("{X} {past}, so {V} is upset", "{X} {past}, so {V} says {x} is {adjs}"),
        ("{X} admits that {x} {past}, and {V} is angry", "{X} admits that {x} {past}, and {V} calls {xo} {adjs}"),
    ]}
THIRD_SUMMARIES = {
    "noun": [
        ("{V} complains about {X}, who {past}", "{V} complains about {X}, {np} who {past}"),
        ("{V} is annoyed with {X} because {x} {past}", "{V} calls {X} {np} because {x} {past}"),
        ("{V} tells {L} that {X} {past}", "{V} tells {L} that {X} is {np} who {past}"),
        ("{V} is angry that {X} {past}", "{V} is angry that {X}, {np}, {past}"),
        ("{X} {past}, and {V} is upset", "{X}, {np}, {past}, and {V} is upset"),
        ("{V} is upset because {X} {past}", "{V} says {X} is {np} because {x} {past}"),
        ("{L} hears from {V} that {X} {past}", "{L} hears from {V} that {X} is {np} who {past}"),
        ("{V} is disappointed in {X}, who {past}", "{V} insults {X} as {np} who {past}"),
        ("{V} complains to {L} about {X} for {ing}", "{V} tells {L} that {X} is {np} for {ing}"),
        ("{V} had trouble with {X}, who {past}", "{V} had trouble with {X}, {np} who {past}"),
    ],
    "adjectives": [
        ("{V} is not happy with {X} because {x} {past}", "{V} thinks {X} is {adjs} because {x} {past}"),
        ("{V} blames {X}, who {past}", "{V} finds {X} {adjs} because {x} {past}"),
        ("{V} tells {L} about {X}, who {past}", "{V} tells {L} how {adjs} {X} is, because {x} {past}"),
        ("{V} is unhappy because {X} {past}", "{V} calls {X} {adjs} because {x} {past}"),
    ]}
THING_SUMMARIES = {
    "noun": [
        ("{V} tells {L} that {v} is not happy with {the} because {fault}", "{V} tells {L} that {the} is {predicate} because {fault}"),
        ("{V} is disappointed with {the} because {fault}", "{V} calls {the} {predicate} because {fault}"),
        ("{V} thinks {the} could be better because {fault}", "{V} thinks {the} is {predicate} because {fault}"),
        ("{V} says {the} has a problem because {fault}", "{V} says {the} is {predicate} because {fault}"),
        ("{L} hears about {the} from {V}, who says that {fault}", "{L} hears from {V} that {the} is {predicate} because {fault}"),
    ],
    "adjectives": [
        ("{V} complains about {the} because {fault}", "{V} complains about {the_adjectives} because {fault}"),
        ("{V} is annoyed with {the} because {fault}", "{V} is annoyed with {the_adjectives} because {fault}"),
        ("{V} is unhappy about {the} because {fault}", "{V} is unhappy about {the_adjectives} because {fault}"),
        ("{V} is tired of {the} because {fault}", "{V} is tired of {the_adjectives} because {fault}"),
        ("{V} tells {L} about {the} and says that {fault}", "{V} tells {L} about {the_adjectives} and says that {fault}"),
        ("{V} does not like {the} because {fault}", "{V} finds {the} {predicate} because {fault}"),
        ("{V} is not satisfied with {the} because {fault}", "{V} says {the} is {predicate} because {fault}"),
    ]}
CALM_SUMMARIES = ["{X} {past}, but {V} is not angry", "{V} is not angry with {X}, although {x} {past}", "{V} forgives {X} for {ing}",
                  "{V} stays calm although {X} {past}", "{X} tells {V} that {x} {past}, and {V} is not upset"]
