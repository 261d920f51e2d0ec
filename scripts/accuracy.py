#!/usr/bin/env python3
"""What a number type costs in accuracy: log-probs of reference summaries under a policy, and the logits that a reward model gives
them, in f16, q8_0 and bf16 (weights and products) beside f32.

    scripts/accuracy.py DETOX_LAB [--policy SRC] [--reward SRC] [-n DIALOGUES] [--torch]

With --torch also what torch's bf16 costs on the same inputs, beside torch's f32. This Python must have torch and transformers then.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program")
parser.add_argument("--policy", default="tiny")
parser.add_argument("--reward", default="tiny")
parser.add_argument("-n", type=int, default=4)
parser.add_argument("--torch", action="store_true")
args = parser.parse_args()

ROOT = Path(__file__).parent.parent
lines = (ROOT / "static/dialogues.jsonl").read_text().splitlines()[: args.n]
dialogues = [json.loads(line) for line in lines]


def ask(*words):
    out = subprocess.run([args.program, *words, "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["rows"]


def compare(what_is, now, exact):
    for what in ["log-probs", "logits"]:
        off = [abs(a - b) for a, b in zip(exact[what], now[what], strict=True)]
        print(f"{what_is}: {what} differ by {sum(off) / len(off):.1e} on average, at most {max(off):.1e} ({len(off)} numbers)")


def of_torch(dtype):
    """The same numbers by transformers."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

    folder = lambda name, role: str(ROOT / "static/models/tiny" / role) if name == "tiny" else name
    load = lambda kind, source: (AutoTokenizer.from_pretrained(source), kind.from_pretrained(source, torch_dtype=dtype).eval())
    found = {"log-probs": [], "logits": []}
    with torch.no_grad():
        tokenizer, policy = load(AutoModelForSeq2SeqLM, folder(args.policy, "policy"))
        for d in dialogues:
            ids, labels = (tokenizer(text, return_tensors="pt").input_ids for text in (query.format(d["dialogue"]), d["summary"]))
            logprobs = policy(input_ids=ids, labels=labels).logits.float().log_softmax(-1)
            found["log-probs"] += logprobs.gather(-1, labels[..., None]).flatten().tolist()
        tokenizer, reward = load(AutoModelForSequenceClassification, folder(args.reward, "reward"))
        for text in summaries:
            found["logits"] += reward(**tokenizer(text, return_tensors="pt")).logits.float().flatten().tolist()
    return found


query = "\nSummarize the following conversation.\n\n{}\n\nSummary:\n"
summaries = [" ".join(d["summary"].split()) for d in dialogues]
with tempfile.TemporaryDirectory() as folder:
    rows, texts = Path(folder) / "rows.jsonl", Path(folder) / "texts"
    row = lambda d: json.dumps({"query": query.format(d["dialogue"]), "response": d["summary"]}) + "\n"
    rows.write_text("".join(map(row, dialogues)))
    texts.write_text("".join(text + "\n" for text in summaries))

    def numbers(*kind):
        policy = ask("logprobs", "--policy", args.policy, "--adapter", "off", *kind, "--rows", str(rows))
        reward = ask("score", "--reward", args.reward, *kind, "--text", str(texts))
        logits = [x for row in reward for x in row["logits"].values()]
        return {"log-probs": [x for row in policy for x in row["logprobs"]], "logits": logits}

    exact = numbers("--weights", "f32")
    for kind in ["f16", "q8_0"]:
        compare(f"{kind} beside f32", numbers("--weights", kind), exact)
    compare("bf16 beside f32", numbers("--weights", "bf16", "--precision", "bf16"), exact)
if args.torch:
    import torch

    in_f32 = of_torch(torch.float32)
    compare("torch's bf16 beside its f32", of_torch(torch.bfloat16), in_f32)
    compare("f32 beside torch's f32", exact, in_f32)
