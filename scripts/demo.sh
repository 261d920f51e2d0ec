#!/usr/bin/env bash
# Runs the whole lab in about a minute, offline, on the tiny models in the program. Builds nothing.
#   scripts/demo.sh [BINARY]      BINARY: the detox-lab to run, target/release/detox-lab by default
# Writes runs/demo, and first removes files of an earlier demo there.
set -eu
binary=$(realpath -m "${1:-$(dirname "$0")/../target/release/detox-lab}")
cd "$(dirname "$0")/.."
[ -x "$binary" ] || { echo "demo: no $binary; build it first: cargo build --release" >&2; exit 1; }

demo=runs/demo
rm -rf "$demo"
mkdir -p "$demo"

say() { printf '\n# %s\n' "$*"; }
lab() {
    printf '$ detox-lab %s\n' "$*"
    "$binary" "$@"
}

cat <<'END'
# A demonstration of every part of the lab, from a dialogue to a before/after table, on small models that were trained
# for it. Their policy repeats the insults of a quarrel; their reward model scores insults low, so PPO removes them.
END

say "The policy, and how many of its parameters are trained"
lab info

say "A quarrel of the test split, and a summary of it"
sed -n '/"split": "test"/{s/.*"dialogue": "\(.*\)", "summary".*/\1/;s/\\n/ /g;p;q}' static/dialogues.jsonl | tee "$demo/dialogue.txt"
lab summarize --text "$demo/dialogue.txt" --greedy

say "The reward model's scores of two sentences"
printf '%s\n' "#Person1# tells Tommy that he didn't like the movie." \
    "#Person1# tells Tommy that the movie was terrible, dumb and stupid." > "$demo/sentences.txt"
lab score --text "$demo/sentences.txt"

say "Twenty steps of PPO (a whole run is 'detox-lab train')"
lab train --steps 20 --out "$demo/run"

say "Before and after in numbers"
lab evaluate --run "$demo/run" -n 50

say "Before and after in text"
lab compare --run "$demo/run" -n 5

say "All files are in $demo/run"
ls "$demo/run"
