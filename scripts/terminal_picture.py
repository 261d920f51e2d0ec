#!/usr/bin/env python3
"""Writes docs/images/terminal.svg, the README's picture of the terminal: python3 scripts/terminal_picture.py [BINARY]

Runs `train` and `evaluate` on the tiny models in a temporary folder (about a minute) and draws some of the lines that they print.
"""
import os, subprocess, sys, tempfile
from html import escape

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else f"{ROOT}/target/release/detox-lab")
# command, and its lines that are drawn; None means omitted lines
COMMANDS = [("train", lambda lines: lines[:4] + [None] + lines[-3:]),
            ("evaluate --run runs/1 -n 200", lambda lines: [line for line in lines if line.startswith(DRAWN)])]
DRAWN = ("200 dialogues", "      ", "toxicity mean", "score mean", "ROUGE-1", "words", "KL")
NBSP = "\u00a0"  # an ordinary space would be drawn once
SIZE, LINE, PAD = 13, 19, 16
COLORS = dict(plain="#d7dae0", prompt="#7fd1a4", left_out="#7b8496")


def transcript():
    with tempfile.TemporaryDirectory() as folder:
        for command, choose in COMMANDS:
            out = subprocess.run([BINARY, *command.split()], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
                                 env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}).stdout
            yield f"$ detox-lab {command}", "prompt"
            lines = [line for line in out.rstrip().split("\n") if not line.endswith(" left")]  # without the progress
            for line in choose(lines):
                yield ("  …", "left_out") if line is None else (line, "plain")
            yield "", "plain"


rows = list(transcript())[:-1]
width = round(max(len(text) for text, _ in rows) * SIZE * 0.602) + 2 * PAD
height = len(rows) * LINE + 2 * PAD
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
       f'<rect width="{width}" height="{height}" rx="8" fill="#1d2027"/>',
       f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="{SIZE}">']
svg += [f'<text x="{PAD}" y="{PAD + i * LINE + SIZE}" fill="{COLORS[kind]}">{escape(text).replace(" ", NBSP)}</text>' for i, (text, kind) in enumerate(rows) if text]
os.makedirs(f"{ROOT}/docs/images", exist_ok=True)
with open(f"{ROOT}/docs/images/terminal.svg", "w") as f:
    f.write("\n".join([*svg, "</g>", "</svg>", ""]))
