"""`make bench-peers`: measures whole PPO steps of this crate and of TRL 0.11.4 with torch 2.6, by turns, on the same models and workload. python3 scripts/bench_peers.py [small|base] [controlled|lab] [--dtype f32|bf16] [--rounds N] [--json FILE]

It prints one table for f32 and one for bf16, or only that of --dtype. In bf16, TRL loads both models with torch_dtype=bfloat16, and detox-lab
runs with --precision bf16 --weights bf16.

scripts/bench_lab.py runs TRL. It writes the models (random weights of the real shapes) and the prompts into build/peers/bench, which both
sides read. It runs in build/peers/venv, created on the first call with the packages in
tests/fixtures/golden/requirements-trl-0.11.4.txt, or in the Python that PEERS_PYTHON names. This script calls `model.eval()` before
generation, because TRL leaves the model in train mode, whose dropout is extra work that the lab's versions did not do.
`single` is the lab's loop, one prompt after the other; `batched` gives all 16 to generate().
Cargo must be on PATH. The machine should be idle."""

import json
import os
import runpy
import statistics
import subprocess
import sys
import venv

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
REQUIREMENTS = os.path.join(ROOT, "tests", "fixtures", "golden", "requirements-trl-0.11.4.txt")
HOME = os.path.join(ROOT, "build", "peers")
FILES = os.path.join(HOME, "bench")
PARTS = ["generate", "score", "step", "total"]
# detox-lab's options for each type
TYPES = {"f32": [], "bf16": ["--precision", "bf16", "--weights", "bf16"]}


def peer(arguments):
    """In TRL's Python: runs bench_lab.py with `arguments`, generating in eval mode."""
    import trl

    generate = trl.PPOTrainer.generate

    def in_eval_mode(self, *args, **more):
        self.model.eval()
        return generate(self, *args, **more)

    trl.PPOTrainer.generate = in_eval_mode
    script = os.path.join(HOME, "bench_lab.py")
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def python():
    """TRL's Python, created if it is missing."""
    if os.environ.get("PEERS_PYTHON"):
        return os.environ["PEERS_PYTHON"]
    folder = os.path.join(HOME, "venv")
    ready = os.path.join(folder, "ready")
    found = os.path.join(folder, "bin", "python")
    if not os.path.exists(ready):
        print("installing TRL 0.11.4 and torch 2.6 into build/peers/venv (some gigabytes, several minutes)")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        open(ready, "w").close()
    return found


def theirs(size, mode, dtype, way, steps):
    """{part: seconds of each step}, and peak memory in MB."""
    warm = "1" if mode == "controlled" else "0"
    arguments = ["loop", "--size", size, "--mode", mode, "--gen", way, "--dtype", dtype, "--warmup", warm, "--steps", str(steps), "--retries", "0"]
    subprocess.run([python(), os.path.abspath(__file__), "--peer", *arguments], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(FILES, "results", f"loop_{size}_{mode}_{way}_{dtype}.json"), encoding="utf-8") as file:
        told = json.load(file)
    kept = [step for step in told["steps"] if not step["warmup"]]
    names = {"score": "reward"}
    times = {part: [step[names.get(part, part)]["wall"] for step in kept] for part in PARTS}
    return {**times, "peak_rss_mb": [told["summary"]["peak_rss_mb"]]}


def ours(size, mode, dtype, steps):
    out = os.path.join(HOME, "ours.json")
    options = [size, mode, "--steps", str(steps), "--files", FILES, "--json", out, *TYPES[dtype]]
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "lab", "--", *options], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    with open(out, encoding="utf-8") as file:
        (told,) = json.load(file)
    return {**{part: told[part] for part in PARTS}, "peak_rss_mb": [told["peak_rss_mb"]]}


def joined(runs):
    return {key: [x for run in runs for x in run[key]] for key in runs[0]}


def show(size, mode, dtype, sides):
    mine = {key: statistics.median(values) for key, values in sides["detox-lab"].items()}
    print(f"\nflan-t5-{size}, {mode}, {dtype}: " + ("32 new tokens per row" if mode == "controlled" else "100 to 399 new tokens per row"))
    print(f"{'':<14}" + "".join(f"{name:>22}" for name in ["generate s", "score s", "PPO step s", "total s", "peak MB"]))
    for side, values in sides.items():
        cells = []
        for key in [*PARTS, "peak_rss_mb"]:
            middle = statistics.median(values[key])
            ratio = "" if side == "detox-lab" else f" ({middle / mine[key]:.1f} x)"
            cells.append(f"{middle:.0f}{ratio}" if key == "peak_rss_mb" else f"{middle:.1f}{ratio}")
        print(f"{side:<14}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def main():
    words = sys.argv[1:]
    if words[:1] == ["--peer"]:
        return peer(words[1:])
    option = {name: words[words.index(name) + 1] for name in ("--rounds", "--json", "--dtype") if name in words}
    rounds = int(option.get("--rounds", 2))
    chosen = lambda names: [name for name in names if name in words] or names
    dtypes = [option["--dtype"]] if "--dtype" in option else list(TYPES)
    if not set(dtypes) <= set(TYPES):
        sys.exit(f"--dtype {dtypes[0]} is not a type that both sides have: use one of {', '.join(TYPES)}, or leave --dtype out for both")
    os.makedirs(HOME, exist_ok=True)
    link = os.path.join(HOME, "bench_lab.py")  # it writes beside itself
    if not os.path.lexists(link):
        os.symlink(os.path.join(ROOT, "scripts", "bench_lab.py"), link)
    if not os.path.exists(os.path.join(FILES, "workload.json")):
        subprocess.run([python(), os.path.abspath(__file__), "--peer", "models"], check=True)
    subprocess.run(["cargo", "bench", "--bench", "lab", "--no-run"], check=True, cwd=ROOT)
    found = {}
    for size in chosen(["small", "base"]):
        for mode in chosen(["controlled", "lab"]):
            ways = ["single", "batched"] if mode == "controlled" else ["single"]
            steps, turns = (2, rounds) if mode == "controlled" else (1, 1)
            taken = {dtype: {"detox-lab": []} | {f"TRL, {way}": [] for way in ways} for dtype in dtypes}
            for _ in range(turns):
                for dtype in dtypes:
                    taken[dtype]["detox-lab"].append(ours(size, mode, dtype, steps))
                    for way in ways:
                        taken[dtype][f"TRL, {way}"].append(theirs(size, mode, dtype, way, steps))
            for dtype in dtypes:
                sides = {side: joined(runs) for side, runs in taken[dtype].items()}
                show(size, mode, dtype, sides)
                found[f"{size} {mode} {dtype}"] = sides
    if "--json" in option:
        with open(option["--json"], "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
