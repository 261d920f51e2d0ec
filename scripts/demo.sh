#!/usr/bin/env bash
# The whole lab on tiny stand-in models, in seconds and without network. Builds nothing.
#   scripts/demo.sh [BINARY]      BINARY: the detox-lab to run, target/release/detox-lab by default
# Writes runs/demo, and removes what an earlier demo left there.
set -eu
binary=$(realpath -m "${1:-$(dirname "$0")/../target/release/detox-lab}")
cd "$(dirname "$0")/.."
[ -x "$binary" ] || { echo "demo: no $binary; build it first: cargo build --release" >&2; exit 1; }

models=tests/fixtures/tiny
demo=runs/demo
rm -rf "$demo"
mkdir -p "$demo"

say() { printf '\n# %s\n' "$*"; }
lab() {
    printf '$ detox-lab %s\n' "$*"
    "$binary" "$@"
}

cat <<'END'
# A demonstration of every part of the lab, from a dialogue to a before/after table.
# The three models are stand-ins with RANDOM weights: the summaries are nonsense, the scores mean nothing, and nothing
# useful is learned in three steps. It shows that each part works and what its output looks like. The real models are
# google/flan-t5-base and facebook/roberta-hate-speech-dynabench-r4-target; they are the defaults of every command.
END

say "The policy, and how little of it is trained"
lab info --policy $models/policy --adapter $models/adapter

say "A dialogue, and a summary of it"
sed -n '7s/.*"dialogue": "\(.*\)", "summary".*/\1/p' $models/data/train.jsonl | sed 's/\\n/ /g' | tee "$demo/dialogue.txt"
lab summarize --policy $models/policy --adapter $models/adapter --text "$demo/dialogue.txt" --greedy --max-new-tokens 40

say "What the reward model says of two sentences"
printf '%s\n' "Thank you, that was very kind of you." "You are a useless idiot." > "$demo/sentences.txt"
lab score --reward $models/reward --text "$demo/sentences.txt"

say "Three steps of PPO"
cat > "$demo/config.json" <<'END'
{ "batch_size": 16, "mini_batch_size": 4, "learning_rate": 1e-3, "output_min_length": 10, "output_max_length": 30 }
END
echo "\$ cat $demo/config.json"
cat "$demo/config.json"
lab train --policy $models/policy --adapter $models/adapter --reward $models/reward --data $models/data \
    --config "$demo/config.json" --steps 3 --out "$demo/run"

say "Before and after in numbers"
lab evaluate --run "$demo/run" -n 8

say "Before and after in text"
lab compare --run "$demo/run" -n 5

say "All of it is in $demo/run"
ls "$demo/run"
