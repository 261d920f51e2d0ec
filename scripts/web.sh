#!/usr/bin/env bash
# Builds the page into dist/ with trunk: scripts/web.sh [TRUNK OPTIONS]. wasm-cargo.sh chooses the compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

for tool in trunk wasm-bindgen wasm-opt; do
    command -v "$tool" >/dev/null || { echo "web: $tool is missing: run scripts/setup.sh web" >&2; exit 1; }
done
# trunk works offline, so that it uses the installed tools and downloads none. cargo must already have the crates.
cargo fetch --quiet --locked
if [[ "$(scripts/wasm-cargo.sh --way)" != "precompiled std" ]]; then
    # trunk uses the first `cargo` and rustc on PATH.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort RUSTC=/usr/bin/rustc
    PATH=/usr/bin:$PATH
fi
[[ -d dist ]] || echo "web: building the page, which takes about 8 minutes the first time on two cores"
exec trunk build --release --offline "$@"
