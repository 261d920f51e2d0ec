# `make` without a target lists the targets. All commands here can also be typed by hand.
.DEFAULT_GOAL := help
.PHONY: help setup check test test-page test-real test-mpi demo demo-native web serve settings screenshots pictures recorded effect effect-web tiny-models bench bench-kernels bench-peers bench-ranks bench-web long-run fuzz miri fmt clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: ## install missing programs on this machine, and print them
	scripts/setup.sh

# A newer compiler has newer lints: warnings are errors only with the Rust version that the project is developed with.
DENY = $(if $(findstring rustc 1.95.,$(shell rustc --version)),-D warnings)

# All features but mpi, which needs an MPI library.
FEATURES = --features cli,page,worker

check: setup ## format, clippy natively and for the browser, docs: with Rust 1.95 a warning is an error
	cargo fmt --check
	cargo clippy --all-targets $(FEATURES) -- $(DENY)
	scripts/wasm-cargo.sh page clippy --lib --bin app --test web -- $(DENY)
	scripts/wasm-cargo.sh worker clippy --lib --bin worker --bin worker_threads -- $(DENY)
	scripts/wasm-cargo.sh worker clippy --features relaxed --lib --bin worker_relaxed -- $(DENY)
	scripts/wasm-cargo.sh kernels clippy --lib --example wasm_kernels --test products -- $(DENY)
	RUSTDOCFLAGS='$(DENY)' cargo doc --no-deps --lib

# Tests that need more than this repository (data beside the checkout, a user who may mount) are marked as ignored; with
# CI=true they run too, and so do the tests of the feature mpi, which install Open MPI.
test: check ## run all checks, then all tests, those in a browser last
	cargo test $(FEATURES) $(if $(filter true,$(CI)),-- --include-ignored)
	for example in ppo_step summarize score; do cargo run --quiet $(FEATURES) --example $$example || exit 1; done
	$(MAKE) $(if $(filter true,$(CI)),test-mpi) test-page test-real

# Node 20 has relaxed SIMD only with this option, which newer versions do not know.
RELAXED = $(shell node --v8-options 2>/dev/null | grep -o -m1 -e --experimental-wasm-relaxed-simd)

# The program is built together with a test and with the features of `cargo test`, so that nothing is compiled twice.
test-page: web ## use the page in headless Chromium, from dist/
	scripts/setup.sh browser
	scripts/wasm-cargo.sh page test --profile page --test web
	scripts/wasm-cargo.sh kernels test --release --test products
	NODE_ARGS=$(RELAXED) scripts/wasm-cargo.sh kernels test --features relaxed --release --test products
	cargo build $(FEATURES) --bin detox-lab --test cli
	DETOX_LAB="$${CARGO_TARGET_DIR:-target}/debug/detox-lab" node --test --test-concurrency=1 tests/page/*.test.mjs

test-real: web ## the whole lab in the page with models of the shapes of FLAN-T5-small and RoBERTa, in 3 minutes
	scripts/setup.sh browser
	node tests/page/real_shapes.mjs small q8_0

# The test with two hosts needs root and network namespaces, which a container may not have.
NAMESPACES = $(shell ip netns add detox-lab-try 2>/dev/null && ip netns del detox-lab-try && echo yes)

test-mpi: ## install Open MPI, check the feature mpi, and train and evaluate with mpirun on this machine
	scripts/setup.sh mpi
	cargo clippy --all-features --lib --test mpi -- $(DENY)
	cargo test --all-features --test mpi $(if $(NAMESPACES),-- --include-ignored)

demo: ## build the page, serve it on this machine and print the address
	@echo "demo: building the page takes about 15 minutes on a new machine with two cores, and seconds the next time."
	@echo "demo: 'make demo-native' shows the lab on the command line instead (about a minute after the program is built)."
	@$(MAKE) --no-print-directory web serve

demo-native: setup ## run the whole lab on the command line, in about a minute
	cargo build --release
	scripts/demo.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

web: ## build the page into dist/
	scripts/setup.sh web
	scripts/web.sh

serve: ## serve dist/ on this machine
	@scripts/setup.sh python
	python3 scripts/serve.py dist

settings: ## generate docs/settings.md from the settings table
	cargo run --quiet --no-default-features --example settings > docs/settings.md.tmp && mv docs/settings.md.tmp docs/settings.md

screenshots: web ## picture every chapter at 1440, 768 and 360 px, light and dark, into build/screenshots/
	scripts/setup.sh browser
	node tests/page/screenshots.mjs --live

pictures: web ## make the pictures: of the page and of the terminal in docs/images/, and of the card of a shared link
	scripts/setup.sh browser python
	node tests/page/picture.mjs
	cargo build --release
	python3 scripts/terminal_picture.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

recorded: setup ## record the runs that the page shows before anything is loaded
	cargo run --release --features page,worker --example record_page
	cargo build --release
	python3 scripts/record.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab" leash
	python3 scripts/record.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab" experiments

effect: ## measure what PPO does to the tiny models: three seeds, and the published preset
	scripts/setup.sh python
	cargo build --release
	python3 scripts/effect.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

effect-web: web ## as effect, but in headless Chromium and with one seed
	scripts/setup.sh browser
	node tests/page/effect.mjs

tiny-models: ## train the tiny models again from ../shared/data, which takes hours
	scripts/setup.sh python
	cargo build --release
	scripts/tiny_models.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

bench: setup ## measure speeds, and whole PPO steps of flan-t5-small and -base
	cargo bench --bench parts
	cargo bench --bench lab
	cargo bench --bench weights

bench-kernels: ## measure the worker's matrix products and row loops in Node
	scripts/setup.sh web
	scripts/wasm-cargo.sh kernels build --release --example wasm_kernels
	wasm-bindgen --target nodejs --out-dir build/wasm_kernels "$${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/examples/wasm_kernels.wasm"
	node scripts/wasm_kernels.mjs build/wasm_kernels

bench-peers: ## measure whole PPO steps and those of TRL on torch, by turns
	scripts/setup.sh python
	python3 scripts/bench_peers.py

bench-ranks: ## measure PPO steps of the tiny models on one rank and on two
	scripts/setup.sh mpi python
	cargo build --release --features mpi
	python3 scripts/bench_ranks.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

# PART="small q8_0 1" measures only that: a size, a number type, threads. TRANSFORMERS_JS: see tests/page/bench_real.mjs.
bench-web: web ## measure the page's speeds, beside the native program and transformers.js
	scripts/setup.sh browser
	cargo build --release
	$(if $(PART),,DETOX_LAB="$${CARGO_TARGET_DIR:-target}/release/detox-lab" node tests/page/bench.mjs)
	DETOX_LAB="$${CARGO_TARGET_DIR:-target}/release/detox-lab" node tests/page/bench_real.mjs $(PART)

long-run: ## run 2,000 PPO steps of the tiny models; check memory and files
	scripts/setup.sh python
	cargo build --release
	python3 scripts/long_run.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

fuzz: ## run every fuzz target of fuzz/ for SECONDS (60) each
	scripts/setup.sh python
	scripts/fuzz.sh $(or $(SECONDS),60)

miri: ## check the portable kernels for undefined behaviour (needs rustup's nightly with miri and rust-src)
	MIRIFLAGS=-Zmiri-tree-borrows cargo +nightly miri test --no-default-features --features kernels --lib kernels

fmt: ## format the code
	cargo fmt

clean: ## remove all build results
	cargo clean
