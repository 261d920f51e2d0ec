#!/usr/bin/env bash
# Installs the programs that `make` needs on a Debian machine with git, make, curl and cargo. Prints one line for each installation.
#   scripts/setup.sh           for the command line and `make check`
#   scripts/setup.sh web       also for building the page: trunk, wasm-bindgen, wasm-opt
#   scripts/setup.sh browser   also for testing the page: Chromium, its driver, node
#   scripts/setup.sh python    also python3, for serving the page and for the scripts in scripts/
#   scripts/setup.sh mpi       also Open MPI and libclang, for the feature mpi
# Several words may be given. Running it again changes nothing and takes a second.
# RELEASES: another address of GitHub's release archives, for a network without access to GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
trunk=0.21.14
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
wanted() { [[ " $words " == *" $1 "* ]]; }
words="$*"

# quietly WHAT COMMAND...: prints one line and the seconds it took. The command's output is shown only if it fails.
quietly() {
    local what=$1 start=$SECONDS
    shift
    printf 'setup: installing %s ... ' "$what"
    if "$@" >"$log" 2>&1 </dev/null; then
        echo "done in $((SECONDS - start)) s"
    else
        echo "failed"
        sed 's/^/    /' "$log" >&2
        return 1
    fi
}

# Whether cargo is from rustup (not from Debian). Only then may rustup add components.
by_rustup() { have rustup && [[ "$(rustup which rustc 2>/dev/null)" == "$(rustc --print sysroot)/bin/rustc" ]]; }

# Debian's packages are installed as root or with sudo; if neither is possible, the message says what to run.
sudo=()
updated=no
apt_ready() {
    have apt-get || fail "please install by hand (this machine has no apt): $*"
    if [[ $EUID -ne 0 ]]; then
        { have sudo && sudo -n true 2>/dev/null; } || { have sudo && [[ -t 0 ]]; } ||
            fail "please run as root: apt-get update && apt-get install --no-install-recommends $*"
        sudo=(sudo)
        "${sudo[@]}" true # asks for the password here, where it can be seen
    fi
    [[ $updated == yes ]] || "${sudo[@]}" apt-get -q update >"$log" 2>&1 || say "apt-get update failed: the old package lists are used"
    updated=yes
}

# apt PACKAGE...
apt() {
    apt_ready "$@"
    # --no-remove: Debian's rustc-web conflicts with Debian's own rustc and rustup packages; these must not be removed.
    quietly "$* (Debian)" "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-remove --no-install-recommends install "$@" ||
        fail "apt-get could not install $*: see its messages above (with Rust from https://rustup.rs, no Debian package of Rust is needed)"
}

# The first number of the version that apt would install; 0 if there is none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p'; }

# npm_global PACKAGE: installs from npm, for all users of the machine.
npm_global() {
    have npm || apt npm
    local as=()
    [[ -w "$(npm prefix -g)" || $EUID -eq 0 ]] || as=(sudo)
    quietly "$1 (npm)" "${as[@]}" npm install -g --silent "$1" || fail "npm could not install $1: see its messages above, or install it by hand"
    hash -r
}

# release PROGRAM URL SUFFIX: installs a program from a release archive, checked with the sha256 of the release. Fails
# if there is none; then the program is built from source.
release() {
    local program=$1 url=$2 suffix=$3 folder sum
    [[ "$(uname -sm)" == "Linux x86_64" ]] || { echo "there is none for $(uname -sm)"; return 1; }
    folder=$(mktemp -d)
    if curl -fsSL --connect-timeout 10 --max-time 180 -o "$folder/archive.tar.gz" "$url" && curl -fsSL --connect-timeout 10 --max-time 30 -o "$folder/sum" "$url$suffix"; then
        sum=$(grep -oE '^[0-9a-fA-F]{64}' "$folder/sum" | head -n1)
        if [[ -n "$sum" ]] && echo "$sum  $folder/archive.tar.gz" | sha256sum --quiet -c - >/dev/null 2>&1; then
            mkdir -p "$bin" && tar -xzf "$folder/archive.tar.gz" -C "$folder" &&
                find "$folder" -type f \( -name "$program" -o -name "$program-test-runner" \) -exec install -m 755 -t "$bin" {} + &&
                [[ -x "$bin/$program" ]] && rm -rf "$folder" && return 0
        else
            echo "$url does not have the sha256 of the release, so it is not used"
        fi
    fi
    rm -rf "$folder"
    return 1
}

# program CRATE VERSION MINUTES PROGRAM URL SUFFIX OPTION...: installs a prebuilt program, or builds it from source.
program() {
    local crate=$1 version=$2 minutes=$3 name=$4 url=$5 suffix=$6
    shift 6
    if have cargo-binstall && quietly "$crate $version (prebuilt, cargo-binstall)" cargo binstall --no-confirm --force --disable-strategies compile "$crate@$version"; then return; fi
    if release "$name" "$url" "$suffix" >"$log" 2>&1; then
        say "installed $crate $version (prebuilt)"
        return
    fi
    say "no prebuilt $crate could be downloaded ($(tail -n1 "$log" | sed 's/^curl: ([0-9]*) //'))"
    # Little optimisation, because these programs only copy and rewrite files, and are built faster. They share a
    # folder, so that common crates are built once.
    quietly "$crate $version from source (about $minutes minutes on two cores)" env \
        CARGO_TARGET_DIR="$tools" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=false \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install "$crate" --version "$version" --force "$@" ||
        fail "cargo could not install $crate $version: see its messages above"
}

# 1. Rust, new enough.
have cargo && have rustc || fail "no cargo: install Rust from https://rustup.rs (or Debian's cargo-web) and run this again"
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
now=$(rustc --version | cut -d' ' -f2)
[[ "$(printf '%s\n' "$need" "${now%%-*}" | sort -V | head -n1)" == "$need" ]] ||
    fail "rust $now is too old, $need is needed: run \`rustup update stable\`, or install Rust from https://rustup.rs"

# 2. A C compiler: it links native programs, and builds the TLS library for downloads from the hub.
have cc || apt gcc libc6-dev

# 3. rustfmt and clippy, for `make check`.
if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    if by_rustup; then
        quietly "rustfmt and clippy (rustup)" rustup component add rustfmt clippy || fail "rustup could not add rustfmt and clippy: see its messages above"
    else
        apt rustfmt-web rust-web-clippy
    fi
fi

# 4. The browser's target, from rustup, or else from Debian's rustc-web, which builds std from source.
if ! scripts/wasm-cargo.sh --way >/dev/null 2>&1 && by_rustup; then
    # Without retries: if rustup's server cannot be reached, Debian's packages are used.
    quietly "Rust's standard library for $target (rustup)" env RUSTUP_MAX_RETRIES=0 timeout 300 rustup target add "$target" ||
        say "Debian's rustc-web is used instead"
fi
if ! scripts/wasm-cargo.sh --way >/dev/null 2>&1; then
    apt rustc-web cargo-web rust-web-src rust-web-clippy rust-web-llvm
    apt "lld-$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
fi
way=$(scripts/wasm-cargo.sh --way) || fail "still no compiler for $target: Debian's rustc-web may be older than $need here"

# 5. Only for the page: wasm-bindgen in the version of Cargo.lock, trunk, wasm-opt.
if wanted web; then
    bin=${CARGO_HOME:-$HOME/.cargo}/bin
    [[ ":$PATH:" == *":$bin:"* ]] || PATH=$PATH:$bin
    tools=${CARGO_TARGET_DIR:-target}/tools
    github=${RELEASES:-https://github.com}
    bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)
    [[ "$(wasm-bindgen --version 2>/dev/null)" == "wasm-bindgen $bindgen" ]] ||
        program wasm-bindgen-cli "$bindgen" 2 wasm-bindgen \
            "$github/wasm-bindgen/wasm-bindgen/releases/download/$bindgen/wasm-bindgen-$bindgen-x86_64-unknown-linux-musl.tar.gz" .sha256sum
    # Without its checks for updates and its downloads.
    have trunk || program trunk "$trunk" 5 trunk \
        "$github/trunk-rs/trunk/releases/download/v$trunk/trunk-x86_64-unknown-linux-gnu.tar.gz" .sha256 --locked --no-default-features
    rm -rf "$tools"
    # Debian 12's binaryen (108) writes tables that browsers do not accept.
    opt=$({ wasm-opt --version 2>/dev/null || true; } | sed -n 's/^wasm-opt version \([0-9]*\).*/\1/p')
    if (( ${opt:-0} < 120 )); then
        if have apt-get && apt_ready binaryen && (( $(candidate binaryen) >= 120 )); then
            apt binaryen
        else
            npm_global binaryen@132.0.0
            [[ "$(wasm-opt --version 2>/dev/null)" == *132* ]] || fail "an older wasm-opt comes before npm's on PATH: $(command -v wasm-opt)"
        fi
    fi
fi

# 6. For serving the page, and for the scripts in scripts/.
if wanted python && ! have python3; then apt python3; fi

# 7. Only for the page's tests: Chromium, node, and their packages.
if wanted browser; then
    if ! { have chromium || have chromium-browser || have google-chrome || [[ -n "${CHROME:-}" ]]; }; then apt chromium; fi
    have chromedriver || [[ -n "${CHROMEDRIVER:-}" ]] || apt chromium-driver
    new_enough() { node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }
    have node || apt nodejs
    have npm || apt npm
    new_enough || npm_global node@22 # Debian 12's is 18
    new_enough || fail "node $(node --version) is too old for the page's tests, but comes first on PATH ($(command -v node)): 20 is needed"
    cmp -s tests/page/package.json tests/page/node_modules/package.json || {
        quietly "playwright-core and axe-core in tests/page (npm)" npm --prefix tests/page install --silent ||
            fail "npm could not install the packages of tests/page: see its messages above"
        cp tests/page/package.json tests/page/node_modules/
    }
fi

# 8. Only for the feature mpi: MPI's library and mpirun; the crate mpi-sys reads MPI's headers with libclang.
if wanted mpi; then
    has_libclang() { [[ -n "${LIBCLANG_PATH:-}" ]] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ldconfig -p | grep -q 'libclang[-.0-9]*\.so'; }
    have mpicc || apt libopenmpi-dev
    have mpirun || apt openmpi-bin
    has_libclang || apt libclang-dev
fi

say "ready: rust $now, $target with $way"
