"""Composes a quarrel: the people, what they say, the two summaries, and the facts. ../make_quarrels.py uses it."""
import os, re, sys
import english, people as pp, phrases as ph, words as w
from english import article, capitals, forms
from people import Person

HERE = os.path.dirname(os.path.abspath(__file__))
# Words of the texts from the view of the one who complains ("v"), or of the one who answers ("x"): role and case.
VIEWS = {"v": {"YI": "X0", "YE": "X1", "YMY": "X2", "YOUR": "X2", "YSELF": "X3", "MY": "V2", "ME": "V1"},
         "x": {"I": "X0", "me": "X1", "my": "X2", "myself": "X3", "YI": "V0", "you": "V0", "You": "V0", "YE": "V1", "ye": "V1", "YMY": "V2", "your": "V2"}}
FIRST, SECOND = ("I", "me", "my", "myself"), ("you", "you", "your", "yourself")


def blocks(path):
    """the scenarios of a file: name, tags and lists of alternatives"""
    found = []
    for line in open(os.path.join(HERE, path), encoding="utf-8"):
        line = line.strip()
        if head := re.fullmatch(r"\[([\w-]+)\](.*)", line):
            tags = head[2].split()
            found.append({"name": head[1], "split": "test" if "test" in tags else "train", "tags": [t for t in tags if t != "test"]})
        elif part := re.match(r"(\w+): (.*)", line):
            found[-1][part[1]] = [value for piece in part[2].split(" | ") for value in
                                  (piece.split(", ") if part[1] in ("objs", "objs2", "out") and " => " not in piece else [piece])]
            if part[1] in ("do", "objs"):
                found[-1][part[1]] = [re.sub(r"\bme\b", "ME", re.sub(r"\bmy\b", "MY", value)) for value in found[-1][part[1]]]
        elif line and not line.startswith("#"):
            sys.exit(f"{path}: cannot read the line {line!r}")
    return found


class Thing:
    """a noun and its number; `dishes+` is a plural, `milk~` has neither article nor plural"""

    def __init__(self, text):
        self.mass, self.plural = text.endswith("~"), text.endswith("+")
        self.noun = text.rstrip("+~")


class Scene:
    """a quarrel while it is written: its people, its thing, and the fillers chosen so far"""

    def __init__(self, rng, split):
        self.rng, self.split, self.fill, self.taken = rng, split, {}, set()
        self.V = self.X = self.L = None
        self.thing = self.thing2 = Thing("it")

    def filler(self, key):
        if key not in self.fill:
            self.fill[key] = pp.draw_name(self.rng, self.split, self.taken)[0] if key == "name" else self.rng.choice(ph.FILL[key])
        return self.fill[key]

    def canon(self, text, view):
        """the words that depend on who speaks become marks such as <X0>, everything else is filled in"""
        text = re.sub(r"\$(\w+)", lambda m: self.filler(m[1]), text)
        many, mass = self.thing.plural, self.thing.mass
        text = re.sub(r"\bOBJ2\b", self.thing2.noun, re.sub(r"\bOBJ\b", self.thing.noun, text))
        if many:
            text = re.sub(r"\b(a new|another|a broken|the wrong|a) ONE\b", lambda m: {"another": "new"}.get(m[1], m[1].removeprefix("a ")) + " ones", text)
            text = re.sub(r"\ba (broken )?" + re.escape(self.thing.noun), rf"some \1{self.thing.noun}", text)
        elif mass:
            text = re.sub(r"\b(a new|another) ONE\b", "some more", text)
        text = text.replace("ONE", "one")
        it = ("they", "them") if many else ("it", "it")
        text = re.sub(r"(?:(?<=^)|(?<=[.!?,] )|(?<=that )|(?<=thought )|(?<=know )|(?<=if ))IT(?= (?:WAS|IS|HAS|came|took|would|had|could|cost|stood)\b)", it[0], text)
        text = re.sub(r"\bIT (?=WAS|IS|HAS|came|took|would|had|could|stood)", it[0] + " ", text)
        text = re.sub(r"(?<=IS |AS )IT\b", it[0], text)
        text = re.sub(r"\bIT\b", it[1], text)
        marks = VIEWS[view]
        return re.sub(r"\b[A-Za-z]+\b", lambda m: f"<{marks[m[0]]}>" if m[0] in marks else m[0], text)

    def say(self, text, speaker, listener):
        """canonical text as `speaker` says it to `listener`"""
        def word(m):
            person, case = getattr(self, m[1]), int(m[2])
            if person is speaker:
                return FIRST[case]
            return SECOND[case] if person is listener else pp.PRONOUNS[person.gender][case]

        def was(m):
            plural = m[1] in ("you", "they", "You", "They", "we", "We")
            return f"{m[1]} {('were' if m[2] == 'WAS' else 'are' if m[1] not in ('I',) else 'am') if plural or (m[1] == 'I' and m[2] == 'IS') else {'WAS': 'was', 'IS': 'is', 'HAS': 'has'}[m[2]]}"

        text = re.sub(r"<([VXL])(\d)>", word, text)
        text = re.sub(r"\b(I|[Yy]ou|[Hh]e|[Ss]he|[Tt]hey|[Ii]t|[Ww]e) (WAS|IS|HAS)\b", was, text)
        return capitals(self.number(text))

    def number(self, text):
        """the remaining IS, WAS and HAS agree with the thing"""
        for mark, one, many in (("IS", "is", "are"), ("WAS", "was", "were"), ("HAS", "has", "have")):
            text = re.sub(rf"\b{mark}\b", many if self.thing.plural else one, text)
        return re.sub(r"\ba (?=(?:uncle|aunt|[aeiou]\w+)\b)(?!(?:uni|use|euro|one|once))", "an ", text)

    def tell(self, text, known=(), mine=None):
        """canonical text in a summary: `known` are people for whom a pronoun is clear; `mine`: the words for the complainer's things"""
        def word(m):
            person, case = getattr(self, m[1]), int(m[2])
            if person in known or (m[1] == "X" and case in (2, 3)):
                return person.pronoun(case)
            return person.full + ("'s" if case == 2 else "")

        if mine == "the":
            text = text.replace("<V2>", "the")
        text = re.sub(r"\bus\b", "them", re.sub(r"\b(our|Our)\b", "their", re.sub(r"<([VXL])(\d)>", word, text)))
        text = re.sub(r"\b(they|They) (WAS|IS|HAS)\b", lambda m: f"{m[1]} {dict(WAS='were', IS='are', HAS='have')[m[2]]}", text)
        text = re.sub(r"\b(\S+) (WAS|IS|HAS)\b", lambda m: f"{m[1]} {dict(WAS='was', IS='is', HAS='has')[m[2]]}" if m[1] in ("he", "she", "it") or "#" in m[1]
                      or m[1] in pp.GENDER else m[0], text)
        return self.number(text)


def called(rng, line, name):
    """the line, with the listener's name"""
    first = re.match(r"[\w']+", line)
    if first and rng.random() < 0.5 and len(line) > 25 and first[0] in ("I", "You", "Why", "Did", "What", "Where", "Is", "It", "The", "There", "We", "Do", "Have", "I've", "I'm", "I'll"):
        rest = line if first[0].startswith("I") and first[0] not in ("Is", "It") else line[0].lower() + line[1:]
        return f"{name}, {rest}"
    return re.sub(r"([.!?])", rf", {name}\1", line, count=1)


def insult(rng, kind):
    """the insult's shape ("noun" or "adjectives") and its phrases"""
    thing = kind == "thing"
    adjectives = w.THING_ADJECTIVES if thing else w.PERSON_ADJECTIVES
    a = rng.choice(adjectives)
    b = rng.choice([word for word in adjectives if word != a])
    shape = "noun" if rng.random() < (0.4 if thing else 0.65) else "adjectives"
    nouns = w.THING_NOUNS if thing else w.PERSON_NOUNS
    noun = rng.choice([n for n in nouns if not (n == "fool" and "foolish" in (a, b))])
    bare = rng.choice([f"{a}, {b} {noun}", f"{a} {noun}", f"{a} {noun}"])
    words = {"np": bare if thing else article(bare), "bare": bare, "noun": noun, "an_noun": article(noun), "adjs": f"{a} and {b}", "adjectives": f"{a}, {b}",
             "attribute": article(f"{a}, {b}"), "predicate": bare if shape == "noun" else f"{a} and {b}",
             "words": [x for x in re.findall(r"[\w-]+", bare if shape == "noun" else f"{a} {b}")]}
    return shape, words


def naming(rng, scene, relation):
    """two speakers, each with a name if the dialogue contains it"""
    shown = rng.choices([(1, 1), (0, 1), (1, 0), (0, 0)], [1, 1, 2, 5] if relation == "service" else [5, 5, 4, 3])[0]
    opens = rng.random() < 0.5
    found = []
    for i, tag in enumerate(("#Person1#", "#Person2#") if opens else ("#Person2#", "#Person1#")):
        if not shown[i]:
            found.append(Person(tag, None, rng.choice("mf")))
        elif relation == "service" or (relation == "boss" and i == 0) or (relation in ("work", "neighbors") and rng.random() < 0.25):
            if relation == "service" and i == 1:
                found.append(Person(tag, None, rng.choice("mf")))
                continue
            full, gender = pp.draw_title(rng, scene.split, scene.taken)
            found.append(Person(tag, full, gender))
        else:
            found.append(Person(tag, *pp.draw_name(rng, scene.split, scene.taken)))
    return found, opens


def small_talk(rng, scene, relation, first, second):
    """lines before the quarrel, or none"""
    if relation == "service":
        return []
    pool = ph.GREETINGS["work" if relation in ("work", "boss") else "casual"]
    if relation == "hello":  # the one who listens speaks first
        pool = [pair for pair in pool if not re.match(r"Hi!|There you are|Do you have a minute|How was", pair[0])]
    pairs = rng.sample(pool, rng.choices([0, 1, 2], [5, 4, 1])[0])
    pairs.sort(key=lambda pair: not re.match(r"Hi!|Hello!|Good morning|There you are", pair[0]))
    pairs.sort(key=lambda pair: bool(re.match(r"There you are|Do you have a minute|Can you close", pair[0])))
    if len(pairs) == 2 and re.match(r"Hi!|Hello!|Good morning", pairs[1][0]):
        pairs.pop()
    return [(who, scene.canon(text, "none")) for pair in pairs for who, text in zip((first, second), pair)]


VIEWS["none"] = {}


def write_out(scene, turns):
    """the dialogue's text; each named speaker is called by name once, early"""
    lines = [[who, text] for who, text in turns]
    speakers = [p for p in (scene.V, scene.X, scene.L) if p and p.tag]
    for person in speakers:
        if person.name:
            places = [i for i, (who, text) in enumerate(lines[:5]) if who is not person and person.name not in text and ", doctor" not in text]
            if not places:
                return None
            i = places[0] if scene.rng.random() < 0.6 else scene.rng.choice(places)
            lines[i][1] = called(scene.rng, lines[i][1], person.name)
    merged = []
    for who, text in lines:  # one who speaks twice says it in one go
        if merged and merged[-1][0] is who:
            merged[-1][1] += " " + text
        else:
            merged.append([who, text])
    return "\n".join(f"{who.tag}: {text}" for who, text in merged)


def insult_lines(rng, scene, kind, shape, bad, cost, thing_words=None):
    calls = {"person": w.TO_PERSON, "third": w.OF_PERSON, "thing": w.OF_THING}[kind]
    line = rng.choice(calls[shape])
    line = line.format(**bad, **(thing_words or {}))
    return [line, cost][:: rng.choice([1, 1, -1])]


def outcome(rng, scene, options, rate_any, anything):
    said, told = rng.choice(anything if rng.random() < rate_any else options).split(" => ")
    return said, told


def told_out(scene, told):
    """HIM, HE, HIS: the one who complains; THEM: the one who is not there"""
    told = scene.canon(told, "none")
    for mark, case in (("HIM", 1), ("HE", 0), ("HIS", 2)):
        told = re.sub(rf"\b{mark}\b", f"<V{case}>", told)
    return re.sub(r"\bTHEM\b", "<X1>", told)


def canon_listener(scene, text):
    """what the listener says (neither the one who complains nor the one at fault)"""
    text = re.sub(r"\bYI are\b", "you are", text)
    for mark, word in (("YI", "you"), ("YE", "you"), ("YMY", "your")):
        text = re.sub(rf"\b{mark}\b", word, text)
    return capitals(scene.number(scene.canon(text, "none")))


Scene.canon_listener = canon_listener
