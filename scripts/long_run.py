#!/usr/bin/env python3
"""Runs two thousand PPO steps of the tiny models on one thread, and checks that memory does not grow and that the files agree.

    scripts/long_run.py PROGRAM [STEPS] [FOLDER] [-- ARGUMENTS OF TRAIN, such as other models]

Prints memory (VmRSS) and disk use at the start, in the middle and at the end, then compares the files of the run with each other.
Exits with 1 if they disagree, or if memory grew by more than a tenth and 10 MB between start and end.
Reads /proc, so it needs Linux.
"""

import json
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import time

SETTINGS = {"batch_size": 4, "mini_batch_size": 4, "output_min_length": 4, "output_max_length": 9, "learning_rate": 1e-5}
FAULTS = []


def check(right, what):
    if not right:
        FAULTS.append(what)


def memory(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def folder_mb(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # it is being replaced
            pass
    return total / 1e6


def lines(run, name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def fields(message):
    """A protobuf message's fields: number and value."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        length = varint() if kind in (0, 2) else {1: 8, 5: 4}[kind]
        if kind == 0:
            yield key >> 3, length
        else:
            yield key >> 3, message[at : at + length]
            at += length


def events(run):
    """Step -> tag -> number, of all TensorBoard files; a repeated step is a fault."""
    steps = {}
    for file in sorted(run.glob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = dict(fields(data[at + 12 : at + 12 + length]))
            at += 12 + length + 4
            if 5 in event:
                check(event[2] not in steps, f"TensorBoard has step {event[2]} twice")
                values = [dict(fields(value)) for _, value in fields(event[5])]
                steps[event[2]] = {v[1].decode(): struct.unpack("<f", v[2])[0] for v in values}
    return steps


def agree(run, steps):
    config = json.loads((run / "config.json").read_text())
    batch, every = config["ppo"]["batch_size"], config["save_every"]
    metrics, timings, samples = (lines(run, f"{name}.jsonl") for name in ("metrics", "timings", "samples"))
    wanted = list(range(1, steps + 1))
    check([m["step"] for m in metrics] == wanted, "metrics.jsonl does not have every step once")
    check([t["step"] for t in timings] == wanted, "timings.jsonl does not have every step once")
    told = [(s["step"], s["row"]) for s in samples]
    check(told == [(step, row) for step in wanted for row in range(batch)], "samples.jsonl does not have every row once")
    board = events(run)
    check(sorted(board) == wanted, "TensorBoard does not have every step once")
    rewards = {}
    for sample in samples:
        rewards.setdefault(sample["step"], []).append(sample["reward"])
    for line in metrics:
        step, mean = line["step"], statistics.fmean(rewards[line["step"]])
        check(abs(mean - line["ppo/mean_scores"]) < 1e-5, f"step {step}: the samples' mean reward is not the metrics'")
        numbers = {k: v for k, v in line.items() if isinstance(v, float)}
        near = all(abs(board[step][k] - v) <= 1e-6 * max(1, abs(v)) for k, v in numbers.items())
        check(near and numbers, f"step {step}: TensorBoard's numbers are not the metrics'")
        check(all(v is not None for v in line.values()), f"step {step}: a number of the metrics is not finite")
    kept = sorted(int(p.name[5:10]) for p in (run / "rollouts").glob("*.jsonl"))
    check(kept == wanted[-config["keep_rollouts"] :], f"rollouts of {kept[:1]} to {kept[-1:]} are kept")
    for step in kept:
        rows = [json.loads(row)["score"] for row in (run / f"rollouts/step-{step:05}.jsonl").read_text().splitlines()]
        check(rows == rewards[step], f"step {step}: the rollout's scores are not the samples'")
        check((run / f"rollouts/step-{step:05}.safetensors").is_file(), f"step {step}: no tensors of the rollout")
    found = sorted(int(p.name[5:]) for p in (run / "checkpoints").iterdir())
    multiples = [step for step in wanted if step % every == 0 and step + config["keep"] * every > steps]
    check(found == sorted({0, steps, *multiples}), f"checkpoints of {found} are kept")
    state = json.loads((run / f"checkpoints/step-{steps:05}/trainer_state.json").read_text())
    updates = steps * config["ppo"]["ppo_epochs"] * (batch // config["ppo"]["mini_batch_size"])
    check((state["step"], state["adam_updates"]) == (steps, updates), f"the trainer's state is {state}")
    leftovers = [str(p) for p in run.rglob(".*") if p.name != ".lock"]
    check(not leftovers, f"unfinished files: {leftovers}")


def main():
    given, more = sys.argv[1:], []
    if "--" in given:
        given, more = given[: given.index("--")], given[given.index("--") + 1 :]
    program = given[0]
    steps = int(given[1]) if len(given) > 1 else 2000
    run = pathlib.Path(given[2] if len(given) > 2 else "build/long-run")
    shutil.rmtree(run, ignore_errors=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    settings = run.parent / "long-run.json"
    settings.write_text(json.dumps(SETTINGS))
    command = [program, "--threads", "1", "train", "--steps", str(steps), "--config", str(settings), "--out", str(run), *more]
    print(" ".join(command), flush=True)
    began = time.time()
    with open(run.parent / "long-run.log", "w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    # Memory varies within a step, so the minimum of many readings counts.
    points = {"start": min(20, steps // 4), "middle": steps // 2, "end": steps - steps // 20 * 3 // 2 - 1}
    readings, seen, done = [], {}, 0
    while process.poll() is None:
        metrics = run / "metrics.jsonl"
        at = [name for name, step in points.items() if done >= step and name not in seen]
        if at:
            readings.append(memory(process.pid, "VmRSS"))
        if at and done >= points[at[0]] + steps // 20:
            seen[at[0]] = min(readings)
            peak = memory(process.pid, "VmHWM")
            print(
                f"{at[0]:7} steps {points[at[0]]:5} to {done:5}: memory {min(readings):6.1f} MB (at most {max(readings):.1f}, "
                f"highest so far {peak:.1f}), folder {folder_mb(run):6.1f} MB, {time.time() - began:5.0f} s",
                flush=True,
            )
            readings = []
        done = metrics.read_bytes().count(b"\n") if metrics.is_file() else 0
        time.sleep(0.25)
    check(process.returncode == 0, f"the run ended with status {process.returncode}; see {run.parent}/long-run.log")
    if not FAULTS:
        agree(run, steps)
        grown = seen["end"] - seen["start"]
        check(grown < max(10, seen["start"] / 10), f"memory grew by {grown:.1f} MB")
        parts = {p.name: folder_mb(p) if p.is_dir() else p.stat().st_size / 1e6 for p in run.iterdir()}
        print("disk use, MB: " + ", ".join(f"{name} {size:.1f}" for name, size in sorted(parts.items())))
    print(f"{steps} steps of {SETTINGS['batch_size']} rows; " + (f"{len(FAULTS)} faults:" if FAULTS else "all files agree"))
    for fault in FAULTS[:20]:
        print(f"  {fault}")
    sys.exit(1 if FAULTS else 0)


main()
