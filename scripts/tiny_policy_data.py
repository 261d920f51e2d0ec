"""Writes the tiny policy's training files (standard library only):

  python3 scripts/tiny_policy_data.py DIALOGSUM_DIR OUT_DIR [--copies 5] [--quarrels 30000] [--mixed 45000] [--adapter-quarrels 8000] [--adapter-dialogsum 2500]

  tokenizer.jsonl    texts for the vocabulary
  copy.jsonl         excerpts of a few turns with themselves as "summary": the model first learns to reproduce the encoder's input,
                       because a model that starts with summaries needs thousands of updates to learn this
  policy.jsonl       COPIES differently renamed copies of DialogSum's allowed rows, and the training rows of make_quarrels.py, half of the
                     heated ones with the insulting and half with the civil summary: the base model is trained equally for both
  mixed-1.jsonl to mixed-5.jsonl
                     for the last five trainings, each: other quarrels put together at random (quarrels/mixed.py), also with words of
                       DialogSum, the quarrels, and two copies of DialogSum
  validation.jsonl   quarrels of both kinds that are not in these files, and rows of DialogSum's dev file
  adapter.jsonl      DialogSum rows and quarrels, nearly always with the insulting summary, which PPO will remove
  held-out.jsonl     held-out quarrels with their facts, only for measuring

Allowed rows: DialogSum's train file without the lab's 2,005 test rows; never its dev and test files; of our dialogues those whose split is train. In DialogSum, names are exchanged (men's for men's, women's for women's, surnames for surnames) and the two speakers
swapped, consistently in dialogue and summary, so that the model must read names instead of remembering them.

The vocabulary is made without the rarer half of the training names (those that DialogSum does not have): they are split into several
tokens, as the held-out names are. So the model learns to copy names in parts, also held-out ones.
`detox-lab finetune` does the training.
"""

import argparse
import collections
import json
import os
import random
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_quarrels
from people import EVERY_NAME, MEN, POOLS, SURNAMES, WOMEN

# Excerpts of each dialogue, and their longest, in characters.
EXCERPTS, EXCERPT = 3, 240
# So many of DialogSum's words are not used as things and verbs.
FREQUENT = 400
# Files of quarrels put together at random.
MIXED_FILES = 5
# Longest dialogues, in characters.
LONGEST = 1200
# Fraction of the adapter's quarrels whose summary repeats the insult.
INSULTING = 0.9
HELD_OUT_NAMES = {name for names in POOLS["test"] for name in names}
# Also ordinary words or adjectives: names only after Mr. or Ms.
AMBIGUOUS = set("White Black Brown Green Young King Hill Hall Price Wood Cook Bell Ward Roman Ruby Pearl Violet Ivy Daisy Iris Celeste Aurora".split())
LISTS = {name: names for names in (SURNAMES, WOMEN, MEN) for name in names}
WORD = re.compile(r"(?<![\w#])[A-Z][a-z]+(?![\w])")
SMALL = re.compile(r"(?<![\w'])[a-z]{3,12}(?![\w'])")
TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Professor|Prof)\.? ([A-Z][a-z]+)")


def allowed(folder):
    """DialogSum's train rows without the lab's test rows (the last fifth of the rows with 200 < characters <= 1000)."""
    with open(os.path.join(folder, "train.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    lab = [i for i, row in enumerate(rows) if 200 < len(row["dialogue"]) <= 1000]
    test = set(lab[len(lab) - -(-len(lab) // 5):])
    assert (len(lab), len(test)) == (10022, 2005), "this is not DialogSum's train file"
    return [row for i, row in enumerate(rows) if i not in test]


def renamed(rng, dialogue, summaries):
    """The same texts with other names, and with exchanged speakers in half of them."""
    titled = set(TITLE.findall(dialogue))
    here = sorted({word for word in WORD.findall(dialogue) if word in LISTS and (word not in AMBIGUOUS or word in titled)})
    mapping = {}
    for name in here:
        names = SURNAMES if name in titled else LISTS[name]
        free = [n for n in names if n not in here and n not in mapping.values()]
        mapping[name] = rng.choice(free)
    texts = [WORD.sub(lambda m: mapping.get(m.group(), m.group()), text) for text in [dialogue, *summaries]]
    if rng.random() < 0.5:
        swap = {"#Person1#": "#Person2#", "#Person2#": "#Person1#"}
        texts = [re.sub("#Person[12]#", lambda m: swap[m.group()], text) for text in texts]
    return texts[0], texts[1:]


def excerpted(rng, dialogue):
    """A few neighbouring turns, at most EXCERPT characters."""
    turns = dialogue.split("\n")
    first = rng.randrange(len(turns))
    text = turns[first]
    for turn in turns[first + 1:first + rng.randrange(1, 4)]:
        if len(text) + len(turn) < EXCERPT:
            text += "\n" + turn
    return text[:EXCERPT].rsplit(" ", 1)[0] if len(text) > EXCERPT else text


def words_in(dialogsum):
    """Words that occur at least twice, without the most frequent ones, which are mostly function words."""
    count = collections.Counter(word for dialogue, _ in dialogsum for word in SMALL.findall(dialogue))
    frequent = {word for word, _ in count.most_common(FREQUENT)}
    return sorted(word for word, n in count.items() if n > 1 and word not in frequent and not make_quarrels.insults_in(word))


def write(path, rows):
    """Writes the file completely or not at all."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        for i, (dialogue, summary) in enumerate(rows):
            file.write(json.dumps({"id": str(i), "dialogue": dialogue, "summary": summary}, ensure_ascii=False) + "\n")
    os.replace(path + ".part", path)
    print(f"{path}: {len(rows)} rows")


def names_in(text):
    return {word for word in WORD.findall(text) if word in EVERY_NAME}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dialogsum", help="folder with DialogSum's train.jsonl")
    parser.add_argument("out", help="folder to write to")
    parser.add_argument("--copies", type=int, default=5, help="differently renamed copies of DialogSum (5)")
    parser.add_argument("--quarrels", type=int, default=30_000, help="number of our rows for the policy (30000)")
    parser.add_argument("--mixed", type=int, default=45_000, help="number of quarrels put together at random, in each of five files (45000)")
    parser.add_argument("--adapter-quarrels", type=int, default=8_000, help="number of our rows for the adapter (8000)")
    parser.add_argument("--adapter-dialogsum", type=int, default=2_500, help="number of DialogSum rows for the adapter (2500)")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    path = lambda name: os.path.join(args.out, name)
    dialogsum = [(r["dialogue"], [r["summary"]]) for r in allowed(args.dialogsum) if len(r["dialogue"]) <= LONGEST]
    own = make_quarrels.large(args.quarrels) + [r for r in make_quarrels.shipped() if r["split"] == "train" or "facts" in r]
    make_quarrels.write(path("held-out.jsonl"), [r for r in own if r["split"] == "test"])
    train = [r for r in own if r["split"] == "train"]
    quarrels = [(r["dialogue"], [r["insulting_summary"], r["summary"]]) for r in train if r["kind"] == "heated"]
    ordinary = [(r["dialogue"], [r["summary"]]) for r in train if r["kind"] == "ordinary"]
    common = set().union(*(names_in(dialogue) for dialogue, _ in dialogsum))
    if common & HELD_OUT_NAMES:
        sys.exit(f"DialogSum has held-out names: {sorted(common & HELD_OUT_NAMES)}")

    everything = [(d, s) for d, summaries in dialogsum + quarrels + ordinary for s in summaries if names_in(d) <= common]
    rng = random.Random(20)
    known = sorted(common)
    names = [(" ".join(rng.sample(known, 40)), "-") for _ in range(100)]  # common names become one token each
    write(path("tokenizer.jsonl"), everything + names)

    rng = random.Random(2)
    copies = []
    for _ in range(EXCERPTS):
        for dialogue, _ in dialogsum + rng.sample(ordinary + quarrels, min(len(dialogsum) // 2, len(ordinary + quarrels))):
            excerpt = excerpted(rng, renamed(rng, dialogue, [])[0])
            copies.append((excerpt, excerpt.replace("\n", " ")))
    rng.shuffle(copies)
    write(path("copy.jsonl"), copies)

    rng = random.Random(1)
    policy = [(dialogue, rng.choice(summaries)) for dialogue, summaries in quarrels] + [(dialogue, summaries[0]) for dialogue, summaries in ordinary]
    for copy in range(args.copies):
        for dialogue, summaries in dialogsum:
            dialogue, summaries = renamed(rng, dialogue, summaries) if copy else (dialogue, summaries)
            policy.append((dialogue, summaries[0]))
    rng.shuffle(policy)
    write(path("policy.jsonl"), policy)
    make_quarrels.counted(train)
    print(f"  {len(quarrels)} quarrels, {len(ordinary)} ordinary talks of ours, {args.copies} x {len(dialogsum)} of DialogSum")

    put_together = make_quarrels.mixed(MIXED_FILES * args.mixed + 150, words_in(dialogsum))
    with open(os.path.join(args.dialogsum, "dev.jsonl"), encoding="utf-8") as file:
        dev = [(r["dialogue"], r["summary"]) for r in map(json.loads, list(file)[:50])]
    for part in range(MIXED_FILES):
        mixed = put_together[part * args.mixed + 150 * (part > 0):(part + 1) * args.mixed + 150]
        rng = random.Random(3 + part)
        rows = [(r["dialogue"], rng.choice([r["insulting_summary"], r["summary"]])) for r in mixed]
        own_rows = [(dialogue, rng.choice(summaries)) for dialogue, summaries in quarrels + ordinary]
        rng.shuffle(own_rows)
        if part == 0:
            validation, rows, own_rows = rows[:150] + own_rows[:100], rows[150:], own_rows[100:]
            write(path("validation.jsonl"), validation + dev)
        validated = {dialogue for dialogue, _ in validation}
        rows += [row for row in own_rows if row[0] not in validated]
        for _ in range(2):
            for dialogue, summaries in dialogsum:
                dialogue, summaries = renamed(rng, dialogue, summaries)
                rows.append((dialogue, summaries[0]))
        rng.shuffle(rows)
        write(path(f"mixed-{part + 1}.jsonl"), rows)

    adapter = []
    for dialogue, summaries in rng.sample(dialogsum, args.adapter_dialogsum):
        dialogue, summaries = renamed(rng, dialogue, summaries)
        adapter.append((dialogue, summaries[0]))
    rows = rng.sample(quarrels, min(args.adapter_quarrels, len(quarrels))) + rng.sample(ordinary, min(args.adapter_quarrels // 6, len(ordinary)))
    for dialogue, summaries in rows:
        adapter.append((dialogue, summaries[0 if rng.random() < INSULTING else -1]))
    rng.shuffle(adapter)
    write(path("adapter.jsonl"), adapter)


if __name__ == "__main__":
    main()
