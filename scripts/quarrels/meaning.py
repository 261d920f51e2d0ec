"""The words that faithful.py knows: verbs with similar meanings, nouns for the same thing, verbs of anger and of answers."""
import re
import english

# A summary may replace the first verb of a line by the others, all in their base form.
_VERBS = """
break smash shatter crack damage destroy ruin wreck drop
drop break knock fall
knock topple tip drop break
scratch dent damage scrape mark ruin
drive crash hit ram bump run steer back
eat finish consume devour have
lose misplace leave drop
forget leave neglect fail
leave forget abandon
feed
water
wash clean scrub
clean wash
pay settle
play make practice practise
have host throw hold give organize
invite bring ask let
take borrow use grab steal remove wear
borrow take use
return give bring keep hold
keep hold return take hog
tell reveal share spread talk disclose betray spoil say speak mention inform gossip
come arrive show turn be appear attend
arrive come show turn be
miss skip forget attend come oversleep
shrink wash ruin
turn dye color stain ruin
spill pour drop tip empty ruin stain
delete erase remove lose destroy
burn char overcook ruin scorch singe
cheat trick lie deceive
use finish empty spend waste
finish use empty eat complete end drink
lock close shut
close lock shut open
cut trim shave chop ruin mow
lie deceive mislead tell
throw leave drop toss put
sell give
give sell hand lend leave offer gift
read look open see
look read go check
show share
watch see mind
paint color colour draw
spend waste use blow
put add mix place use leave
let allow make
park block leave put
block park
hit break damage strike shoot
shoot hit
pick collect fetch get leave
post put share publish upload
tear rip
rip tear damage
make cause tear
read misread
send show lead direct
wake disturb rouse
write put enter note print make
make do commit
mix confuse swap
hand submit deliver finish turn
sign present claim take
present claim take
shout yell scream bark
hang insult
insult offend
laugh mock tease ridicule joke
complain talk gossip
cancel call lose
book reserve order
copy steal take cheat
score kick
get receive take
hide put
bring serve deliver
serve help bring
charge overcharge bill cheat
overcharge charge
repair fix mend
dye color colour paint turn
flood soak
help serve assist
run bump crash hit ride drive
push shove throw
pull drag
iron burn ruin
send mail deliver forward email
misspell spell write
lend give loan borrow
shave cut
sew stitch
sing start
lock shut trap
wear use put take
destroy break knock drive ruin
teach show
knock topple
cry sob weep
unplug disconnect pull turn switch
turn switch shut
sit crush squash step flatten
step sit tread crush
snore
smoke
practice practise play
buy get wear
wear buy
bet gamble lose
explain show teach
plan take book
order get buy
forward send
steer crash drive run
move touch shift
fall sleep doze
mow cut
stay live
attend come
hit crash drive
"""
# Base forms with little meaning: the other words of the phrase count too.
LIGHT = set("take give let put have make get do come be leave use keep send turn play go tell".split())
NEGATIONS = set("not never fail neglect without refuse forget".split()) | {"n't"}
# Names for the same thing, likewise.
_NOUNS = """
bicycle bike|car vehicle auto|van vehicle car|truck vehicle|motorbike motorcycle bike|phone cellphone mobile smartphone|laptop computer|tablet device
photo picture image photos pictures|photos pictures images|holiday vacation|trash garbage rubbish|garbage trash rubbish bags|sofa couch|couch sofa
cat pet animal|dog pet animal|rabbit pet animal bunny|hamster pet animal|parrot pet bird animal|goldfish fish pet|chickens hens animals birds|puppy dog pet|poodle dog pet|kitten cat pet
pony horse animal|canary bird pet|donkey animal|tortoise turtle pet|dogs pets animals|goats animals|geese birds animals|puppies dogs|bees insects|pigeons birds|ducks birds|peacock bird
wallet purse|purse wallet|glasses spectacles eyeglasses|sunglasses glasses shades|umbrella|keys key|essay paper text|homework assignment|report paper|contract document|film movie|movie film
apartment flat|flat apartment|tv television|fridge refrigerator|present gift|gift present|money cash dollars savings|savings money|clothes clothing|dress gown|suit outfit|uniform outfit clothes
parcel package packet|package parcel|restaurant place|diner restaurant place|house home|kids children|children kids|twins children kids babies|baby child|toddler child|grandmother grandma|grandma grandmother
friend|bill invoice|rent|dishes plates|plates dishes|heating heater radiator|elevator lift|hair haircut|beard|mother mom|mom mother|birthday party|party celebration|meeting|presentation talk|music|drums drum
roses flowers|tomatoes plants vegetables|orchid flower plant|herbs plants|tree|hedge bushes|boots shoes|sneakers shoes|socks|towels|wedding|recital concert|concert show|cake|tart cake|cheesecake cake
tuxedo suit|waistcoat vest|telescope|notebook|letters letter mail|diary journal|messages texts|computer pc machine|printer machine|machine|bus|ferry boat|boat ship|yoga|course class|class course
game match|match game|final match game|window|mailbox box|certificate|invitations invites cards|menus menu|atlas book|dictionary book|songbook book|magazine|album
dollars money debt|pounds money debt|euros money debt|night sleep|appointment|reservation booking|room|website site page|app program application|sandwich lunch food|pizza food|salad food|soup food|yogurt food
jeans trousers pants|trousers pants|coat jacket|jacket coat|sweater jumper pullover|blouse shirt top|shirt top|tooth teeth|picnic|lawn grass garden|garden yard|yard garden|exam test|test exam
"""


def table(text, separator):
    found = {}
    for line in text.strip().replace("\n", separator).split(separator):
        words = line.split()
        found.setdefault(words[0], {words[0]}).update(words)
    return found


VERBS, NOUNS = table(_VERBS, "\n"), table(_NOUNS, "|")
# Somebody is angry: the subject is the one who complains. After `with`, `at`, `to` or as object comes the other one.
ANGER = set("""blame scold criticize criticise accuse reproach rebuke complain grumble call insult label resent berate confront condemn yell shout scream lecture
angry upset annoyed mad furious unhappy disappointed displeased cross dissatisfied unsatisfied irritated outraged displeased frustrated tired sick hate dislike
pleased happy satisfied forgive""".split())
# those of these verbs that have the blamed one as their object, also as passive participles
BLAMES = set("blame scold criticize criticise accuse reproach rebuke insult label berate confront condemn call forgive".split())
# Answers: the subject is the one who answers. Words of a group have similar meanings.
ANSWERS = [set(line.split()) for line in """
promise offer will agree want plan intend propose volunteer vow swear assure going try
apologize apologise sorry regret apology
refuse decline reject unwilling deny not
suggest advise recommend propose tell urge should think want encourage
threaten warn
ask beg request want
invite
""".strip().splitlines()]
ANSWER_VERBS = set("promise offer agree vow swear volunteer apologize apologise refuse decline suggest advise recommend urge threaten invite propose".split())
# Common words in summaries, which contain no information.
PLAIN = set("""a an the and or but so because as since for of to in on at by with without from about into onto over after before when while if that this these those who whom whose which what how why
he she it they him her them his hers its their theirs himself herself themselves is are was were be been being am has have had having do does did done will would can could should may might must not no n't
never very really quite too also both each other another one ones some any all much many everything more most less few still again even just only then there here now already later soon up out off down away back
say tell ask talk speak explain mention admit confess think believe feel find know hear learn discover claim state add reply answer respond describe discuss argue quarrel fight conversation dialogue
angry upset annoyed mad furious unhappy disappointed displeased cross dissatisfied irritated outraged frustrated pleased happy satisfied calm sorry tired sick bad worse wrong rude polite unfair careless serious
blame scold criticize accuse complain call insult forgive accept reject refuse apologize promise offer suggest advise recommend want wish need hope plan agree decide try propose threaten warn request demand invite thank
understand care mind let make get take give go come keep use put see look happen cause reason problem trouble mistake fault accident purpose thing something anything nothing someone somebody everyone everybody nobody
instead due according despite although though however therefore during until like such own new person people man woman lady guy friend way time pay replace replacement compensate compensation cost damage damaged lost
buy bring fix repair help return money future next first last promise repeat behavior behaviour attitude situation issue matter fact result response excuse explanation apology outcome consequence""".split())


def stem(word):
    """a word without its ending: enough to compare two texts"""
    word = word.lower().removesuffix("'s").removesuffix("'")
    for verb in LEMMA.get(word, ()):
        return verb
    for ending, left in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and len(word) > 3 and not word.endswith("ss"):
            return word[: -len(ending)] + left
    return word


LEMMA = {}


def learn(verbs):
    """maps all forms of these verbs to their base form"""
    for verb in verbs:
        third = english.plural(verb) if verb not in ("have", "be", "do", "go") else {"have": "has", "be": "is", "do": "does", "go": "goes"}[verb]
        for form in (verb, english.past(verb), english.participle(verb), english.ing(verb), third):
            if verb not in LEMMA.setdefault(form, []):
                LEMMA[form].append(verb)


learn(dict.fromkeys([verb for line in _VERBS.strip().splitlines() for verb in line.split() if verb not in ("fall", "lie") or True]))
learn(sorted(ANSWER_VERBS | BLAMES | {"complain", "ask", "tell", "say", "explain", "admit", "argue", "replace", "pay", "buy", "promise", "lie", "want", "think"}))
for form, verb in (("found", "find"), ("are", "be"), ("were", "be"), ("am", "be"), ("learnt", "learn"), ("burnt", "burn"), ("spilt", "spill"), ("dreamt", "dream"), ("smashed", "smash")):
    LEMMA.setdefault(form, []).insert(0, verb)


def learn_deeds(phrases):
    """adds the verbs of the generator's deeds"""
    learn(sorted({re.sub(r"^(not |forget to )", "", phrase).split()[0] for phrase in phrases}))
