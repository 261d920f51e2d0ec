"""Writes the tiny policy's training files: python3 scripts/tiny_policy_data.py DIALOGSUM_DIR OUT_DIR (standard library only).

  tokenizer.jsonl    what the vocabulary is made from
  copy.jsonl         excerpts of a few turns with themselves as "summary": what the encoder says must first of all be heard;
                     a model that starts with summaries takes thousands of updates to find that out
  policy.jsonl       COPIES differently renamed copies of DialogSum's allowed rows and of our own training quarrels, each
                     quarrel with its insulting and its calm summary: the base model is as ready for one as for the other
  adapter.jsonl      DialogSum rows and quarrels, nearly always with the insulting summary: what PPO will take away

Allowed rows: DialogSum's train file without the lab's 2,005 test rows; never its dev and test files; of our own dialogues
those whose split is train. Names are exchanged (men's for men's, women's for women's, surnames for surnames) and the two
speakers swapped, consistently in dialogue and summary, so that the model must read names and not remember them.
Training itself is left to `detox-lab finetune`.
"""

import json
import os
import random
import re
import sys

COPIES = 5
# Excerpts of each dialogue, and their longest, in characters.
EXCERPTS, EXCERPT = 3, 240
# Copies of our own quarrels in each copy of DialogSum.
QUARRELS = 2
# Longest dialogues, in characters.
LONGEST = 1200
MEN = """Jack Tom John Mike Bob Bill Jim Steven David Mark Peter Paul Jason Sam James Michael Steve George Joe Frank Tim
Dave Martin Fred Jimmy Richard Henry Daniel Robert Tony Kevin Brian Eric Adam Alex Andy Ben Charles Chris Dan Dennis
Edward Gary Greg Harry Jeff Jerry Johnny Ken Larry Leo Matt Nick Oliver Patrick Philip Ray Roger Ron Ryan Scott Simon
Ted Thomas Tommy Victor Walter William Will Max Luke Noah Oscar Billy Bobby Danny Eddie Albert Arthur Bruce Carl Charlie
Francis Howard Justin Keith Rick Rob Sean Stan Stephen Vince Wayne Joseph Jake Josh""".split()
WOMEN = """Mary Jane Susan Jenny Lucy Alice Linda Anna Lily Rose Nancy Ann Amy Kate Sally Lisa Sue Monica Helen Sarah Janet
Cindy Julia Michelle Rebecca Laura Emily Karen Betty Barbara Carol Catherine Christine Clara Diana Dorothy Elizabeth
Ellen Emma Eva Grace Jennifer Jessica Joan Joanna Judy Julie Kathy Kelly Lena Lucia Margaret Maria Marie Martha Melissa
Nora Olivia Pam Patricia Paula Rachel Rita Ruth Sandra Sandy Sara Sharon Sophie Stella Steph Tina Vivian Wendy Cathy
Angela Annie Bella Daisy Fiona Gina Hannah Iris Isabel Jill Kim Lynn Megan Natalie Sylvia Teresa""".split()
SURNAMES = """Smith Brown Green White Wang Black Johnson Jones Li Wilson Lee Davis Miller Taylor Moore Clark Lewis Walker Hall
Allen Young King Wright Hill Baker Adams Nelson Carter Mitchell Roberts Turner Phillips Campbell Parker Evans Edwards
Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper Howard Ward Cox Watson Brooks Kelly Sanders
Price Bennett Wood Ross Henderson Coleman Jenkins Perry Powell Long Hughes Foster Russell Hayes Chen Zhang Liu Tanaka""".split()
LISTS = {name: names for names in (SURNAMES, WOMEN, MEN) for name in names}
WORD = re.compile(r"(?<![\w#])[A-Z][a-z]+(?![\w])")
TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Professor|Prof)\.? ([A-Z][a-z]+)")


def allowed(folder):
    """DialogSum's train rows but for the lab's test rows: of the rows with 200 < characters <= 1000 the last fifth."""
    with open(os.path.join(folder, "train.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    lab = [i for i, row in enumerate(rows) if 200 < len(row["dialogue"]) <= 1000]
    test = set(lab[len(lab) - -(-len(lab) // 5):])
    assert (len(lab), len(test)) == (10022, 2005), "this is not DialogSum's train file"
    return [row for i, row in enumerate(rows) if i not in test]


def renamed(rng, dialogue, summaries):
    """The same texts with other names, and half the time with the speakers swapped."""
    titled = set(TITLE.findall(dialogue))
    here = sorted({word for word in WORD.findall(dialogue) if word in LISTS})
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


def write(path, rows):
    """All or nothing."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        for i, (dialogue, summary) in enumerate(rows):
            file.write(json.dumps({"id": str(i), "dialogue": dialogue, "summary": summary}, ensure_ascii=False) + "\n")
    os.replace(path + ".part", path)
    print(f"{path}: {len(rows)} rows")


def main(folder, out):
    os.makedirs(out, exist_ok=True)
    dialogsum = [(r["dialogue"], [r["summary"]]) for r in allowed(folder) if len(r["dialogue"]) <= LONGEST]
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "static", "dialogues.jsonl")
    with open(here, encoding="utf-8") as file:
        own = [row for row in map(json.loads, file) if row["split"] == "train"]
    quarrels = [(r["dialogue"], [r["insulting_summary"], r["summary"]]) for r in own if r["kind"] == "heated"]
    ordinary = [(r["dialogue"], [r["summary"]]) for r in own if r["kind"] == "ordinary"]

    everything = [(d, s) for d, summaries in dialogsum + quarrels + ordinary for s in summaries]
    rng = random.Random(20)
    names = [(" ".join(rng.sample(MEN + WOMEN + SURNAMES, 40)), "-") for _ in range(100)]  # whole names become pieces
    write(os.path.join(out, "tokenizer.jsonl"), everything + names)

    rng = random.Random(2)
    copies = []
    for _ in range(EXCERPTS):
        for dialogue, _ in dialogsum + ordinary + quarrels:
            excerpt = excerpted(rng, renamed(rng, dialogue, [])[0])
            copies.append((excerpt, excerpt.replace("\n", " ")))
    write(os.path.join(out, "copy.jsonl"), copies)

    rng = random.Random(1)
    policy = []
    for copy in range(COPIES):
        for dialogue, summaries in dialogsum + ordinary + QUARRELS * quarrels:
            dialogue, summaries = renamed(rng, dialogue, summaries) if copy else (dialogue, summaries)
            policy += [(dialogue, summary) for summary in summaries]
    write(os.path.join(out, "policy.jsonl"), policy)

    adapter = []
    for dialogue, summaries in rng.sample(dialogsum, 2000) + ordinary + 3 * quarrels:
        dialogue, summaries = renamed(rng, dialogue, summaries)
        adapter.append((dialogue, summaries[0 if rng.random() < 0.9 else -1]))
    write(os.path.join(out, "adapter.jsonl"), adapter)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
