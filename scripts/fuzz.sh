#!/bin/sh
# Fuzzes the readers of files, one target of fuzz/ after the other: scripts/fuzz.sh SECONDS [TARGET…]
# Prints inputs, seconds and findings of each; findings are saved in fuzz/artifacts, and the exit status is then 1.
# No sanitizer is needed: the readers are safe Rust, and panics, hangs and memory use are found without one.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)
command -v cargo-fuzz > /dev/null || cargo install cargo-fuzz --locked
target_dir=${CARGO_TARGET_DIR:-fuzz/target}/fuzz
cargo fuzz build -s none --target-dir "$target_dir"
python3 fuzz/seeds.py
found=0
for target in "$@"; do
    log=$(mktemp)
    kept=
    # inputs have at most a few pages: faults that do not depend on the size are found sooner with small inputs
    if cargo fuzz run -s none --target-dir "$target_dir" "$target" -- -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=3072 -max_len=8192 -print_final_stats=1 > "$log" 2>&1; then
        says="nothing found"
    else
        found=1
        kept=$(grep -m1 'Test unit written' "$log" || true)
        says="FOUND: $(grep -m1 -E 'panicked at|ERROR: libFuzzer' "$log" || echo "see $log")"
    fi
    inputs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    printf '%-12s %12s inputs in %s s, %s\n' "$target" "${inputs:-?}" "$seconds" "$says"
    if [ -n "$kept" ]; then printf '  %s\n' "$kept" "log: $log"; else rm -f "$log"; fi
done
exit $found
