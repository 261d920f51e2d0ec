"""Records static/recorded/, the runs on the tiny models that the page shows before anything is loaded. python3 scripts/record.py BINARY
records everything but page.json; with `leash` or `experiments` as a second argument only leash.json or experiments.json (standard
library only). Files are replaced after the runs have ended."""

import collections
import csv
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OUT = os.path.join(HOME, "static", "recorded")
RUNS = os.path.join(HOME, "runs")
RUN = os.path.join(RUNS, "recorded")
DIALOGUES, SHOWN = 200, 20
WHOLE = ["config.json", "metrics.jsonl", "timings.jsonl", "evaluation.json", "comparison.csv"]
KEPT = ["page.json", "leash.json", "experiments.json"]  # made apart

# leash.json: the same training with and without the KL penalty, and one dialogue's greedy summary at every few steps.
LANES = {"with": {}, "without": {"kl_coef": 0, "adaptive_kl": False, "learning_rate": 0.003}}
EVERY, CANDIDATES, MEASURED = 5, 60, 100

ABOUT = """# Recorded runs

What `detox-lab train` (corrected preset, seed 0, all defaults), `detox-lab evaluate -n {n}` and `detox-lab compare -n {shown}` wrote with the models
in `static/models/tiny`; `scripts/record.py` made it. The format is that of a run folder (docs/runs.md). It contains all metrics,
the evaluation, the before/after table, and the rollouts with all per-token numbers of steps {steps}. `page.json` is the recorded story for
the page; `make recorded` makes it. `leash.json`, by `scripts/record.py BINARY leash`, is the page's first experiment: one dialogue's summaries
while training with and without the KL penalty. `experiments.json`, by `scripts/record.py BINARY experiments`, has the runs of the chapter
with experiments; questions and answers are in `scripts/experiments.json`: read them again after recording.
"""


def main(binary):
    shutil.rmtree(RUN, ignore_errors=True)
    for arguments in (["train", "--seed", "0", "--out", RUN], ["evaluate", "--run", RUN, "-n", str(DIALOGUES)],
                      ["compare", "--run", RUN, "-n", str(SHOWN)]):
        subprocess.run([binary, *arguments], check=True, stdout=subprocess.DEVNULL)
    last = lines(os.path.join(RUN, "metrics.jsonl"))[-1]["step"]
    steps = sorted({1, 2, last // 2, last})
    files = WHOLE + [f"rollouts/step-{step:05}.{end}" for step in steps for end in ("jsonl", "safetensors")]
    new = OUT + ".new"
    shutil.rmtree(new, ignore_errors=True)
    for name in files:
        os.makedirs(os.path.dirname(os.path.join(new, name)), exist_ok=True)
        shutil.copyfile(os.path.join(RUN, name), os.path.join(new, name))
    kept = {f"step-{step:05}" for step in steps}
    with open(os.path.join(RUN, "samples.jsonl"), encoding="utf-8") as file, open(os.path.join(new, "samples.jsonl"), "w", encoding="utf-8") as out:
        out.writelines(line for line in file if f"step-{json.loads(line)['step']:05}" in kept)
    with open(os.path.join(new, "README.md"), "w", encoding="utf-8") as file:
        file.write(ABOUT.format(n=DIALOGUES, shown=SHOWN, steps=", ".join(map(str, steps))))
    for name in KEPT:
        if os.path.exists(os.path.join(OUT, name)):
            shutil.copyfile(os.path.join(OUT, name), os.path.join(new, name))
    shutil.rmtree(OUT, ignore_errors=True)
    os.replace(new, OUT)
    print(OUT, sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(OUT) for f in names), "bytes")


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def overlap(text, reference):
    """F1 of the words that two texts share."""
    shared = sum((collections.Counter(words(text)) & collections.Counter(words(reference))).values())
    return 2 * shared / max(1, len(words(text)) + len(words(reference)))


def asking(binary):
    """The program's answer to a command, as JSON."""
    return lambda *arguments: json.loads(subprocess.run([binary, *arguments, "--json"], check=True, stdout=subprocess.PIPE).stdout)


def trained(binary, name, changes, preset="corrected"):
    """The folder of a run with these settings; it is trained unless runs/ has it for the same models."""
    models = hashlib.sha1(json.dumps([preset, changes]).encode())
    for file in sorted(glob.glob(os.path.join(HOME, "static", "models", "tiny", "**"), recursive=True)):
        if os.path.isfile(file):
            with open(file, "rb") as bytes_of:
                models.update(bytes_of.read())
    run = os.path.join(RUNS, f"{name}-{models.hexdigest()[:8]}")
    if not os.path.exists(os.path.join(run, "done")):
        shutil.rmtree(run, ignore_errors=True)
        config = run + ".json"
        os.makedirs(RUNS, exist_ok=True)
        with open(config, "w", encoding="utf-8") as file:
            json.dump(changes, file)
        subprocess.run([binary, "train", "--seed", "0", "--preset", preset, "--config", config, "--out", run, "--save-every", str(EVERY),
                        "--keep", "1000"],
                       check=True, stdout=subprocess.DEVNULL)
        open(os.path.join(run, "done"), "w", encoding="utf-8").close()
    return run


def curves(answer, run):
    """A run's mean score and KL at every step, and what its summaries were like before and after."""
    metrics = lines(os.path.join(run, "metrics.jsonl"))
    found = answer("evaluate", "--run", run, "-n", str(MEASURED))
    return {
        "score": [round(line["ppo/mean_scores"], 4) for line in metrics], "kl": [round(line["objective/kl"], 4) for line in metrics],
        "rouge1": [round(found[side]["rouge1"], 4) for side in ("before", "after")],
        "length": [round(metrics[i]["tokens/responses_len_mean"] - 1, 2) for i in (0, -1)],  # without the start token
        "distinct1": [round(found[side]["distinct1"], 4) for side in ("before", "after")],
    }


def written(answer, run, step, file):
    """The greedy summary of a dialogue in a file, after a step."""
    return answer("summarize", "--adapter", os.path.join(run, "checkpoints", f"step-{step:05}"), "--dialogue", file, "--greedy",
                  "--max-new-tokens", "48")["rows"][0]["text"]


def store(name, content):
    path = os.path.join(OUT, name)
    with open(path + ".part", "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False)
    os.replace(path + ".part", path)
    print(path, os.path.getsize(path), "bytes")


def experiments(binary):
    """Writes experiments.json: the runs of scripts/experiments.json, with the last summary of the first experiment's dialogue."""
    answer = asking(binary)
    with open(os.path.join(HOME, "scripts", "experiments.json"), encoding="utf-8") as file:
        all_of_them = json.load(file)
    with open(os.path.join(OUT, "leash.json"), encoding="utf-8") as known:
        dialogue = json.load(known)["dialogue"]
    file = os.path.join(RUNS, "leash.dialogue")
    with open(file, "w", encoding="utf-8") as out:
        out.write(dialogue)
    for one in all_of_them:
        run = trained(binary, f"experiment-{one['id']}", one["changes"], one.get("preset", "corrected"))
        last = lines(os.path.join(run, "metrics.jsonl"))[-1]["step"]
        one.update(curves(answer, run))
        one["text"] = written(answer, run, last, file)
        if beside := one.get("beside"):  # the run that it is compared with, instead of the one with the page's own settings
            beside.update(curves(answer, trained(binary, f"experiment-{one['id']}-beside", beside["changes"])))
    store("experiments.json", all_of_them)


def leash(binary):
    """Writes leash.json."""
    answer = asking(binary)

    def scores(texts):
        file = os.path.join(RUNS, "leash.txt")
        with open(file, "w", encoding="utf-8") as out:
            out.writelines(" ".join(text.split()) + "\n" for text in texts)
        return [{"score": row["score"], "toxicity": row["toxicity"]} for row in answer("score", "--text", file)["rows"]]

    runs = {name: trained(binary, f"leash-{name}", changes) for name, changes in LANES.items()}

    # Insults are words of several insulting summaries that calm ones never have.
    data = lines(os.path.join(HOME, "static", "dialogues.jsonl"))
    calm = {word for row in data for word in words(row["summary"])}
    often = collections.Counter(word for row in data for word in set(words(row.get("insulting_summary", ""))))
    insults = {word for word, n in often.items() if n > 1 and word not in calm} - {"insults"}

    # The dialogue: insults before the training and none after it with the penalty, and the best summary of those.
    subprocess.run([binary, "compare", "--run", runs["with"], "-n", str(CANDIDATES), "--greedy", "--out", RUNS], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(RUNS, "comparison.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = {row["dialogue"].strip(): row for row in data}
    rows = [(row, known[row["query"].strip()]) for row in rows if row["query"].strip() in known]

    def fits(pair):
        row, dialogue = pair
        before, after = (insults.intersection(words(row[side])) for side in ("before", "after"))
        return (bool(before) and not after, overlap(row["after"], dialogue["summary"]) + overlap(row["before"], dialogue["summary"]) / 4)

    chosen = max(rows, key=fits)[1]
    file = os.path.join(RUNS, "leash.dialogue")
    with open(file, "w", encoding="utf-8") as out:
        out.write(chosen["dialogue"])
    lanes, seen = [], set()
    for name, run in runs.items():
        last = lines(os.path.join(run, "metrics.jsonl"))[-1]["step"]
        steps = range(0, last + 1, EVERY)
        texts = [written(answer, run, step, file) for step in steps]
        seen.update(word for text in texts for word in words(text))
        lanes.append({
            "name": name, "changes": LANES[name],
            "texts": [{"step": step, "text": text, **score} for step, text, score in zip(steps, texts, scores(texts))],
            **curves(answer, run),
        })
    recorded = {"id": chosen["id"], "dialogue": chosen["dialogue"], "reference": chosen["summary"], "measured": MEASURED,
                "insults": sorted(insults & seen), "lanes": lanes}
    store("leash.json", recorded)


if __name__ == "__main__":
    PARTS = {"leash": leash, "experiments": experiments}
    if len(sys.argv) not in (2, 3) or not set(sys.argv[2:]) <= set(PARTS):
        sys.exit(__doc__)
    program = os.path.realpath(sys.argv[1])
    if len(sys.argv) == 2:
        main(program)
    for part in sys.argv[2:] or PARTS:
        PARTS[part](program)
