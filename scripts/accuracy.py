#!/usr/bin/env python3
"""What a number type costs in accuracy: log-probs of reference summaries under a policy, and the logits that a reward model gives
them, in f16 and q8_0 beside f32.

    scripts/accuracy.py DETOX_LAB [--policy SRC] [--reward SRC] [-n DIALOGUES]
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
args = parser.parse_args()

lines = (Path(__file__).parent.parent / "static/dialogues.jsonl").read_text().splitlines()[: args.n]
dialogues = [json.loads(line) for line in lines]


def ask(*words):
    out = subprocess.run([args.program, *words, "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["rows"]


with tempfile.TemporaryDirectory() as folder:
    rows, texts = Path(folder) / "rows.jsonl", Path(folder) / "texts"
    query = "\nSummarize the following conversation.\n\n{}\n\nSummary:\n"
    row = lambda d: json.dumps({"query": query.format(d["dialogue"]), "response": d["summary"]}) + "\n"
    rows.write_text("".join(map(row, dialogues)))
    texts.write_text("".join(" ".join(d["summary"].split()) + "\n" for d in dialogues))

    def numbers(kind):
        policy = ask("logprobs", "--policy", args.policy, "--adapter", "off", "--weights", kind, "--rows", str(rows))
        reward = ask("score", "--reward", args.reward, "--weights", kind, "--text", str(texts))
        logits = [x for row in reward for x in row["logits"].values()]
        return {"log-probs": [x for row in policy for x in row["logprobs"]], "logits": logits}

    exact = numbers("f32")
    for kind in ["f16", "q8_0"]:
        now = numbers(kind)
        for what, name in [("log-probs", args.policy), ("logits", args.reward)]:
            off = [abs(a - b) for a, b in zip(exact[what], now[what], strict=True)]
            print(f"{name} in {kind}: {what} differ from f32 by {sum(off) / len(off):.1e} on average, at most {max(off):.1e} ({len(off)} numbers)")
