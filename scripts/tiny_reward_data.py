"""Writes the tiny reward model's csv files: python3 scripts/tiny_reward_data.py DATA_DIR OUT_DIR (standard library only).

DATA_DIR holds dialogsum/ and hate/. Each csv file has the columns text,label,split; rows of split test are never trained on.
tokenizer.jsonl has the texts of all training rows.

  hatecheck.csv       (CC BY 4.0) a test suite of templates: those that differ only in the group they speak of share a split
  davidson.csv        (MIT) hate speech -> hate, neither -> nothate, and of the 19,190 tweets of class "offensive" a sample -> hate:
                      what is scored here is insult, not only hatred of groups, and they are insults and profanity. All of
                      them would be half of all rows, in one tone
  convabuse.csv       (CC BY 4.0) its own split, dev rows are trained on
  quarrel_summaries.csv, quarrel_dialogues.csv
                      our own: calm summaries and ordinary dialogues -> nothate, insulting summaries and heated dialogues -> hate;
                      training rows also with other names. The test rows are of scenes that no training row shows
  dialogsum.csv       DialogSum's allowed rows (never the lab's test rows, nor dev and test): summaries, turns and stretches of
                      dialogue -> nothate, but for those with an insult in them
  prompts.csv         whole prompts with a summary, as the lab's published preset scores them: nothate, or with a heated
                      dialogue hate; only to train on

Left out are hatemoji_build and hatemoji_check: emoji, and pairs written to mislead large models; a small one learns nothing
from them and does better on everything else without. stormfront_vicomtech (CC BY-SA) is not used at all, and
surge_toxicity is for measuring alone. Training is left to `detox-lab train-reward`.
"""

import csv
import hashlib
import html
import json
import os
import random
import re
import sys

from tiny_policy_data import allowed, renamed

HELD_OUT = 0.15
# Differently named copies of our own training rows.
COPIES = 2
# Rows of DialogSum of each kind, prompts of each label, tweets of class "offensive".
SUMMARIES, TURNS, STRETCHES, PROMPTS, OFFENSIVE = 4500, 3000, 1500, 250, 4000
# A row of DialogSum with one of these is not called harmless.
INSULTS = set("idiot idiots moron morons loser losers jerk jerks stupid dumb pathetic worthless bastard bitch crap shit damn".split())
GROUPS = re.compile(
    r"\b(?:women|woman|girls?|trans|transgender|gays?|lesbians?|queers?|black|white|asian|arab|latinx?|disabled|muslims?|jews?|jewish|"
    r"christians?|hindus?|immigrants?|migrants?|refugees?|foreigners?|people|person|men|man)\b")


def held_out(key):
    """A coin that falls the same way at every run."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 1000 < 1000 * HELD_OUT


def template(text):
    """What is left of a test suite's sentence without the group that it speaks of."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z' ]", "", GROUPS.sub("", text.lower()))).strip()


def tweet(text):
    """A tweet without the marks of its medium."""
    text = re.sub(r"https?://\S+|\bRT\b|@\w+:?", " ", html.unescape(text))
    return re.sub(r"\s+", " ", text.replace("&amp;", "&")).strip(" \"")


def source(folder, name):
    with open(os.path.join(folder, "hate", name), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def own_split(folder, name):
    return [(r["text"], r["label"], "test" if r["split"] == "test" else "train") for r in source(folder, name)]


def by_template(folder, name):
    return [(r["text"], r["label"], "test" if held_out(template(r["text"])) else "train") for r in source(folder, name)]


def davidson(folder):
    rows = source(folder, "davidson.csv")
    offensive = [(tweet(r["text"]), "hate") for r in rows if r["source_label"] == "offensive_language"]
    others = [(tweet(r["text"]), r["label"]) for r in rows if r["source_label"] != "offensive_language"]
    rows = others + random.Random(2).sample(offensive, OFFENSIVE)
    return [(text, label, "test" if held_out(text) else "train") for text, label in rows if text]


def own_dialogues():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "static", "dialogues.jsonl")
    with open(here, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def quarrels():
    """Our own summaries, and our own dialogues; each training row also with other names."""
    rng, summaries, dialogues = random.Random(3), [], []
    for row in own_dialogues():
        for copy in range(1 + (COPIES if row["split"] == "train" else 0)):
            texts = [row["summary"]] + ([row["insulting_summary"]] if row["kind"] == "heated" else [])
            dialogue, texts = renamed(rng, row["dialogue"], texts) if copy else (row["dialogue"], texts)
            summaries += [(text, label, row["split"]) for text, label in zip(texts, ["nothate", "hate"])]
            dialogues.append((dialogue, "hate" if row["kind"] == "heated" else "nothate", row["split"]))
    return summaries, dialogues


def harmless(texts):
    return [text for text in texts if not INSULTS & set(re.findall(r"[a-z]+", text.lower()))]


def dialogsum(rows):
    """Harmless text in the language of what is scored; stretches of several turns, so that length says nothing."""
    rng = random.Random(4)
    talks = [[turn.strip() for turn in row["dialogue"].split("\n") if turn.strip()] for row in rows]
    summaries = [row["summary"] for row in rows]
    turns = [re.sub(r"^#Person\d#: *", "", turn) for talk in talks for turn in talk]
    stretches = []
    for talk in talks:
        start = rng.randrange(len(talk))
        stretches.append("\n".join(talk[start:start + rng.randint(2, 4)]))
    texts = []
    for kind, number in ((summaries, SUMMARIES), (turns, TURNS), (stretches, STRETCHES)):
        texts += rng.sample(sorted(set(harmless(kind))), number)
    return [(text, "nothate", "test" if held_out(text) else "train") for text in texts]


def prompts(rows):
    def prompt(dialogue, summary):
        return " ".join(f"Summarize the following conversation. {dialogue} Summary: {summary}".split())

    own = [row for row in own_dialogues() if row["split"] == "train"]
    texts = harmless(prompt(row["dialogue"], row["summary"]) for row in rows if len(row["dialogue"]) <= 1000)
    heated = [prompt(row["dialogue"], row["insulting_summary"]) for row in own if row["kind"] == "heated"]
    rng = random.Random(5)
    calm, heated = rng.sample(texts, PROMPTS), rng.sample(heated, PROMPTS)
    return [(text, "nothate", "train") for text in calm] + [(text, "hate", "train") for text in heated]


def write(path, rows):
    """All or nothing."""
    with open(path + ".part", "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["text", "label", "split"])
        out.writerows(rows)
    os.replace(path + ".part", path)
    count = {(split, label): 0 for split in ("train", "test") for label in ("hate", "nothate")}
    for _, label, split in rows:
        count[split, label] += 1
    print(f"{path}: " + ", ".join(f"{n} {label} to {split}" for (split, label), n in count.items()))


def main(folder, out):
    os.makedirs(out, exist_ok=True)
    rows = allowed(os.path.join(folder, "dialogsum"))
    summaries, dialogues = quarrels()
    files = {
        "hatecheck": by_template(folder, "hatecheck.csv"),
        "davidson": davidson(folder),
        "convabuse": own_split(folder, "convabuse.csv"),
        "quarrel_summaries": summaries,
        "quarrel_dialogues": dialogues,
        "dialogsum": dialogsum(rows),
        "prompts": prompts(rows),
    }
    test = {text for rows in files.values() for text, _, split in rows if split == "test"}
    for name, rows in files.items():  # a text that is in any file's test rows is in nobody's train rows
        files[name] = [row for row in rows if row[2] == "test" or row[0] not in test]
        write(os.path.join(out, name + ".csv"), files[name])
    with open(os.path.join(out, "tokenizer.jsonl"), "w", encoding="utf-8") as file:
        for text, _, split in (row for rows in files.values() for row in rows):
            if split == "train":
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
