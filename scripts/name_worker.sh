#!/usr/bin/env bash
# Puts a hash of the worker's files into their names, as trunk does for the page's own files: trunk calls it at the end of a
# build (Trunk.toml). So a new page never starts an old worker that a cache still has.
set -euo pipefail
cd "$TRUNK_STAGING_DIR"
files=(worker_start.js threads.js worker.js worker_bg.wasm worker_threads.js worker_threads_bg.wasm worker_relaxed.js
    worker_relaxed_bg.wasm)
hash=$(cat "${files[@]}" | sha256sum | head -c 16)
# a name that ends in _bg.wasm gets the hash before it, as trunk's own
renamed() { sed -E "s/(_bg)?\.(js|wasm)$/-$hash\1.\2/" <<< "$1"; }
edits=()
for file in "${files[@]}"; do edits+=(-e "s/\b${file/./\\.}\b/$(renamed "$file")/g"); done
sed -i "${edits[@]}" worker_start.js worker.js worker_threads.js worker_relaxed.js
for file in "${files[@]}"; do mv "$file" "$(renamed "$file")"; done
attributes=
for part in "worker worker_start.js" "worker-shared threads.js" "worker-js worker.js" "worker-wasm worker_bg.wasm" \
    "threads-js worker_threads.js" "threads-wasm worker_threads_bg.wasm" "relaxed-js worker_relaxed.js" \
    "relaxed-wasm worker_relaxed_bg.wasm"; do
    attributes+=" data-${part% *}=\".\/$(renamed "${part#* }")\""
done
sed -i "s/ data-worker=\"[^\"]*\"/$attributes/" index.html
grep -q "data-relaxed-wasm" index.html || { echo "name_worker: index.html has no data-worker" >&2; exit 1; }
