#!/usr/bin/env bash
# Puts a hash of the worker's files into their names, as trunk does for the page's own files: trunk calls it at the end of a
# build (Trunk.toml). So a new page never starts an old worker that a cache still has.
set -euo pipefail
cd "$TRUNK_STAGING_DIR"
hash=$(cat worker_start.js worker.js worker_bg.wasm | sha256sum | head -c 16)
sed -e "s/worker\.js/worker-$hash.js/" -e "s/worker_bg\.wasm/worker-${hash}_bg.wasm/" worker_start.js > "worker_start-$hash.js"
sed -i "s/worker_bg\.wasm/worker-${hash}_bg.wasm/g" worker.js
mv worker.js "worker-$hash.js"
mv worker_bg.wasm "worker-${hash}_bg.wasm"
rm worker_start.js
sed -i "s/ data-worker=\"[^\"]*\"/ data-worker=\".\/worker_start-$hash.js\" data-worker-js=\".\/worker-$hash.js\" data-worker-wasm=\".\/worker-${hash}_bg.wasm\"/" index.html
grep -q "data-worker-wasm" index.html || { echo "name_worker: index.html has no data-worker" >&2; exit 1; }
