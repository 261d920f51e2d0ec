#!/usr/bin/env bash
# Runs cargo for the browser's target, with the toolchain that this machine has:
#   scripts/wasm-cargo.sh page clippy --lib -- -D warnings   with the page's features; any cargo command and its arguments
#   scripts/wasm-cargo.sh worker check --lib                 with the worker's features
#   scripts/wasm-cargo.sh kernels test --test products       with the kernels alone
#   scripts/wasm-cargo.sh check --lib                        with both
#   scripts/wasm-cargo.sh --way                              prints the toolchain, and fails if there is none
set -euo pipefail

target=wasm32-unknown-unknown
root=$(cd "$(dirname "$0")/.." && pwd)

# The usual toolchain: the compiler on PATH has a standard library for the target.
has_std() { compgen -G "$(rustc --print target-libdir --target "$target")/libstd-*.rlib" >/dev/null; }

# Debian's toolchain: a new enough rustc-web with the sources of std, which is compiled once like a dependency.
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
    # build-std is unstable, so it needs RUSTC_BOOTSTRAP. Programs have full paths, because rustup's may come first on
    # PATH.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
    export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
    if [[ "${1:-}" == clippy || "${2:-}" == clippy ]]; then cargo=(/usr/bin/cargo-clippy); fi
else
    echo "no standard library for $target: run scripts/setup.sh (or \`rustup target add $target\`)" >&2
    exit 1
fi

if [[ "${1:---way}" == --way ]]; then
    echo "$way"
    exit
fi
features=page,worker
if [[ "$1" == page || "$1" == worker ]]; then features=$1; shift; fi
if [[ "$1" == kernels ]]; then features=kernels,browser; shift; fi
command=$1
shift
exec "${cargo[@]}" "$command" --target "$target" --no-default-features --features "$features" "$@"
