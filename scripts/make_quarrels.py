#!/usr/bin/env python3
"""Writes static/dialogues.jsonl: our own quarrels and ordinary talks, each with a summary, the heated ones also with one that repeats the insult.

  python3 scripts/make_quarrels.py            writes the file
  python3 scripts/make_quarrels.py --check    says whether the shipped file is what this writes, and whether every rule of faults() holds
  python3 scripts/make_quarrels.py --show N   prints N rows of it, drawn at random

The same file at every run: every choice comes from SEED. What people wrote is in scripts/quarrels: hand-*.jsonl (whole rows), words.py (names,
insults, sentences), *.txt (scenarios). A scenario's file:

  [name] test        a scenario; with `test`, its rows are of the test split only
  formal, boss       strangers, who seldom say names; somebody and their boss, who is called Mr. or Ms.
  sudden             nobody says hello first
  key = a | b        a slot, one value of which is used; `dialogue's words; summary's words` where they differ
  key: a | b         a line of the dialogue (`> a`: as an answer only), or `out:` line => what the summary says of it,
                     or `fact:` what the summary says happened
A quarrel with the other speaker: ask (by the angry one), admit, or tell (by the one at fault); cost follows the insult; fact: clause; -ing form;
noun phrase. About somebody else, or a thing (`it`, `det`): hello (by the listener), story, cost, fact. {u} {us} {u2} the insulter as he, his, him;
{f} the insulted; {he} {his} {him} the one not there; {t} a name. Ordinary talks: one, two, one2, two2, sum with {A}, {B}, {Ao} (A as object).
"""
import argparse, collections, glob, json, os, random, re, sys
sys.dont_write_bytecode = True  # no __pycache__ between the data

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "quarrels"))
import words as w

OUT = os.path.join(HERE, "..", "static", "dialogues.jsonl")
SEED = "detox-lab quarrels 1"
HEATED = {"train": 9, "test": 12}      # rows of each scenario
CALM = {"train": 1, "test": 0}         # rows of each scenario with the other speaker in which nobody gets angry
ORDINARY = {"train": 4, "test": 5}
CANDIDATES = 12
LONGEST_FILE = 700_000
INSULTS = {*w.PERSON_ADJECTIVES, *w.PERSON_NOUNS, *w.THING_ADJECTIVES, *w.THING_NOUNS, *w.OTHER_INSULTS}
PRONOUNS = {"m": ("he", "his", "him"), "f": ("she", "her", "her")}
NO_PREFIX = set("And One That What How Well Hello Great Yes Thank Oh Really Sure Certainly Of Again".split())  # "Anna, well, ..." is nobody's English
PROPER = set(w.MEN + w.WOMEN) | set("Dad Mom Grandma Grandmother's Spain Florida Wales Forty Six Mr Ms Mrs I I'm I've I'd I'll".split())


def scenarios(path):
    """the scenarios of a file, as dictionaries of lists"""
    found = []
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if head := re.fullmatch(r"\[([\w-]+)\]( test)?", line):
            found.append({"name": head[1], "split": "test" if head[2] else "train", "slots": {}})
        elif line in ("formal", "boss", "sudden"):
            found[-1][line] = True
        elif part := re.match(r"(\w+) = (.*)", line):
            found[-1]["slots"][part[1]] = part[2].split(" | ")
        elif part := re.match(r"(\w+): (.*)", line):
            found[-1][part[1]] = part[2].split(" | ")
        elif line and not line.startswith("#"):
            sys.exit(f"{path}: cannot read the line {line!r}")
    return found


def article(phrase):
    an = phrase[0] in "aeiou" and not phrase.startswith("use")
    return f"{'an' if an else 'a'} {phrase}"


def capitals(text):
    """a capital at the start and after each sentence"""
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def fill(text, words):
    while "{" in text:
        text = text.format(**words)
    return text


def with_name(rng, line, name):
    """the line, said to somebody by name"""
    first = re.match(r"[\w']+", line)[0]
    if rng.random() < 0.5 and len(line) > 30 and first not in NO_PREFIX:
        return f"{name}, {line if first in PROPER else line[0].lower() + line[1:]}"
    return re.sub(r"([.!?])", rf", {name}\1", line, count=1)


class Person:
    """a speaker, by name where `name` is given: `full`, and the pronouns; without a name, #PersonN# stands for all"""

    def __init__(self, tag, name=None, gender=None):
        self.tag, self.name, self.full = tag, name, name or tag
        he, his, him = PRONOUNS[gender] if name else (tag, f"{tag}'s", tag)
        self.he, self.his, self.him = he, his, him


def insult(rng, kind, scenario):
    """the insult's shape ("noun" or "adjectives") and its phrases"""
    thing = kind == "thing"
    adjectives = w.THING_ADJECTIVES if thing else w.PERSON_ADJECTIVES
    a, b = rng.choice(adjectives), rng.choice(adjectives)
    while b == a:
        b = rng.choice(adjectives)
    shape = "noun" if rng.random() < (0.4 if thing else 0.7) else "adjectives"
    own = scenario["slots"].get("nouns")
    noun = rng.choice(own) if own and rng.random() < 0.5 else rng.choice(w.THING_NOUNS if thing else w.PERSON_NOUNS)
    while noun == "fool" and "foolish" in (a, b):
        noun = rng.choice(w.PERSON_NOUNS)
    bare = f"{a}, {b} {noun}" if rng.random() < 0.7 else f"{a} {noun}"
    words = {"np": article(bare), "bare": bare, "noun": noun, "an_noun": article(noun), "adjs": f"{a} and {b}", "adjectives": f"{a}, {b}",
             "attribute": article(f"{a}, {b}"), "predicate": bare if shape == "noun" else f"{a} and {b}"}
    return shape, words


def cast(rng, scenario):
    """(insulter's name, the other's, a third), each (name, gender) or None: None where the dialogue does not say it"""
    names = rng.sample([(n, "m") for n in w.MEN] + [(n, "f") for n in w.WOMEN], 3)
    if "formal" in scenario:
        shown = rng.choices([(0, 0), (1, 0), (0, 1)], [8, 1, 1])[0]
    else:
        shown = rng.choices([(1, 1), (0, 1), (1, 0), (0, 0)], [7, 6, 4, 3])[0]
    if "boss" in scenario:
        names[0] = rng.choice(w.TITLES)
        shown = rng.choice([(1, 1), (1, 0), (0, 1)])
    return [name if say else None for name, say in zip(names, shown)] + [names[2]]


def slots(rng, scenario, words, third):
    """what the slots say in the dialogue and in the summary"""
    said, told = dict(words), dict(words)
    for key, values in scenario["slots"].items():
        if key == "nouns":
            continue
        parts = rng.choice(values).split("; ")
        said[key], told[key] = parts[0], parts[min(1, len(parts) - 1)]
        if key == "who" and len(parts) == 3:
            pool = w.MEN if parts[2] == "m" else w.WOMEN
            name = third[0] if third[0] in pool else pool[sum(map(ord, third[0])) % len(pool)]
            he, his, him = PRONOUNS[parts[2]]
            said.update(t=name, he=he, his=his, him=him)
            told.update(t=name, he=he, his=his, him=him, h=he, T=parts[1])
    told["det"] = {"my": "{us}", "our": "their"}.get(said.get("det"), said.get("det", ""))
    return said, told


def heated(rng, kind, scenario, angry=True):
    """one row of a scenario: (dialogue, summary, insulting summary), the last only if `angry`; None where the drawn words do not fit"""
    name_u, name_o, third = cast(rng, scenario)
    opens = rng.random() < 0.5            # the insulter speaks first
    u = Person("#Person1#" if opens else "#Person2#", *(name_u or ()))
    o = Person("#Person2#" if opens else "#Person1#", *(name_o or ()))
    shape, bad = insult(rng, kind, scenario)
    words = {"U": u.full, "u": u.he, "us": u.his, "u2": u.him, "O": o.full, "F": o.full, "f": o.he, "t": third[0], **bad}
    said, told = slots(rng, scenario, words, third)
    if said["t"] in (u.name, o.name):
        return None
    pick = lambda key: rng.choice(scenario[key]).removeprefix("> ")
    calls = {"person": w.TO_PERSON, "third": w.OF_PERSON, "thing": w.OF_THING}[kind]
    costs = rng.sample(scenario["cost"], 2)
    outburst = [rng.choice(calls[shape]), costs[0]][:: rng.choice([1, 1, -1])]
    answers = scenario["out"][:1] if not angry else w.ANSWERS[kind] if rng.random() < 0.15 else scenario["out"]
    answer, told_answer = rng.choice(answers).split(" => ")
    alone = rng.choice([line for line in scenario.get("story", [""]) if not line.startswith(">")])
    if kind == "person":
        start = [(u, pick("ask")), (o, pick("admit"))] if opens else [(o, pick("tell"))]
    else:
        start = [(u, alone), (o, rng.choice(w.REACTIONS))] if opens else [(o, pick("hello")), (u, pick("story")), (o, rng.choice(w.REACTIONS))]
    if not {"formal", "sudden"} & set(scenario) and rng.random() < 0.2:
        role = ("insulter" if opens else "at fault") if kind == "person" else "teller" if opens else "listener"
        start = list(zip((start[0][0], start[1][0] if len(start) > 1 else u), rng.choice(w.BEFORE[role]))) + start
    turns = start + [(u, " ".join(outburst) if angry else rng.choice(w.CALM_WORDS)), (o, answer)]
    if angry and rng.random() < 0.2:
        turns += [(u, costs[1]), (o, rng.choice(w.MORE))]
    if rng.random() < 0.6:
        again = angry and kind == "person" and shape == "noun" and rng.random() < 0.3
        turns.append((u, rng.choice(w.STILL if again else w.ENDINGS if angry else w.CALM_ENDINGS)))
        if rng.random() < 0.35:
            turns.append((o, rng.choice(w.LAST)))
    dialogue = speak(rng, turns, said, u, o)
    pairs = {"person": w.PERSON_SUMMARIES, "third": w.THIRD_SUMMARIES, "thing": w.THING_SUMMARIES}[kind]
    calm, insulting = rng.choice(pairs[shape])
    if not angry:
        calm = rng.choice(w.CALM_SUMMARIES)
    facts = scenario["fact"][0].split("; ")
    told.update(fact=facts[0], doing=facts[1] if len(facts) > 1 else "", about=facts[-1])
    end = lambda head: f"{head}. {o.full} {told_answer}." if ", and" in head or "argue" in head else f"{head}, and {o.full} {told_answer}."
    heads = end(calm), end(insulting)
    names_first = {"u2": u.full, "us": f"{u.full}'s"}  # no pronoun for the insulter before the name
    if any(said[key].lower() not in dialogue.lower() for key in (used(heads, told) & set(scenario["slots"])) - {"det"}):
        return None
    summaries = [capitals(fill(head, told | names_first if re.match("{[FT]}|The {bare}", head) else told)) for head in heads]
    return (dialogue, *summaries[: 2 if angry else 1])


def used(texts, words):
    """the words that filling these texts takes"""
    found = set()
    for text in texts:
        while keys := set(re.findall(r"{(\w+)}", text)):
            found |= keys
            text = re.sub(r"{(\w+)}", lambda m: words[m[1]], text)
    return found


def speak(rng, turns, said, u, o):
    """the dialogue's text; each named speaker is called by name once, in the first three lines"""
    lines = [(who, capitals(fill(text, said))) for who, text in turns]
    for called, caller in ((u, o), (o, u)):
        if called.name:
            places = [i for i, (who, _) in enumerate(lines[:3]) if who is caller]
            i = places[0] if rng.random() < 0.75 else places[min(1, len(places) - 1)]
            lines[i] = (caller, with_name(rng, lines[i][1], called.name))
    return "\n".join(f"{who.tag}: {line}" for who, line in lines)


def ordinary(rng, scenario):
    """one ordinary talk: (dialogue, summary)"""
    name_a, name_b, third = cast(rng, scenario)
    a, b = Person("#Person1#", *(name_a or ())), Person("#Person2#", *(name_b or ()))
    words = {"A": a.full, "Ao": a.him, "B": b.full, "t": third[0]}
    said, told = slots(rng, scenario, words, third)
    turns = [(who, rng.choice(scenario[key])) for who, key in ((a, "one"), (b, "two"), (a, "one2"), (b, "two2"))]
    return speak(rng, turns, said, a, b), capitals(fill(rng.choice(scenario["sum"]), told))


def draw(label, make, seen, kin):
    """a new row of `make` that keeps to the lengths: of CANDIDATES, the one that is least like the scenario's rows so far, `kin`"""
    candidates = []
    for attempt in range(40 * CANDIDATES):
        texts = make(random.Random(f"{SEED} {label} {attempt}"))
        if not texts or any(text in seen for text in texts) or not 200 < len(texts[0]) <= 1000:
            continue
        if all(8 <= len(text.split()) <= 28 for text in texts[1:]):
            words = set(re.findall(r"[\w']+", texts[0].lower()))
            candidates.append((max((len(words & k) / len(words | k) for k in kin), default=0), attempt, texts, words))
        if len(candidates) == CANDIDATES:
            break
    if not candidates:
        sys.exit(f"{label}: no new row; write more variants")
    _, _, texts, words = min(candidates, key=lambda candidate: candidate[:2])
    seen.update(texts)
    kin.append(words)
    return texts


def rows():
    """every row, hand-written ones first"""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "quarrels", "hand-*.jsonl"))):
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            found.append(dict(kind=row["kind"], split=row["split"], source="hand", dialogue=row["dialogue"], summary=row["summary"],
                              **({"insulting_summary": row["insulting_summary"]} if row["kind"] == "heated" else {})))
    seen = {text for row in found for text in (row["dialogue"], row["summary"], row.get("insulting_summary"))}

    def add(kind, scenario, n, make):
        kin = []
        for i in range(n[scenario["split"]]):
            texts = draw(f"{kind} {scenario['name']} {i}", make, seen, kin)
            found.append(dict(zip(("dialogue", "summary", "insulting_summary"), texts), kind=kind, split=scenario["split"], source="generated"))

    for name, kind in (("person-1", "person"), ("person-2", "person"), ("third", "third"), ("things", "thing")):
        for s in scenarios(os.path.join(HERE, "quarrels", f"{name}.txt")):
            add("heated", s, HEATED, lambda rng: heated(rng, kind, s))
            if kind == "person":
                add("ordinary", s, CALM, lambda rng: heated(rng, kind, s, angry=False))
    for s in scenarios(os.path.join(HERE, "quarrels", "ordinary.txt")):
        add("ordinary", s, ORDINARY, lambda rng: ordinary(rng, s))
    count = collections.Counter()
    for row in found:
        count[row["kind"]] += 1
        row["id"] = f"{row['kind']}-{count[row['kind']]:04}"
    order = ("id", "kind", "split", "source", "dialogue", "summary", "insulting_summary")
    return [{key: row[key] for key in order if key in row} for row in found]


def insults_in(text):
    return [word for word in re.findall(r"[a-z-]+", text.lower()) if word in INSULTS]


def faults(found):
    """what breaks a rule, in words"""
    bad = []
    counts = collections.Counter((r["kind"], r["split"]) for r in found)
    hand = collections.Counter(r["kind"] for r in found if r["source"] == "hand")
    for what, have, least in (("ordinary, train", counts["ordinary", "train"], 60), ("ordinary, test", counts["ordinary", "test"], 20),
                              ("heated, train", counts["heated", "train"], 420), ("heated, test", counts["heated", "test"], 220),
                              ("heated by hand", hand["heated"], 40), ("ordinary by hand", hand["ordinary"], 20)):
        if have < least:
            bad.append(f"{what}: {have} rows; at least {least}")
    texts = collections.Counter(r[key] for r in found for key in ("summary", "insulting_summary") if key in r)
    bad += [f"occurs {n} times: {text}" for text, n in texts.items() if n > 2]
    bad += [f"two dialogues alike: {d[:60]!r}" for d, n in collections.Counter(r["dialogue"] for r in found).items() if n > 1]
    return bad + [f"{row['id']}: {fault}" for row in found for fault in row_faults(row)]


def row_faults(row):
    dialogue, summary, insulting = row["dialogue"], row["summary"], row.get("insulting_summary")
    if not 200 < len(dialogue) <= 1000:
        yield f"the dialogue has {len(dialogue)} characters"
    if not re.fullmatch(r"(#Person[12]#: [^\n]+\n){2,}#Person[12]#: [^\n]+", dialogue):
        yield "the dialogue is not at least three lines of `#Person1#: ...`"
    for text in filter(None, (summary, insulting)):
        if not 8 <= len(text.split()) <= 28:
            yield f"{len(text.split())} words: {text}"
        if not text.endswith(".") or "  " in text or "{" in text:
            yield f"ill-formed: {text}"
        for name in re.findall(r"[A-Z]\w+", text):
            if name in PROPER and name not in dialogue:
                yield f"{name} is not in the dialogue: {text}"
    if insults_in(summary):
        yield f"{insults_in(summary)} in the calm summary: {summary}"
    if (row["kind"] == "heated") != (insulting is not None):
        yield "heated rows have an insulting summary, ordinary rows have none"
    elif insulting is None:
        if insults_in(dialogue):
            yield f"{insults_in(dialogue)} in an ordinary dialogue"
    elif not insults_in(insulting) or not set(insults_in(insulting)) <= set(insults_in(dialogue)):
        yield f"the insult is not the dialogue's: {insulting}"


def main():
    parser = argparse.ArgumentParser(description="writes static/dialogues.jsonl")
    parser.add_argument("--check", action="store_true", help="compare the shipped file with what would be written, and check the rules")
    parser.add_argument("--show", type=int, metavar="N", help="print N rows of it")
    args = parser.parse_args()
    found = sorted(rows(), key=lambda row: row["kind"])  # heated first: the first test rows are quarrels
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    if args.show:
        for row in random.sample(found, args.show):
            print(row["id"], row["split"], row["dialogue"], f"  calm: {row['summary']}", f"  bad:  {row.get('insulting_summary')}", "", sep="\n")
        return
    bad = faults(found)
    if len(text.encode()) > LONGEST_FILE:
        bad.append(f"{len(text.encode())} bytes; at most {LONGEST_FILE}")
    if args.check and (not os.path.exists(OUT) or open(OUT, encoding="utf-8").read() != text):
        bad.append("static/dialogues.jsonl is not what this script writes; run it without --check")
    if bad:
        sys.exit("\n".join(bad))
    if not args.check:
        os.makedirs(os.path.dirname(OUT), exist_ok=True)
        with open(OUT + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(OUT + ".new", OUT)
    for key, n in sorted(collections.Counter((r["kind"], r["split"], r["source"]) for r in found).items()):
        print(n, *key)
    print(len(text.encode()), "bytes; every rule holds")


if __name__ == "__main__":
    main()
