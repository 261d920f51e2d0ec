"""`make effect`: checks what PPO does to the tiny models. For each seed, runs `detox-lab train`, evaluates 200 held-out quarrels before and
after, and checks every promise. python3 scripts/effect.py BINARY [SEED...] (standard library only). Writes runs/effect/, and removes
earlier runs there. Exit code 1 if a promise is broken."""

import json
import os
import shutil
import subprocess
import sys
import time

DIALOGUES = 200
# Maximum seconds of training on two cores, and limits for the results.
SECONDS, HALF, KL, ROUGE = 240, 0.5, 15, 0.10


def run(binary, seed, preset):
    """Trains and evaluates; returns (seconds of training, evaluation, metrics by step)."""
    out = os.path.join("runs", "effect", f"{preset}-{seed}")
    shutil.rmtree(out, ignore_errors=True)
    started = time.monotonic()
    subprocess.run([binary, "train", "--preset", preset, "--seed", str(seed), "--out", out], check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    found = subprocess.run([binary, "evaluate", "--run", out, "-n", str(DIALOGUES), "--json"], check=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
        metrics = [json.loads(line) for line in file]
    return seconds, json.loads(found.stdout), metrics


def rows(seconds, e, metrics):
    """(name, before, after, promise, kept) of one run."""
    before, after = e["before"], e["after"]
    tox, score = e["toxicity_difference"], e["score_difference"]
    was, now = before["toxicity"]["mean"], after["toxicity"]["mean"]
    fall = 1 - after["rouge1"] / before["rouge1"]
    yield "training, seconds", "", f"{seconds:.0f}", f"< {SECONDS}", seconds < SECONDS
    yield "toxicity, mean", f"{was:.4f}", f"{now:.4f}", "at most half", now <= HALF * was
    yield "  difference, 95 %", "", f"{tox['mean']:+.4f} [{tox['low']:+.4f}, {tox['high']:+.4f}]", "excludes 0", tox["high"] < 0
    yield "toxicity, std deviation", f"{before['toxicity']['std']:.4f}", f"{after['toxicity']['std']:.4f}", "", True
    yield "score, mean", f"{before['score']['mean']:.3f}", f"{after['score']['mean']:.3f}", "rises", score["mean"] > 0
    yield "KL, nats per response", "", f"{e['kl']:.2f}", f"< {KL}", e["kl"] < KL
    yield "ROUGE-1 F", f"{before['rouge1']:.4f}", f"{after['rouge1']:.4f}", f"falls by at most {ROUGE:.0%}", fall <= ROUGE
    yield "distinct-1, distinct-2", *(f"{s['distinct1']:.3f}, {s['distinct2']:.3f}" for s in (before, after)), "at least 0.8 of before", \
        after["distinct2"] >= 0.8 * before["distinct2"]
    yield "words per summary", f"{before['mean_length']:.1f}", f"{after['mean_length']:.1f}", "0.7 to 1.3 of before", \
        0.7 <= after["mean_length"] / before["mean_length"] <= 1.3
    yield "empty summaries", before["empty"], after["empty"], "none", after["empty"] == 0
    yield "KL at step 1", "", f"{metrics[0]['objective/kl']:.4f}", "", True


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary, seeds = os.path.realpath(sys.argv[1]), sys.argv[2:] or ["0", "1", "2"]
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    broken = 0
    for preset, seed in [("corrected", seed) for seed in seeds] + [("published", seeds[0])]:
        print(f"\n{preset} preset, seed {seed}, {DIALOGUES} held-out quarrels"
              + ("" if preset == "corrected" else ": the effect of the lab's faults; nothing is promised"))
        print(f"{'':24}{'before':>16}  {'after':<32}{'promised':<24}")
        for name, before, after, promise, kept in rows(*run(binary, seed, preset)):
            verdict = "" if not promise or preset == "published" else "kept" if kept else "BROKEN"
            broken += verdict == "BROKEN"
            print(f"{name:24}{before:>16}  {after:<32}{promise if verdict else '':<24}{verdict}", flush=True)
    if broken:
        sys.exit(f"\n{broken} promises are broken")
    print("\nevery promise is kept")


if __name__ == "__main__":
    main()
