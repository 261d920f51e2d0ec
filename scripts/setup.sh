#!/usr/bin/env bash
# Installs what `make` needs on a Debian machine that has git, make, curl and cargo, and says what it does.
# Running it again changes nothing and takes a second. `scripts/setup.sh web` also installs what builds the page, and
# `scripts/setup.sh browser` what tests it.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
# Is cargo rustup's (and not Debian's)? Only then may rustup add anything to it.
by_rustup() { have rustup && [[ "$(rustup which rustc 2>/dev/null)" == "$(rustc --print sysroot)/bin/rustc" ]]; }

# apt PACKAGE...: as root or through sudo; where neither is possible, says what to run.
apt() {
    local sudo=()
    have apt-get || fail "please install by hand (this machine has no apt): $*"
    if [[ $EUID -ne 0 ]]; then
        { have sudo && sudo -n true 2>/dev/null; } || { have sudo && [[ -t 0 ]]; } ||
            fail "please run as root: apt-get update && apt-get install --no-install-recommends $*"
        sudo=(sudo)
    fi
    say "apt-get install $*"
    # --no-remove: Debian's rustc-web conflicts with Debian's own rustc and rustup packages; never take those away.
    "${sudo[@]}" apt-get -q update >/dev/null || say "apt-get update failed; going on with the lists that are here"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-remove --no-install-recommends install "$@" </dev/null ||
        fail "apt-get could not install: $* (see above; with Rust from https://rustup.rs none of Debian's rust is needed)"
}

# 1. Rust, new enough.
have cargo && have rustc || fail "no cargo: install Rust from https://rustup.rs (or Debian's cargo-web) and run this again"
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
now=$(rustc --version | cut -d' ' -f2)
[[ "$(printf '%s\n' "$need" "${now%%-*}" | sort -V | head -n1)" == "$need" ]] ||
    fail "rust $now is too old, $need is needed: run \`rustup update stable\`, or install Rust from https://rustup.rs"

# 2. A C compiler: the linker of native programs, and what the TLS library behind the hub download is built with.
have cc || apt gcc libc6-dev

# 3. rustfmt and clippy, for `make check`.
if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    if by_rustup; then
        say "rustup component add rustfmt clippy"
        rustup component add rustfmt clippy
    else
        apt rustfmt-web rust-web-clippy
    fi
fi

# 4. The browser's target: by rustup, and where that cannot be, by Debian's rustc-web, which builds std from source.
if ! scripts/wasm-cargo.sh --way >/dev/null 2>&1 && by_rustup; then
    say "rustup target add $target"
    # Without retries: where rustup's server cannot be reached, Debian has another way.
    RUSTUP_MAX_RETRIES=0 timeout 300 rustup target add "$target" || say "rustup could not add $target"
fi
if ! scripts/wasm-cargo.sh --way >/dev/null 2>&1; then
    say "taking Debian's rustc-web for $target (the native build keeps its own cargo)"
    apt rustc-web cargo-web rust-web-src rust-web-clippy rust-web-llvm
    apt "lld-$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
fi
way=$(scripts/wasm-cargo.sh --way) || fail "still no way to compile for $target: Debian's rustc-web here may be older than $need"

# 5. For the page alone: trunk, the wasm-bindgen that Cargo.lock names, wasm-opt.
if [[ "${1:-}" == web ]]; then
    bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)
    [[ "$(wasm-bindgen --version 2>/dev/null)" == "wasm-bindgen $bindgen" ]] || {
        say "cargo install wasm-bindgen-cli $bindgen (some minutes)"
        cargo install wasm-bindgen-cli --version "$bindgen" --force
    }
    have trunk || {
        say "cargo install trunk 0.21.14 (some minutes)"
        cargo install trunk --version 0.21.14 --locked
    }
    # Debian 12's binaryen (108) writes tables that browsers refuse.
    opt=$(wasm-opt --version 2>/dev/null | sed -n 's/^wasm-opt version \([0-9]*\).*/\1/p')
    if (( ${opt:-0} < 120 )); then
        have npm || apt npm
        say "npm install -g binaryen@132 (wasm-opt)"
        npm install -g --silent binaryen@132.0.0 || fail "npm could not install binaryen@132 (wasm-opt): install it by hand"
        hash -r
        [[ "$(wasm-opt --version 2>/dev/null)" == *132* ]] || fail "an older wasm-opt stands before npm's on PATH: $(command -v wasm-opt)"
    fi
fi

# 6. For the page's tests alone: Chromium, node, and what drives them.
if [[ "${1:-}" == browser ]]; then
    if ! { have chromium || have chromium-browser || have google-chrome || [[ -n "${CHROME:-}" ]]; }; then apt chromium; fi
    have chromedriver || [[ -n "${CHROMEDRIVER:-}" ]] || apt chromium-driver
    have node || apt nodejs
    have npm || apt npm
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || fail "node $(node --version) is too old for the page's tests, 20 is needed"
    cmp -s tests/page/package.json tests/page/node_modules/package.json || {
        say "npm install in tests/page (playwright-core, axe-core)"
        (cd tests/page && npm install --silent) && cp tests/page/package.json tests/page/node_modules/
    }
fi

say "ready: rust $now, $target with a $way"
