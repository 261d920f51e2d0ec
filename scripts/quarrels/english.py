"""English grammar for the generator of quarrels: verb forms, articles, pronouns, capital letters."""
import re

# base form: past, participle where it differs from the past
IRREGULAR = dict(line.split(": ") for line in """
be: was been|begin: began begun|bend: bent|bet: bet|bite: bit bitten|blow: blew blown|break: broke broken|bring: brought|build: built|burn: burned
buy: bought|catch: caught|choose: chose chosen|come: came come|cost: cost|cut: cut|do: did done|draw: drew drawn|drink: drank drunk|drive: drove driven
eat: ate eaten|fall: fell fallen|feed: fed|feel: felt|fight: fought|find: found|fly: flew flown|forget: forgot forgotten|get: got|give: gave given
go: went gone|hang: hung|have: had|hear: heard|hide: hid hidden|hit: hit|hold: held|hurt: hurt|keep: kept|know: knew known|lay: laid|lead: led
leave: left|lend: lent|let: let|lie: lied|lose: lost|make: made|mean: meant|meet: met|pay: paid|put: put|quit: quit|read: read|ride: rode ridden
ring: rang rung|run: ran run|say: said|see: saw seen|sell: sold|send: sent|set: set|sew: sewed|shake: shook shaken|shoot: shot|shrink: shrank shrunk|shut: shut
sing: sang sung|sit: sat|sleep: slept|speak: spoke spoken|spend: spent|spill: spilled|split: split|spread: spread|stand: stood|steal: stole stolen
spin: spun|light: lit|show: showed shown|stick: stuck|swim: swam swum|take: took taken|teach: taught|tear: tore torn|tell: told|think: thought|throw: threw thrown|wake: woke woken
wear: wore worn|win: won|write: wrote written""".strip().replace("\n", "|").split("|"))
DOUBLED = set("drop stop plan step slip rip trip mop chop ship swap skip drag plug dig cut hit put get let set sit run shut win swim quit forget begin bet wrap unplug tip grab beg snap nod rob unwrap hum clap knit stir trim scrub flip step nap pin spin".split())
VOWEL_SOUND = re.compile(r"(?!(?:uni|use|euro|one\b))[aeiou]|hour|honest", re.I)


def article(phrase):
    return f"{'an' if VOWEL_SOUND.match(phrase) else 'a'} {phrase}"


def past(verb):
    if verb in IRREGULAR:
        return IRREGULAR[verb].split()[0]
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    return verb + verb[-1] * (verb in DOUBLED) + "ed"


def third_person(verb):
    if re.search(r"(s|x|z|ch|sh|o)$", verb):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def participle(verb):
    return IRREGULAR[verb].split()[-1] if verb in IRREGULAR else past(verb)


def ing(verb):
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee") and verb not in ("be", "dye", "singe"):
        return verb[:-1] + "ing"
    return verb + verb[-1] * (verb in DOUBLED) + "ing"


def forms(phrase):
    """base, past, participle and -ing form of a verb phrase; `not feed the cat` is a phrase with a negation"""
    if phrase.startswith("not "):
        rest = phrase[4:]
        verb, _, more = rest.partition(" ")
        return {"base": f"not {rest}", "past": f"did not {rest}", "said": f"didn't {rest}", "have": f"have not {participle(verb)} {more}".strip(),
                "ing": f"not {ing(verb)} {more}".strip()}
    verb, _, more = phrase.partition(" ")
    join = lambda form: f"{form} {more}".strip()
    return {"base": phrase, "past": join(past(verb)), "said": join(past(verb)), "have": join("have " + participle(verb)), "ing": join(ing(verb))}


def capitals(text):
    """a capital at the start and after each sentence"""
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def plural(noun):
    if re.search(r"(s|x|ch|sh)$", noun):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"
