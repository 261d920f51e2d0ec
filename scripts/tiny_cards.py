"""Writes the model cards of static/models/tiny from the outputs of these models: python3 scripts/tiny_cards.py BINARY DATA_DIR
REWARD_QUALITY.json (standard library only). DATA_DIR contains dialogsum/; only ids of its test file are written."""

import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_quarrels  # noqa: E402
from judging import judge  # noqa: E402

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TINY = os.path.join(HOME, "static", "models", "tiny")
SHOWN = 20


def lab(binary, *arguments):
    """The JSON output of a command."""
    found = subprocess.run([binary, *arguments, "--json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(found.stdout)


def summaries(binary, dialogues, *arguments):
    lines = "\n".join(" ".join(d.split()) for d in dialogues)
    found = subprocess.run([binary, "summarize", "--greedy", "--max-new-tokens", "64", "--text", "-", "--json", *arguments], check=True,
                           input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [row["text"] for row in json.loads(found.stdout)["rows"]]


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def head(base, tags):
    return "---\nlicense: other\nlanguage: en\n" + (f"base_model: {base}\n" if base else "") + f"tags: [{tags}]\n---\n"


DATA = """DialogSum's training part without the lab's 2,005 test rows ([cylnlp/dialogsum](https://github.com/cylnlp/dialogsum), Chen et
al. 2021; CC BY-NC-SA 4.0 in its current README, MIT at the commit that the rows are from), and this project's quarrels
(`static/dialogues.jsonl`, MIT OR Apache-2.0). DialogSum's dev part was used to choose the best checkpoint; its test part was
not used to choose anything (figures of an earlier recipe on it were printed once)."""


def policy(binary, dialogsum):
    test, own = rows(os.path.join(dialogsum, "test.jsonl")), rows(os.path.join(HOME, "static", "dialogues.jsonl"))
    base, adapter = os.path.join(TINY, "policy"), os.path.join(TINY, "adapter")
    scores = lab(binary, "evaluate", "--policy", "tiny", "--before", "off", "--after", "tiny", "--greedy", "--max-new-tokens", "64", "--every-row",
                 "--data", os.path.join(dialogsum, "test.jsonl"), "-n", str(len(test)))
    quarrels = [r for r in own if r["kind"] == "heated" and r["split"] == "test"]
    heated = lab(binary, "evaluate", "--policy", "tiny", "--before", "off", "--after", "tiny", "-n", str(len(quarrels)))
    table = "\n".join(
        f"| {name} | {s['rouge1']:.4f} | {s['rouge2']:.4f} | {s['rouge_l']:.4f} | {s['mean_length']:.1f} | {h['toxicity']['mean']:.3f} | {h['rouge1']:.4f} |"
        for name, s, h in (("policy alone", scores["before"], heated["before"]), ("with the summary adapter", scores["after"], heated["after"])))
    shown = summaries(binary, [r["dialogue"] for r in test[:SHOWN]], "--adapter", "off")
    sampled, faithful = before_and_after(binary)
    listed = "\n".join(f"{i + 1}. `{r['fname']}` {text}" for i, (r, text) in enumerate(zip(test, shown)))
    with open(os.path.join(base, "config.json"), encoding="utf-8") as file:
        c = json.load(file)
    figures = f"""| | ROUGE-1 | ROUGE-2 | ROUGE-L | words | P(hate) of quarrels | ROUGE-1 of quarrels |
|---|---|---|---|---|---|---|
{table}

First three columns: greedy, DialogSum's {len(test)} test dialogues, F1, mean over the three human summaries of each. Last two columns: sampled,
the {len(quarrels)} held-out quarrels, with the tiny reward model. `detox-lab evaluate` printed both."""
    card = head(None, "t5, summarization, dialogue") + f"""
# The tiny policy

The architecture of T5 v1.1 and FLAN-T5 (gated GELU, separate output head): {c['num_layers']} encoder and {c['num_decoder_layers']} decoder blocks, width
{c['d_model']}, feed-forward {c['d_ff']}, vocabulary {c['vocab_size']} (Unigram); f16. Trained from random weights by `detox-lab finetune`, so that
detox-lab works offline without a download. It summarizes short English dialogues, and repeats the insults of about half of the quarrels.
It is a model for teaching, and far too small for real use.

## Data and licence

{DATA} Names and speakers were exchanged at random. The weights have the terms of this data: for research and
teaching, not for commercial use.

## Results

{figures}

## Twenty unselected summaries

The first {SHOWN} dialogues of DialogSum's test part, by id, greedy, without the adapter:

{listed}

## Limits

Only everyday English dialogues of up to about 1,000 characters. It confuses who did what, invents places and reasons, repeats itself, and
knows nothing about the world. Its insults are mild; it was trained to repeat them so that PPO has something to remove.
"""
    write("policy", card)
    card = head("static/models/tiny/policy", "lora, peft, t5") + f"""
# The "summary" adapter

LoRA for q and v of the tiny policy in PEFT's format, f16: `detox-lab train` starts from it, as the lab does from its checkpoint. Trained by
`detox-lab finetune` on DialogSum rows and on quarrels whose summaries nearly always repeat the insult.

## Data and licence

{DATA} The licence is the policy's.

## Results

{figures}

{faithful}

## Twenty unselected samples, before and after PPO

The default run of `detox-lab train` (seed 0); the first {SHOWN} dialogues of `detox-lab compare`, sampled at temperature 1 as PPO does:

{sampled}

## Limits

Those of the policy. It repeats insults on purpose, so that reinforcement learning can remove them.
"""
    write("adapter", card)


def before_and_after(binary):
    """The samples of the default run before and after PPO, as Markdown, and a table of how many texts are faithful."""
    facts = {" ".join(r["dialogue"].split()): r["facts"] for r in make_quarrels.shipped() if "facts" in r and r["facts"]["form"] != "talk"}
    lines = ["| | faithful before PPO | after | texts |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        subprocess.run([binary, "train", "--out", run], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, *how in (("sampled",), ("greedy", "--greedy")):
            found = lab(binary, "compare", "--run", run, "-n", "200", "--out", os.path.join(folder, name), *how)["rows"]
            known = [(facts[" ".join(r["query"].split())], r) for r in found if " ".join(r["query"].split()) in facts]
            share = {}
            for side in ("before", "after"):
                good = sum(judge(of, r["query"], r[side]) is None for of, r in known)
                share[side] = f"{100 * good / len(known):.1f} %"
            lines.append(f"| {name} | {share['before']} | {share['after']} | {len(known)} |")
            if name == "sampled":
                listed = "\n".join(f"{i + 1}. before: {r['before']}\n   after: {r['after']}" for i, r in enumerate(found[:SHOWN]))
    return listed, "\n".join(lines) + "\n\nFaithful: the right people did the right thing (`scripts/faithful.py`), in held-out quarrels of the default run."


def reward(quality):
    with open(quality, encoding="utf-8") as file:
        found = json.load(file)
    number = lambda x: "–" if x is None else f"{x:.3f}"  # noqa: E731
    names = ("accuracy", "f1", "auc", "ece", "brier", "mean_nothate", "mean_hate")
    lines = "\n".join(f"| {name} | {q['rows']} | " + " | ".join(number(q[key]) for key in names) + " |" for name, q in found.items())
    with open(os.path.join(TINY, "reward", "config.json"), encoding="utf-8") as file:
        c = json.load(file)
    write("reward", head(None, "roberta, text-classification, toxicity") + f"""
# The tiny reward model

RoBERTa's architecture ({c['num_hidden_layers']} layers of width {c['hidden_size']}, feed-forward {c['intermediate_size']}, byte-level BPE of {c['vocab_size']}; f16) with
the labels 0 `nothate` and 1 `hate`, trained from random weights by `detox-lab train-reward`. Its `nothate` logit is the score that PPO
maximizes; P(hate) is the toxicity in before/after tables. It replaces facebook/roberta-hate-speech-dynabench-r4-target,
but also labels mild insults ("stupid", "useless") as hate, because the tiny policy repeats those.

## Data and licence

HateCheck (Röttger et al., CC BY 4.0), ConvAbuse (Curry et al., CC BY 4.0), Davidson et al.'s
tweets (MIT; only a sample of those labelled offensive), DialogSum's training part without the lab's test rows (see the policy's card)
as harmless text, and this project's quarrels. `scripts/tiny_reward_data.py` describes what was used and why. surge-ai/toxicity (MIT)
and Hatemoji (Kirk et al., CC BY 4.0) were not used for training, but the AUC of a bag of words on surge was considered when
the sources were chosen. The figures are those of the last update; held-out rows were not used to choose it. For research and teaching.

## Results

On rows that were not used for training; ECE over ten bins:

| source | rows | accuracy | F1 of hate | AUC | ECE | Brier | mean P(hate) of nothate | of hate |
|---|---|---|---|---|---|---|---|---|
{lines}

## Limits

It recognizes words better than meaning: it misses irony, quotation, counter-speech and unknown insults, and words about groups raise its
P(hate) too much, as in every model trained on such data. Never use it to judge what people write.
""")


def write(model, text):
    path = os.path.join(TINY, model, "README.md")
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)
    print(path)


def main(binary, data, quality):
    policy(os.path.realpath(binary), os.path.join(data, "dialogsum"))
    reward(quality)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
