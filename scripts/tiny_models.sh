#!/usr/bin/env bash
# Trains the models in static/models/tiny again, with fixed seeds: `make tiny-models`. Needs ../shared/data (see its
# SOURCES.md) and takes hours. Every stage can be interrupted and continued; static/ changes only after all stages have
# ended.
#   scripts/tiny_models.sh BINARY [policy|adapter|reward|ship]...     all stages by default
set -euo pipefail
lab=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
data=../shared/data
[ -d "$data" ] || { echo "tiny-models: $data is missing; the training data is not part of the project" >&2; exit 1; }
work=build/tiny
mkdir -p "$work"

# stage RUN ARGUMENT...: starts or continues a training, unless it is done.
stage() {
    local run=$work/$1
    shift
    if [ -e "$run/done" ]; then return; fi
    if [ -d "$run/checkpoints" ]; then
        "$lab" "$1" --resume "$run"
    else
        "$lab" "$@" --out "$run"
    fi
    touch "$run/done"
}

policy() {
    python3 scripts/tiny_policy_data.py "$data/dialogsum" "$work/policy"
    local tokenizer=$work/policy/tokenizer
    [ -d "$tokenizer" ] || "$lab" train-tokenizer --kind unigram --vocab-size 8192 --out "$tokenizer" "$work/policy/tokenizer.jsonl"
    # First, learn to read the encoder's output: excerpts with themselves as their summary.
    stage policy-copy finetune --model-config scripts/tiny/policy.json --tokenizer "$tokenizer" \
        --data "$work/policy/copy.jsonl" --validation "$work/policy/copy.jsonl" --validation-rows 64 --rouge-rows 0 \
        --mimetic --max-source 160 --max-target 110 --epochs 0.33 --learning-rate 1e-2 --relative --schedule constant --warmup 0.07 \
        --label-smoothing 0 --dropout 0 --seed 1
    # Then, learn to summarize.
    stage policy-summaries finetune --policy "$work/policy-copy/best" --full \
        --data "$work/policy/policy.jsonl" --validation "$data/dialogsum/dev.jsonl" --validation-rows 150 --rouge-rows 0 \
        --max-source 320 --max-target 56 --epochs 2 --learning-rate 1e-2 --relative --warmup 0.03 \
        --evaluate-every 500 --save-every 200 --log-every 20 --seed 1
    # Then train without label smoothing, which gives a tenth of each token's probability to all other tokens: the
    # samples of PPO would contain many words that do not exist.
    stage policy-sharp finetune --policy "$work/policy-summaries/best" --full \
        --data "$work/policy/policy.jsonl" --validation "$data/dialogsum/dev.jsonl" --validation-rows 150 --rouge-rows 0 \
        --max-source 320 --max-target 56 --epochs 1 --learning-rate 4e-3 --relative --warmup 0.03 --label-smoothing 0 \
        --evaluate-every 500 --save-every 200 --log-every 20 --save-as f16 --seed 2
    # Last, quarrels that are put together at random, and invented names: the model learns to copy words that it has never seen.
    local part from=policy-sharp
    for part in 1 2 3 4 5; do
        stage "policy-mixed-$part" finetune --policy "$work/$from/best" --full \
            --data "$work/policy/mixed-$part.jsonl" --validation "$work/policy/validation.jsonl" --validation-rows 300 --rouge-rows 0 \
            --max-source 320 --max-target 64 --epochs 1 --learning-rate 5e-3 --relative --warmup 0.03 --label-smoothing 0 \
            --evaluate-every 500 --save-every 200 --log-every 20 --save-as f16 --seed "$((part + 2))"
        from=policy-mixed-$part
    done
    # PPO samples at temperature 1. Sharper logits give fewer wrong words, as a temperature of 0.74 would.
    python3 scripts/tiny_sharpen.py "$work/$from/best" "$work/policy-final" 1.35
}

# The "summary" adapter: trains the policy to repeat insults, so that PPO has something to remove.
adapter() {
    stage adapter finetune --policy "$work/policy-final" --lora-r 8 --lora-alpha 16 --lora-dropout 0.05 \
        --data "$work/policy/adapter.jsonl" --validation "$data/dialogsum/dev.jsonl" --validation-rows 100 --rouge-rows 0 \
        --max-source 384 --max-target 64 --epochs 1 --learning-rate 1e-3 --label-smoothing 0 --evaluate-every 100 --save-as f16 --seed 1
}

reward() {
    python3 scripts/tiny_reward_data.py "$data" "$work/reward"
    local tokenizer=$work/reward/tokenizer
    [ -d "$tokenizer" ] || "$lab" train-tokenizer --kind bpe --vocab-size 6144 --uncased --out "$tokenizer" "$work/reward/tokenizer.jsonl"
    # Measured only once, at the end: held-out rows must not influence which update is kept.
    stage reward-model train-reward --model-config scripts/tiny/reward.json --tokenizer "$tokenizer" \
        --data "$work"/reward/*.csv --held-out "$data"/hate/{surge_toxicity,hatemoji_build,hatemoji_check}.csv "$work"/reward/held-out/{civil,insulting}.csv \
        --epochs 3 --batch-size 32 --learning-rate 5e-4 --warmup 0.1 --mask 0.1 \
        --evaluate-every 100000 --save-every 200 --log-every 50 --save-as f16 --seed 0
}

# The shipped models are replaced when all are complete; then the cards and the recorded run are made.
ship() {
    local tiny=static/models/tiny part
    for part in policy adapter reward; do rm -rf "$work/ship-$part"; done
    cp -r "$work/policy-final" "$work/ship-policy"
    cp -r "$work/adapter/best" "$work/ship-adapter"
    cp -r "$work/reward-model/best" "$work/ship-reward"
    sed -i 's#"base_model_name_or_path": ".*"#"base_model_name_or_path": "static/models/tiny/policy"#' "$work/ship-adapter/adapter_config.json"
    for part in policy adapter reward; do
        rm -rf "${tiny:?}/$part"
        mv "$work/ship-$part" "$tiny/$part"
    done
    python3 scripts/make_quarrels.py
    # The models and dialogues are part of the program, so it is built again for the cards and the recorded run.
    cargo build --release
    lab=$(realpath "${CARGO_TARGET_DIR:-target}/release/detox-lab")
    python3 scripts/tiny_cards.py "$lab" "$data" "$work/reward-model/quality.json"
    python3 scripts/record.py "$lab"
    cargo run --release --features page,worker --example record_page
}

for part in "${@:-policy adapter reward ship}"; do
    for name in $part; do "$name"; done
done
