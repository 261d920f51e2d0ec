#!/usr/bin/env bash
# cargo for the browser's target, by whichever way this machine has:
#   scripts/wasm-cargo.sh page clippy --lib -- -D warnings   the page's features, then any cargo command and its arguments
#   scripts/wasm-cargo.sh worker check --lib                 the worker's
#   scripts/wasm-cargo.sh check --lib                        both at once
#   scripts/wasm-cargo.sh --way                           says which way, and fails where there is none
set -euo pipefail

target=wasm32-unknown-unknown
root=$(cd "$(dirname "$0")/.." && pwd)

# The ordinary way: the compiler on PATH has a standard library for the target.
has_std() { compgen -G "$(rustc --print target-libdir --target "$target")/libstd-*.rlib" >/dev/null; }

# Debian's way: rustc-web, new enough, with the sources of std; it is then compiled once like a dependency.
has_debian() {
    local need now
    [[ -x /usr/bin/rustc && -x /usr/bin/cargo-clippy ]] || return 1
    [[ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]] || return 1
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    now=$(/usr/bin/rustc --version | cut -d' ' -f2)
    [[ "$(printf '%s\n' "$need" "$now" | sort -V | head -n1)" == "$need" ]]
}

if has_std; then
    way="precompiled std" cargo=(cargo)
elif has_debian; then
    way="std built from Debian's sources" cargo=(/usr/bin/cargo)
    # build-std is unstable, hence RUSTC_BOOTSTRAP. Every program is named in full: rustup's may come first on PATH.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
    export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
    if [[ "${1:-}" == clippy || "${2:-}" == clippy ]]; then cargo=(/usr/bin/cargo-clippy); fi
else
    echo "no standard library for $target here: run scripts/setup.sh (or \`rustup target add $target\`)" >&2
    exit 1
fi

if [[ "${1:---way}" == --way ]]; then
    echo "$way"
    exit
fi
features=page,worker
if [[ "$1" == page || "$1" == worker ]]; then features=$1; shift; fi
command=$1
shift
exec "${cargo[@]}" "$command" --target "$target" --no-default-features --features "$features" "$@"
