"""Measures PPO steps of the tiny models on one rank and on two, by turns: python3 scripts/bench_ranks.py PROGRAM [ROUNDS]
(a program that was built with the feature mpi). Prints medians of timings.jsonl in seconds per step."""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

STEPS = 8
PARTS = ["time/generate", "time/score", "time/ppo/total", "time/total"]
CASES = [("1 rank, 1 thread", 1, 1), ("1 rank, 2 threads", 1, 2), ("2 ranks, 1 thread each", 2, 1)]


def seconds(program, ranks, threads, folder):
    """The timings of a run's steps, without the first."""
    train = [program, "train", "--steps", str(STEPS), "--threads", str(threads), "--out", folder]
    # Bound to one core each; a rank with two threads is not bound.
    binding = ["core"] if threads == 1 else ["none"]
    launcher = ["mpirun", "--allow-run-as-root", "--bind-to", *binding, "-n", str(ranks)]
    subprocess.run(launcher + train, check=True, stderr=subprocess.DEVNULL)
    lines = (pathlib.Path(folder) / "timings.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][1:]


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found = {name: [] for name, _, _ in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for at, (name, ranks, threads) in enumerate(CASES):
                found[name] += seconds(program, ranks, threads, f"{folder}/{turn}-{at}")
    print("| | generate | score | PPO | step |")
    print("|---|---|---|---|---|")
    for name, steps in found.items():
        medians = [statistics.median(step[part] for step in steps) for part in PARTS]
        print(f"| {name} | " + " | ".join(f"{x:.3f} s" for x in medians) + " |")


if __name__ == "__main__":
    main()
