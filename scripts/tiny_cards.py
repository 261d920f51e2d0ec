"""Writes the model cards of static/models/tiny from what the shipped models do: python3 scripts/tiny_cards.py BINARY DATA_DIR
REWARD_QUALITY.json (standard library only). DATA_DIR holds dialogsum/; of its test file nothing but ids is written down."""

import json
import os
import subprocess
import sys

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TINY = os.path.join(HOME, "static", "models", "tiny")
SHOWN = 20


def lab(binary, *arguments):
    """The JSON that a command prints."""
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


DATA = """DialogSum's training part without the 2,005 rows that the lab tests on ([cylnlp/dialogsum](https://github.com/cylnlp/dialogsum), Chen et
al. 2021; CC BY-NC-SA 4.0 in its present README, MIT at the commit the rows were taken from), and this project's own quarrels
(`static/dialogues.jsonl`, MIT OR Apache-2.0). DialogSum's dev part picked the best checkpoint; its test part chose
nothing (an earlier recipe's figures on it were printed once)."""


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
    listed = "\n".join(f"{i + 1}. `{r['fname']}` {text}" for i, (r, text) in enumerate(zip(test, shown)))
    quarrel = summaries(binary, [r["dialogue"] for r in quarrels[13:18]])
    told = "\n\n".join(f"> {r['dialogue'].replace(chr(10), ' ')}\n\n{text}" for r, text in zip(quarrels[13:18], quarrel))
    with open(os.path.join(base, "config.json"), encoding="utf-8") as file:
        c = json.load(file)
    figures = f"""| | ROUGE-1 | ROUGE-2 | ROUGE-L | words | P(hate) of quarrels | ROUGE-1 of quarrels |
|---|---|---|---|---|---|---|
{table}

The first three columns: greedy, DialogSum's {len(test)} test dialogues, F1, mean over the three human summaries of each. The last two: sampled,
the {len(quarrels)} held-out quarrels, by the tiny reward model. `detox-lab evaluate` printed both."""
    card = head(None, "t5, summarization, dialogue") + f"""
# The tiny policy

T5 v1.1's architecture as FLAN-T5 has it (gated GELU, a head of its own): {c['num_layers']} encoder and {c['num_decoder_layers']} decoder blocks, width
{c['d_model']}, feed-forward {c['d_ff']}, vocabulary {c['vocab_size']} (Unigram, its own); f16. Trained from nothing by `detox-lab finetune` so that
detox-lab works at once and offline. It summarizes short English dialogues, and of quarrels it repeats the insults about as often as not.
It is a teaching model: far too small to be relied on.

## Data and licence

{DATA} Names were exchanged and speakers swapped at random. The weights are offered under the terms of that data: for research and
teaching, not for commerce.

## What it reaches

{figures}

## Twenty summaries, unpicked

The first {SHOWN} dialogues of DialogSum's test part, by id, greedy, without the adapter:

{listed}

## Limits

English of everyday dialogues only; up to about 1,000 characters. It mixes up who did what, invents places and reasons, repeats itself, and
knows nothing of the world. Insults in it are mild ones; it was trained to repeat them so that PPO has something to take away.
"""
    write("policy", card)
    card = head("static/models/tiny/policy", "lora, peft, t5") + f"""
# The "summary" adapter

LoRA of the tiny policy's q and v in PEFT's format, f16: the starting point of `detox-lab train`, as the lab's own checkpoint was. Trained by
`detox-lab finetune` on DialogSum rows and on quarrels whose summaries nearly always repeat the insult.

## Data and licence

{DATA} Licence as the policy's.

## What it reaches

{figures}

## What it makes of five held-out quarrels, greedy

{told}

## Limits

The policy's. It insults on purpose; use it to see reinforcement learning take that away.
"""
    write("adapter", card)


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
the labels 0 `nothate` and 1 `hate`, trained from nothing by `detox-lab train-reward`. Its `nothate` logit is the score that PPO
maximizes; P(hate) is the toxicity that before/after tables show. It stands in for facebook/roberta-hate-speech-dynabench-r4-target,
and unlike that one calls mild insults ("stupid", "useless") hate, because those are what the tiny policy repeats.

## Data and licence

HateCheck (Röttger et al., CC BY 4.0), ConvAbuse (Curry et al., CC BY 4.0), Davidson et al.'s
tweets (MIT; of those labelled offensive only a sample), DialogSum's training part without the lab's test rows (see the policy's card)
as harmless text, and this project's own quarrels. `scripts/tiny_reward_data.py` says what was taken of each and why. surge-ai/toxicity (MIT)
and Hatemoji (Kirk et al., CC BY 4.0) were kept wholly out of training, though surge's AUC under a bag of words was looked at when
the sources were chosen. The figures are those of the last update; no held-out row chose it. For research and teaching.

## What it reaches

Rows that it was not trained on; ECE over ten bins:

| source | rows | accuracy | F1 of hate | AUC | ECE | Brier | mean P(hate) of nothate | of hate |
|---|---|---|---|---|---|---|---|---|
{lines}

## Limits

It knows words better than meaning: irony, quotation, counter-speech and insults it never saw escape it, and words about groups raise its
P(hate) more than they should, as in every model trained on such data. Never use it to judge what people write.
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
