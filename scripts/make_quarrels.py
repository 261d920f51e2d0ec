#!/usr/bin/env python3
"""Makes quarrels and ordinary talks, each with a civil summary; heated ones also have a summary that repeats the insult.

  python3 scripts/make_quarrels.py                      writes static/dialogues.jsonl, the shipped rows
  python3 scripts/make_quarrels.py --check              checks that the shipped file is what this writes, and that all rules hold
  python3 scripts/make_quarrels.py --write FILE -n N    writes N training rows and N/15 held-out rows, each with its facts
  python3 scripts/make_quarrels.py --facts FILE         writes the shipped generated rows with their facts, for faithful.py
  python3 scripts/make_quarrels.py --show N             prints N rows, sampled at random

Every run writes the same rows: all choices depend on SEED and the row's number. People wrote the files in scripts/quarrels:

  deeds-*.txt    situations: what somebody did (`do`), to which thing (`objs`), and what both say. deeds-test.txt is held out
  objects.txt    quarrels about a thing; those marked `test` are held out
  talks.txt      ordinary talks without a quarrel; those marked `test` are held out
  phrases.py     reasons, outcomes, advice and sentences that fit many situations; words.py: insults and summary patterns
  people.py      names; held-out rows have names that are not in training rows
  hand-*.jsonl   whole rows, written by hand

A situation's file has a line for each part, with alternatives between bars:
  [name] tags    who quarrels: home, friends, neighbors, work, boss (somebody and their boss), school, service (a customer; `role`: with whom); test: held out
  do: objs:      what was done, as a base form, and to what. OBJ is the thing, MY and ME the one who complains, YOUR the one at fault;
                 `dishes+` is a plural, `milk~` has no plural
  ask: cost:     what the one who complains says; YI YE YMY is the one at fault, IT IS WAS the thing
  why: out:      reasons and answers: a name from phrases.py or a sentence; an answer is `sentence => how a summary tells it`
  sudden:        it happens at this moment
"""
import argparse, collections, glob, json, os, random, re, sys
sys.dont_write_bytecode = True  # no __pycache__ between the data

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "quarrels"))
import compose, mixed as mix, people as pp, scenes, words as w

OUT = os.path.join(HERE, "..", "static", "dialogues.jsonl")
SEED = "detox-lab quarrels 2"
# Shipped rows by form and split.
SHIPPED = {"train": {"person": 270, "third": 90, "thing": 70, "calm": 35, "talk": 45}, "test": {"person": 130, "third": 50, "thing": 37, "calm": 8, "talk": 12}}
# The share of each form in the large set.
SHARES = {"person": 0.54, "third": 0.17, "thing": 0.13, "calm": 0.06, "talk": 0.10}
CANDIDATES = 8
LONGEST_FILE = 700_000
SHORTEST, LONGEST, WORDS = 200, 1000, (6, 32)
INSULTS = {*w.PERSON_ADJECTIVES, *w.PERSON_NOUNS, *w.THING_ADJECTIVES, *w.THING_NOUNS, *w.OTHER_INSULTS}
DEEDS = [s for path in ("deeds-home.txt", "deeds-work.txt", "deeds-more.txt", "deeds-test.txt") for s in compose.blocks(path)]
OBJECTS, TALKS = compose.blocks("objects.txt"), compose.blocks("talks.txt")
HELD_OUT_NAMES = {name for names in pp.POOLS["test"] for name in names}
FORMS = {"person": (DEEDS, scenes.with_person), "third": (DEEDS, scenes.about_third), "thing": (OBJECTS, scenes.about_thing),
         "calm": (DEEDS, lambda rng, s: scenes.with_person(rng, s, angry=False)), "talk": (TALKS, scenes.talk)}


def drawn(form, split, label):
    """an endless sequence of rows of this form: every situation in turn"""
    situations = [s for s in FORMS[form][0] if s["split"] == split]
    make, turn = FORMS[form][1], 0
    while True:
        rng = random.Random(f"{SEED} {label} {form} {split} {turn}")
        if turn % len(situations) == 0:
            order = random.Random(f"{SEED} {form} {turn}").sample(situations, len(situations))
        row = make(rng, order[turn % len(situations)])
        turn += 1
        if row and not list(row_faults(row)):
            yield {**row, "kind": "heated" if form in ("person", "third", "thing") else "ordinary", "split": split, "source": "generated"}


def new_rows(form, split, label, n, seen, candidates=1):
    """n rows that are not in `seen`; each is the candidate that is least similar to the rows so far"""
    rows, stream, kin = [], drawn(form, split, label), collections.defaultdict(list)
    while len(rows) < n:
        fresh = []
        while len(fresh) < candidates:
            row = next(stream)
            texts = {row["dialogue"], row["summary"], row.get("insulting_summary", row["summary"])}
            if not texts & seen:
                words = set(re.findall(r"[\w']+", row["dialogue"].lower()))
                near = max((len(words & k) / len(words | k) for k in kin[row["facts"]["situation"]]), default=0)
                fresh.append((near, len(fresh), row, words, texts))
        _, _, row, words, texts = min(fresh, key=lambda f: f[:2])
        if candidates > 1:
            kin[row["facts"]["situation"]].append(words)
        seen |= texts
        rows.append(row)
    return rows


def by_hand():
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "quarrels", "hand-*.jsonl"))):
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            found.append({**row, "source": "hand"})
    return found


def shipped():
    """every shipped row, heated ones first, with the facts of those that were generated"""
    found = by_hand()
    seen = {row[key] for row in found for key in ("dialogue", "summary", "insulting_summary") if key in row}
    for split, forms in SHIPPED.items():
        part = []
        for form, n in forms.items():
            part += new_rows(form, split, "shipped", n, seen, CANDIDATES)
        random.Random(SEED).shuffle(part)
        found += part
    return numbered(sorted(found, key=lambda row: (row["kind"], row["split"] == "test", row["source"] != "hand")))


def large(n):
    """n training rows and n/15 held-out rows, by form, in random order"""
    rows, seen = [], set()
    for split, many in (("train", n), ("test", n // 15)):
        part = []
        for form, share in SHARES.items():
            part += new_rows(form, split, "large", round(many * share), seen)
        random.Random(SEED).shuffle(part)
        rows += part
    return numbered(rows, "large-")


def mixed(n, words=()):
    """n heated training rows with situations put together at random, also with these words; they have no word of a held-out situation
    or thing"""
    kept = {word for s in DEEDS + OBJECTS + TALKS if s["split"] == "train" for word in own_words(s)}
    left_out = {word for s in DEEDS + OBJECTS + TALKS if s["split"] == "test" for word in own_words(s)} - kept
    rng, rows, seen = random.Random(f"{SEED} mixed"), [], set()
    while len(rows) < n:
        make = rng.choices([scenes.with_person, scenes.about_third, scenes.about_thing], [55, 22, 23])[0]
        draw = mix.fault_situation if make is scenes.about_thing else mix.situation
        row = make(rng, draw(rng, left_out, words))
        if row and row["dialogue"] not in seen and not list(row_faults(row)) and not names_in(row["dialogue"]) & HELD_OUT_NAMES:
            seen.add(row["dialogue"])
            rows.append({**row, "kind": "heated", "split": "train", "source": "mixed"})
    return numbered(rows, "mixed-")


def own_words(situation):
    """the words of a situation's deeds and things"""
    return set(re.findall(r"[a-z]+", " ".join(situation.get("do", []) + situation.get("objs", []) + situation.get("objs2", [])).lower()))


ORDER = ("id", "kind", "split", "source", "dialogue", "summary", "insulting_summary", "facts")


def numbered(rows, prefix=""):
    count = collections.Counter()
    for row in rows:
        count[row["kind"]] += 1
        row["id"] = f"{prefix}{row['kind']}-{count[row['kind']]:04}"
    return [{key: row[key] for key in ORDER if key in row} for row in rows]


def insults_in(text):
    return [word for word in re.findall(r"[a-z-]+", text.lower()) if word in INSULTS]


def row_faults(row):
    """the rules that a row breaks, in words"""
    dialogue, summary, insulting = row["dialogue"], row["summary"], row.get("insulting_summary")
    if not SHORTEST < len(dialogue) <= LONGEST:
        yield f"the dialogue has {len(dialogue)} characters"
    if not re.fullmatch(r"(#Person[12]#: [^\n]+\n){2,}#Person[12]#: [^\n]+", dialogue):
        yield "the dialogue is not at least three lines of `#Person1#: ...`"
    for text in filter(None, (summary, insulting)):
        if not WORDS[0] <= len(text.split()) <= WORDS[1]:
            yield f"{len(text.split())} words: {text}"
        if not text.endswith(".") or "  " in text or re.search(r"[{}<>$|~]", text):
            yield f"ill-formed: {text}"
        if re.search(r"\b([\w'#]+) \1\b", text):
            yield f"a word twice in a row: {text}"
        for name in re.findall(r"[A-Z]\w+", text):
            if name in pp.EVERY_NAME and name not in dialogue:
                yield f"{name} is not in the dialogue: {text}"
    if re.search(r"[{}<>$|~]|\b(YI|YE|YMY|OBJ2?|IT|IS|WAS|HAS|ONE|MY|ME|HIM|HE|HIS|THEM)\b", dialogue + summary):
        yield f"a mark was not filled in: {dialogue} {summary}"
    if insults_in(summary):
        yield f"{insults_in(summary)} in the calm summary: {summary}"
    thing = row.get("facts", {}).get("object", "").split()
    if thing and thing[-1] not in dialogue and thing[-1] not in ("ME", "me"):
        yield f"the {' '.join(thing)} is not in the dialogue"
    if "kind" in row and (row["kind"] == "heated") != (insulting is not None):
        yield "heated rows have an insulting summary, ordinary rows have none"
    if insulting is None:
        if insults_in(dialogue):
            yield f"{insults_in(dialogue)} in an ordinary dialogue"
    elif not insults_in(insulting) or not set(insults_in(insulting)) <= set(insults_in(dialogue)):
        yield f"the insult is not the dialogue's: {insulting}"


def names_in(text):
    return {word for word in re.findall(r"(?<![\w#])[A-Z][a-z]+\b", text) if word in pp.EVERY_NAME}


def overlaps(rows):
    """names, situations and things that are both in held-out and in training rows"""
    held = HELD_OUT_NAMES
    for row in rows:
        wrong = {name for name in names_in(row["dialogue"]) if (name in held) != (row["split"] == "test")}
        if wrong and row["source"] == "generated":
            yield f"{row['id']}: {sorted(wrong)} belongs to the other split"
        elif row["split"] == "train" and names_in(row["dialogue"]) & held:
            yield f"{row['id']}: a held-out name in a training row"
    parts = {"train": collections.defaultdict(set), "test": collections.defaultdict(set)}
    for s in DEEDS + OBJECTS + TALKS:
        part = parts[s["split"]]
        part["situation"].add(s["name"])
        part["thing"] |= {compose.Thing(o).noun.removeprefix("the ").removeprefix("MY ").removeprefix("our ").removeprefix("my ")
                          for o in s.get("objs", []) + s.get("objs2", [])}
        part["deed"] |= {re.sub(r"OBJ", s.get("objs", [""])[0], d) for d in s.get("do", [])}
    for what in parts["train"]:
        if both := parts["train"][what] & parts["test"][what]:
            yield f"{what} in both splits: {sorted(both)}"


def faults(found):
    """the broken rules in the shipped rows, in words"""
    bad = list(overlaps(found))
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


def counted(rows):
    """prints figures about the variety, one on each line"""
    words = collections.Counter(word.lower() for r in rows for word in re.findall(r"[A-Za-z][A-Za-z']*", r["dialogue"] + " " + r["summary"]))
    made = [r["facts"] for r in rows if "facts" in r]
    cases = {(f["situation"], re.sub(r"#Person\d#|" + "|".join(sorted(map(re.escape, names_in(f.get("deed") or "")), key=len)) if f.get("deed") else "$^", "", f.get("deed") or ""), f.get("object"))
             for f in made}
    print(f"situations: {len({f['situation'] for f in made})}; situation, deed and thing: {len(cases)}; reasons: {len({f.get('why') for f in made})}; outcomes: {len({f['outcome']['text'] for f in made if 'outcome' in f})}")
    print(f"names: {len({n for r in rows for n in names_in(r['dialogue'])})}; distinct words: {len(words)}, of them {sum(n >= 5 for n in words.values())} at least five times")


def write(path, rows):
    """writes the file completely or not at all"""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the shipped file with what would be written, and check the rules")
    parser.add_argument("--show", type=int, metavar="N", help="print N rows of the large set, sampled at random")
    parser.add_argument("--write", metavar="FILE", help="write a large set with facts")
    parser.add_argument("-n", type=int, default=30_000, help="training rows of the large set (30000)")
    parser.add_argument("--facts", metavar="FILE", help="write the shipped generated rows with their facts")
    args = parser.parse_args()
    if args.show:
        for row in random.sample(large(10 * args.show), args.show):
            print(row["id"], row["split"], row["dialogue"], f"  calm: {row['summary']}", f"  bad:  {row.get('insulting_summary')}", "", sep="\n")
        return
    if args.write:
        rows = large(args.n)
        if bad := list(overlaps(rows)):
            sys.exit("\n".join(bad[:20]))
        write(args.write, rows)
        counted(rows)
        return
    found = shipped()
    if args.facts:
        write(args.facts, [row for row in found if "facts" in row])
        return
    bad = faults(found)
    rows = [{key: row[key] for key in ORDER if key in row and key != "facts"} for row in found]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if len(text.encode()) > LONGEST_FILE:
        bad.append(f"{len(text.encode())} bytes; at most {LONGEST_FILE}")
    if args.check and (not os.path.exists(OUT) or open(OUT, encoding="utf-8").read() != text):
        bad.append("static/dialogues.jsonl is not what this script writes; run it without --check")
    if bad:
        sys.exit("\n".join(bad))
    if not args.check:
        write(OUT, rows)
    for key, n in sorted(collections.Counter((r["kind"], r["split"], r["source"]) for r in found).items()):
        print(n, *key)
    counted(found)
    print(len(text.encode()), "bytes; every rule holds")


if __name__ == "__main__":
    main()
