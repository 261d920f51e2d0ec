"""Writes the tiny reward model's csv files: python3 scripts/tiny_reward_data.py DATA_DIR OUT_DIR (standard library only).

DATA_DIR holds dialogsum/ and hate/. Each csv file has the columns text,label,split; rows of split test are not used for training.
tokenizer.jsonl has the texts of all training rows, without those made from patterns: their few words would fill the vocabulary.

  hatecheck.csv       (CC BY 4.0) a test suite of templates: texts that differ only in the group they mention are in the same split
  davidson.csv        (MIT) hate speech -> hate, neither -> nothate, and of the 19,190 tweets of class "offensive" a sample -> hate:
                      the reward model scores insults, not only hatred of groups, and these are insults and profanity. All of
                                            them would be half of all rows, in one tone
  convabuse.csv       (CC BY 4.0) with its split; dev rows are used for training
  quarrel_summaries.csv, quarrel_dialogues.csv
                      ours, from make_quarrels.py: calm summaries and ordinary dialogues -> nothate, insulting summaries and heated
                      dialogues -> hate. The test rows are the shipped ones: their situations, things and names are not in training rows
  opinions.csv        critical sentences about films, food, plans, work ... -> nothate, insults aimed at somebody -> hate: sentences
                      written by hand for each topic (scripts/quarrels/opinions.txt), and patterns filled with the topic's words.
                      They teach the reward model to judge insults, not opinions
  held-out/civil.csv, held-out/insulting.csv
                      the same for topics that are not in training rows, written by hand, only for measuring
  dialogsum.csv       DialogSum's allowed rows (not the lab's test rows, dev and test): summaries, turns and excerpts of
                        dialogue -> nothate, except those that contain an insult
  prompts.csv         whole prompts with a summary, as the lab's published preset scores them: nothate, or hate with a heated
                        dialogue; only for training

hatemoji_build and hatemoji_check are not used for training: they have emoji, and pairs written to mislead large models; a small model learns
nothing from them and is better on all other data without them. stormfront_vicomtech (CC BY-SA) is not used, and
surge_toxicity only for measuring. `detox-lab train-reward` does the training.
"""

import csv
import hashlib
import html
import json
import os
import random
import re
import sys

import make_quarrels
from english import article
from tiny_policy_data import allowed
import words

HELD_OUT = 0.15
# Number of our rows from the large set, of which about five in six are heated.
QUARRELS, QUARREL_DIALOGUES = 900, 600
# Number of opinions and of insults made from patterns.
OPINIONS = 800
# How often a training row of a source is written, because it is small and hard.
REPEATED = {"hatecheck": 2}
# Number of DialogSum rows of each kind, of prompts of each label, and of tweets of class "offensive".
SUMMARIES, TURNS, STRETCHES, PROMPTS, OFFENSIVE = 4500, 3000, 1500, 250, 4000
# A row of DialogSum with one of these words is not used as harmless.
INSULTS = set("idiot idiots moron morons loser losers jerk jerks stupid dumb pathetic worthless bastard bitch crap shit damn".split())
GROUPS = re.compile(
    r"\b(?:women|woman|girls?|trans|transgender|gays?|lesbians?|queers?|black|white|asian|arab|latinx?|disabled|muslims?|jews?|jewish|"
    r"christians?|hindus?|immigrants?|migrants?|refugees?|foreigners?|people|person|men|man)\b")


def held_out(key):
    """A random choice that is the same in every run."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 1000 < 1000 * HELD_OUT


def template(text):
    """A test suite's sentence without the group that it mentions."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z' ]", "", GROUPS.sub("", text.lower()))).strip()


def tweet(text):
    """A tweet without mentions, links and similar marks."""
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
    """(training rows, test rows)"""
    train = [row for row in make_quarrels.large(QUARRELS) + make_quarrels.by_hand() if row["split"] == "train"]
    return train, [row for row in make_quarrels.shipped() if row["split"] == "test"]


def quarrels(train, test):
    """our summaries and our dialogues"""
    summaries, dialogues = [], []
    for rows in (train, test):
        for i, row in enumerate(rows):
            texts = [row["summary"]] + ([row["insulting_summary"]] if row["kind"] == "heated" else [])
            summaries += [(text, label, row["split"]) for text, label in zip(texts, ["nothate", "hate"])]
            if row["split"] == "test" or i < QUARREL_DIALOGUES:
                dialogues.append((row["dialogue"], "hate" if row["kind"] == "heated" else "nothate", row["split"]))
    return summaries, dialogues


# Patterns of opinions: {thing} is a thing of the topic, {bad} an opinion, {name} {day} and so on come from make_quarrels.py.
BAD = """terrible awful horrible bad dreadful disappointing boring poor weak unpleasant annoying dull ugly unacceptable frustrating overpriced
terrible awful bad disappointing""".split()
CIVIL = """The {thing} was {bad}.|The {thing} is really {bad}.|I think the {thing} is {bad}.|What {a_bad} {thing}!|I hated the {thing}.|I don't like the {thing} at all.|The {thing} was {bad}, to be honest.
This is the worst {thing} I know.|I am not satisfied with the {thing}.|The {thing} made me angry.|The {thing} was {bad} and {bad2}.|{name} thinks the {thing} is {bad}.|{name} does not like the {thing}.
I told {name} that the {thing} was {bad}.|The {thing} is a waste of money.|The {thing} was a disaster.|I can't stand this {thing}.|The {people} was slow and unfriendly.|The {people} made a big mistake.
I was unhappy with the {people}.|The {people} did not help us at all.|I am angry with the {people} because of the {thing}.|You were wrong about the {thing}.|Your {thing} was {bad}, and I told you so.
{name} is upset about the {thing} because it was {bad}.|{name} complains that the {thing} is {bad}.|The {thing} was worse than last time.|Nobody liked the {thing}.|It was {a_bad} {thing}, in my opinion.
I expected more from the {people}.|I am disappointed in you because of the {thing}.|The {people} should say sorry for the {thing}.|How {bad} the {thing} is!|Why is the {thing} so {bad}?|The {thing} needs a lot of work.
You did not do a good job with the {thing}.|I disagree with the {people}.|It's not fair that the {thing} is so {bad}.|{name} blames the {people} for the {bad} {thing}.""".replace("\n", "|").split("|")
INSULTING = """You are {np}!|You {bare}!|The {people} is {np}.|The {people} is so {adjs}.|{name} is {np}.|{name} is {adjs}.|What {np} the {people} is!|You are as {adj} as the {people}.|Shut up, you {noun}!
You are {np}, and your {thing} was {bad}.|The {thing} was {bad} because you are {np}.|Only {np} likes the {thing}.|{name} says the {people} is {np}.|{name} calls you {np}.|I told {name} that the {people} is {np}.
You and your {thing}, you {bare}!|How can anybody be so {adjs}?|My {people} is {np}.|You are nothing but {np}.|You are {adjs}, {name}.|That {bare} broke the {thing}.|Listen, you {bare}, the {thing} is mine.
{name} calls the {people} {np}.|{name} thinks you are {adjs}.|You will always be {np}.|I never met such {np}.|The {people} is {np}, everybody knows it.|Get lost, you {noun}.|Are you {adjs}, or what?
{name}, {np}, forgot the {thing}.|{name} insults the {people} as {np}.|You are too {adj} to understand the {thing}.""".replace("\n", "|").split("|")


def opinions():
    """(rows of training topics, held-out civil rows, held-out insulting rows)"""
    topics, rng = [], random.Random(6)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "quarrels", "opinions.txt"), encoding="utf-8") as file:
        for line in map(str.strip, file):
            if head := re.fullmatch(r"\[(.+)\]( test)?", line):
                topics.append({"name": head[1], "split": "test" if head[2] else "train"})
            elif part := re.match(r"(\w+): (.*)", line):
                topics[-1][part[1]] = re.split(r" \| " if " | " in part[2] else ", ", part[2])
    train, test = ([topic for topic in topics if topic["split"] == split] for split in ("train", "test"))
    shared = {thing for topic in train for thing in topic["things"]} & {thing for topic in test for thing in topic["things"]}
    if shared:
        sys.exit(f"opinions.txt: things of training and held-out topics: {sorted(shared)}")
    rows = {text: label for topic in train for kind, label in (("civil", "nothate"), ("insulting", "hate")) for text in topic[kind]}
    for patterns, label in ((CIVIL, "nothate"), (INSULTING, "hate")):
        wanted = len(rows) + OPINIONS
        while len(rows) < wanted:
            topic = rng.choice(train)
            adjective, other = rng.sample(sorted(set(words.PERSON_ADJECTIVES)), 2)
            noun = rng.choice(words.PERSON_NOUNS)
            bare = rng.choice([f"{adjective} {noun}", f"{adjective}, {other} {noun}", noun])
            bad, bad2 = rng.sample(sorted(set(BAD)), 2)
            text = rng.choice(patterns).format(
                thing=rng.choice(topic["things"]), people=rng.choice(topic["people"]), bad=bad, bad2=bad2, a_bad=article(bad), name=rng.choice(make_quarrels.pp.MEN + make_quarrels.pp.WOMEN),
                np=article(bare), bare=bare, noun=noun, adj=adjective, adjs=f"{adjective} and {other}")
            rows.setdefault(text, label)
    own = [(text, label, "train") for text, label in rows.items()]
    rng.shuffle(own)
    held = [[(text, label, "test") for topic in test for text in topic[kind]] for kind, label in (("civil", "nothate"), ("insulting", "hate"))]
    return own, *held


def harmless(texts):
    return [text for text in texts if not INSULTS & set(re.findall(r"[a-z]+", text.lower()))]


def dialogsum(rows):
    """Harmless text in the style of the scored texts; includes excerpts of several turns, so that the length gives no hint."""
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


def prompts(rows, own):
    def prompt(dialogue, summary):
        return " ".join(f"Summarize the following conversation. {dialogue} Summary: {summary}".split())

    texts = harmless(prompt(row["dialogue"], row["summary"]) for row in rows if len(row["dialogue"]) <= 1000)
    heated = [prompt(row["dialogue"], row["insulting_summary"]) for row in own if row["kind"] == "heated"]
    rng = random.Random(5)
    calm, heated = rng.sample(texts, PROMPTS), rng.sample(heated, PROMPTS)
    return [(text, "nothate", "train") for text in calm] + [(text, "hate", "train") for text in heated]


def write(path, rows):
    """Writes the file completely or not at all."""
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
    train, held = own_dialogues()
    summaries, dialogues = quarrels(train, held)
    said, civil, insulting = opinions()
    files = {
        "hatecheck": by_template(folder, "hatecheck.csv"),
        "davidson": davidson(folder),
        "convabuse": own_split(folder, "convabuse.csv"),
        "quarrel_summaries": summaries,
        "quarrel_dialogues": dialogues,
        "dialogsum": dialogsum(rows),
        "prompts": prompts(rows, train),
        "opinions": said,
    }
    os.makedirs(os.path.join(out, "held-out"), exist_ok=True)
    write(os.path.join(out, "held-out", "civil.csv"), civil)
    write(os.path.join(out, "held-out", "insulting.csv"), insulting)
    test = {text for rows in [*files.values(), civil, insulting] for text, _, split in rows if split == "test"}
    for name, rows in files.items():  # a text that is in any file's test rows is in nobody's train rows
        files[name] = [row for row in rows if row[2] == "test"]
        files[name] += [row for row in rows if row[2] == "train" and row[0] not in test] * REPEATED.get(name, 1)
        write(os.path.join(out, name + ".csv"), files[name])
    with open(os.path.join(out, "tokenizer.jsonl"), "w", encoding="utf-8") as file:
        for text, _, split in (row for name, rows in files.items() for row in rows if not name.startswith(("quarrel", "opinions", "prompts"))):
            if split == "train":
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
