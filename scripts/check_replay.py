#!/usr/bin/env python3
"""Replays PPO steps that TRL ran and compares every number with TRL's.

  python scripts/check_replay.py BINARY GOLDEN [--out DIR]

BINARY is `target/release/detox-lab`. GOLDEN is a folder of recorded TRL runs: policy_base/, adapter/, v_head.safetensors, cases/*.json (config;
queries, responses and scores of each step) and a folder for each TRL, trl-25fa1bd/ and trl-0.11.4/, with CASE.json (statistics and mini-batch
orders), CASE.stepN.safetensors (per-token numbers, N from 0) and CASE.adapter_after_stepN, CASE.v_head_after_stepN (N from 1). DIR keeps the inputs and outputs of the replays. Needs numpy and safetensors.

A line for each case and step shows, for each kind of number, the difference nearest to its limit (or furthest above it), and OK or MISMATCH, with these limits:
  statistics   1e-4 relative, or 1e-5 absolute if that is larger (for numbers near 0)
  per token    1e-4 absolute, where the mask is 1; the masks must be equal
  weights      1e-5 absolute, adapter and value head
The case C_clipping is chaotic (learning rate 2e-2, 8 updates a step: rounding grows a hundredfold per step): its first step is judged like all
others, its later steps are shown but not judged. Exit status 1 after a mismatch.
"""
import argparse, glob, json, os, shutil, subprocess, sys, tempfile
import numpy as np
from safetensors.numpy import load_file

VERSIONS = {"trl-25fa1bd": {"whiten_over": "mini_batch"}, "trl-0.11.4": {"whiten_over": "batch", "ratio_threshold": 10}}
CHAOTIC = "C_clipping"
PER_TOKEN = ("old_logprobs", "ref_logprobs", "old_values", "rewards", "returns", "advantages")


def replay(binary, golden, case, version, steps, recorded, folder):
    """writes rows, orders and config; runs the binary"""
    os.makedirs(folder, exist_ok=True)
    c = recorded["config"]
    config = {"batch_size": c["batch_size"], "mini_batch_size": c["mini_batch_size"], "ppo_epochs": c["ppo_epochs"], "learning_rate": c["lr"],
              "summary_dropout_prob": 0, **VERSIONS[version]}
    write = lambda name, text: open(f"{folder}/{name}", "w").write(text)
    write("config.json", json.dumps(config))
    write("orders.json", json.dumps([s["permutations"] for s in recorded["steps"]]))
    arguments = []
    for i, s in enumerate(steps, 1):
        rows = [dict(query_ids=q, response_ids=r, score=x) for q, r, x in zip(s["queries"], s["responses"], s["scores"])]
        write(f"rows-{i}.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
        arguments += ["--rows", f"{folder}/rows-{i}.jsonl"]
    command = [binary, "replay", "--policy", f"{golden}/policy_base", "--adapter", f"{golden}/adapter", "--value-head", f"{golden}/v_head.safetensors",
               *arguments, "--config", f"{folder}/config.json", "--orders", f"{folder}/orders.json", "--preset", "published", "--out", f"{folder}/out"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{version} {case}: replay failed with status {done.returncode}\n  {' '.join(command)}\n{done.stderr}")


def trl_per_token(t):
    """TRL's per-token numbers of a whole batch. 25fa1bd has advantages only by mini-batch: they are put back into rows; returns = A + V."""
    t = {k: v.astype(np.float64) for k, v in t.items()}
    if "advantages_raw" in t:
        t["advantages"] = t["advantages_raw"]
    else:
        t["advantages"] = np.full_like(t["mask"], np.nan)
        for k in (k for k in t if k.endswith(".indices")):
            t["advantages"][t[k].astype(int)] = t[k.replace("indices", "advantages_raw")]
        t["returns"] = t["advantages"] + t["old_values"] * t["mask"]
    return t


class Worst:
    """the largest difference relative to a limit, and where it is; all that are above the limit"""
    def __init__(self):
        self.size, self.share, self.where, self.over = 0.0, 0.0, "-", []

    def add(self, where, ours, trl, size, limit):
        size = float("inf") if np.isnan(size) else size
        if size > limit:
            self.over.append(f"{where}: ours {ours!r}, TRL {trl!r}, difference {size:.3g} > {limit:.3g}")
        if size / limit > self.share or self.where == "-":
            self.size, self.share, self.where = size, size / limit, where


def add_arrays(worst, where, ours, trl, limit, among=None):
    if ours.shape != trl.shape:
        return worst.add(where, ours.shape, trl.shape, float("inf"), limit)
    difference, limit = np.abs(ours - trl), np.broadcast_to(limit, trl.shape)
    difference = difference if among is None else np.where(among, difference, 0.0)
    if difference.size:
        at = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference / limit)), difference.shape)
        worst.add(f"{where}{[int(i) for i in at]}" if at else where, float(ours[at]), float(trl[at]), float(difference[at]), float(limit[at]))


def statistics(ours, trl):
    worst = Worst()
    for key in (k for k in trl if not k.startswith(("time/", "ppo/time/"))):
        if key not in ours:
            worst.add(key, "missing", "there", float("inf"), 1e-5)
            continue
        a, b = (np.asarray(x[key], dtype=np.float64) for x in (ours, trl))
        add_arrays(worst, key, a, b, np.maximum(1e-4 * np.abs(b), 1e-5))
    return worst


def per_token(ours, trl):
    worst, mask = Worst(), trl["mask"]
    add_arrays(worst, "mask", ours["mask"].astype(np.float64), mask, 1e-4)
    for name in PER_TOKEN:
        add_arrays(worst, name, ours[name].astype(np.float64), trl[name], 1e-4, mask == 1)
    return worst


def weights(ours, trl, limit):
    worst = Worst()
    if set(ours) != set(trl):
        worst.add("names", sorted(set(ours) - set(trl)), sorted(set(trl) - set(ours)), float("inf"), limit)
    for name in sorted(set(ours) & set(trl)):
        add_arrays(worst, name, ours[name].astype(np.float64), trl[name].astype(np.float64), limit)
    return worst


def check(golden, case, version, steps, folder):
    """compares each step; returns the number of mismatches"""
    failed, recorded = 0, f"{golden}/{version}/{case}"
    log = json.load(open(f"{recorded}.json"))["steps"]
    for i in range(len(steps)):
        out, limit = f"{folder}/out/step-{i + 1:05}", 1e-5
        kinds = dict(
            statistics=statistics(json.load(open(f"{out}/stats.json")), log[i]["stats"]),
            tokens=per_token(load_file(f"{out}/tensors.safetensors"), trl_per_token(load_file(f"{recorded}.step{i}.safetensors"))),
            adapter=weights(load_file(f"{out}/adapter_model.safetensors"), load_file(f"{recorded}.adapter_after_step{i + 1}.safetensors"), limit),
            head=weights(load_file(f"{out}/value_head.safetensors"), load_file(f"{recorded}.v_head_after_step{i + 1}.safetensors"), limit))
        over = [f"{kind} {text}" for kind, w in kinds.items() for text in w.over]
        judged = case != CHAOTIC or i == 0
        verdict = "OK" if not over else "MISMATCH" if judged else "(not judged)"
        numbers = "  ".join(f"{w.size:>9.1e}" for w in kinds.values())
        print(f"{version:<12} {case:<29} {i + 1:>4}  {numbers}  {verdict:<12}  {kinds['statistics'].where}", flush=True)
        if over and judged:
            failed += 1
            print("".join(f"    {text}\n" for text in over), end="")
    return failed


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("binary")
    ap.add_argument("golden")
    ap.add_argument("--out", help="new or empty folder for inputs and outputs")
    a = ap.parse_args()
    if a.out and os.path.isdir(a.out) and os.listdir(a.out):
        ap.error(f"{a.out} is not empty")
    if not shutil.which(a.binary):
        ap.error(f"{a.binary} is no program; build it: cargo build --release")
    cases = sorted(os.path.basename(f)[:-5] for f in glob.glob(f"{a.golden}/cases/*.json"))
    if not cases:
        ap.error(f"{a.golden}/cases holds no *.json")
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'TRL':<12} {'case':<29} step  {'statistic':>9}  {'per token':>9}  {'adapter':>9}  {'value h.':>9}  {'':<12}  statistic nearest to its limit")
        for version in VERSIONS:
            for case in cases:
                folder = f"{a.out or temporary}/{version}/{case}"
                steps = json.load(open(f"{a.golden}/cases/{case}.json"))["steps"]
                recorded = json.load(open(f"{a.golden}/{version}/{case}.json"))
                replay(a.binary, a.golden, case, version, steps, recorded, folder)
                failed += check(a.golden, case, version, steps, folder)
    print(f"{failed} steps differ" if failed else "all judged steps agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
