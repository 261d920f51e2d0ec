#!/usr/bin/env bash
# Builds the page into dist/ with trunk: scripts/web.sh [TRUNK OPTIONS]. The compiler for the browser is the one of wasm-cargo.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

for tool in trunk wasm-bindgen wasm-opt; do
    command -v "$tool" >/dev/null || { echo "web: $tool is missing: run scripts/setup.sh web" >&2; exit 1; }
done
# trunk works offline, so that it takes the tools installed here and not its own downloads. cargo must have the crates by then.
cargo fetch --quiet --locked
if [[ "$(scripts/wasm-cargo.sh --way)" != "precompiled std" ]]; then
    # trunk calls the first `cargo` on PATH, and rustc with it.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort RUSTC=/usr/bin/rustc
    PATH=/usr/bin:$PATH
fi
[[ -d dist ]] || echo "web: building the page, which takes about 8 minutes the first time on two cores"
exec trunk build --release --offline "$@"
