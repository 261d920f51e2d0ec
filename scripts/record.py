"""Records static/recorded/, a run on the tiny models that the page shows before anything is loaded. python3 scripts/record.py BINARY
(standard library only). The recorded files are replaced after the run has ended."""

import json
import os
import shutil
import subprocess
import sys

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OUT = os.path.join(HOME, "static", "recorded")
RUN = os.path.join(HOME, "runs", "recorded")
DIALOGUES, SHOWN = 200, 20
WHOLE = ["config.json", "metrics.jsonl", "timings.jsonl", "evaluation.json", "comparison.csv"]

ABOUT = """# A recorded run

What `detox-lab train` (corrected preset, seed 0, all defaults), `detox-lab evaluate -n {n}` and `detox-lab compare -n {shown}` wrote with the models
in `static/models/tiny`; `scripts/record.py` made it. The format is that of a run folder (docs/runs.md). It contains all metrics,
the evaluation, the before/after table, and the rollouts with all per-token numbers of steps {steps}. `page.json` is the recorded story for
the page; `make recorded` makes it.
"""


def main(binary):
    binary = os.path.realpath(binary)
    shutil.rmtree(RUN, ignore_errors=True)
    for arguments in (["train", "--seed", "0", "--out", RUN], ["evaluate", "--run", RUN, "-n", str(DIALOGUES)],
                      ["compare", "--run", RUN, "-n", str(SHOWN)]):
        subprocess.run([binary, *arguments], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(RUN, "metrics.jsonl"), encoding="utf-8") as file:
        last = json.loads(file.readlines()[-1])["step"]
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
    page = os.path.join(OUT, "page.json")  # another program's; it stays until that one has made a new one
    if os.path.exists(page):
        shutil.copyfile(page, os.path.join(new, "page.json"))
    shutil.rmtree(OUT, ignore_errors=True)
    os.replace(new, OUT)
    print(OUT, sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(OUT) for f in names), "bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
