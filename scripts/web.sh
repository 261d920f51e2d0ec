#!/usr/bin/env bash
# Builds the page into dist/ with trunk: scripts/web.sh [TRUNK OPTIONS]. The compiler for the browser is wasm-cargo.sh's.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in trunk wasm-bindgen wasm-opt; do
    command -v "$tool" >/dev/null || { echo "web: no $tool here: run scripts/setup.sh" >&2; exit 1; }
done
if [[ "$(scripts/wasm-cargo.sh --way)" != "precompiled std" ]]; then
    # Trunk calls whatever `cargo` is first on PATH, and rustc with it.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort RUSTC=/usr/bin/rustc
    PATH=/usr/bin:$PATH
fi
exec trunk build --release --offline "$@"
