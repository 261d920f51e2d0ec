# Thin on purpose: each line can also be typed by hand. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup check test test-page demo demo-native web serve settings screenshots pictures recorded effect effect-web tiny-models bench bench-peers bench-web long-run fuzz fmt clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: ## install what is missing on this machine (says what it does)
	scripts/setup.sh

check: setup ## format, clippy natively and for the browser, docs: a warning is an error
	cargo fmt --check
	cargo clippy --all-targets --all-features -- -D warnings
	scripts/wasm-cargo.sh page clippy --lib --bin app --test web -- -D warnings
	scripts/wasm-cargo.sh worker clippy --lib --bin worker -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --lib

# Some tests need more than this repository (data beside the checkout, a user who may mount). They are marked ignored and counted as
# such; with CI=true they run too.
test: check ## every check, then every test, those in a browser last
	cargo test --all-features $(if $(filter true,$(CI)),-- --include-ignored)
	for example in ppo_step summarize score; do cargo run --quiet --all-features --example $$example || exit 1; done
	$(MAKE) test-page

# The program is built together with a test, with the features that `cargo test` uses, so that nothing is compiled twice.
test-page: web ## the story in headless Chromium, from dist/
	scripts/setup.sh browser
	scripts/wasm-cargo.sh page test --profile page --test web
	cargo build --all-features --bin detox-lab --test cli
	DETOX_LAB="$${CARGO_TARGET_DIR:-target}/debug/detox-lab" node --test --test-concurrency=1 tests/page/*.test.mjs

demo: ## the page: build it, serve it on this machine, print the address
	@echo "demo: the page is built first: about 15 minutes on a new machine with two cores, seconds the next time."
	@echo "demo: to see the lab on the command line in the meantime, run 'make demo-native' (about a minute once it is built)."
	@$(MAKE) --no-print-directory web serve

demo-native: setup ## the whole lab on the command line, in about a minute
	cargo build --release
	scripts/demo.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

web: ## build the page into dist/
	scripts/setup.sh web
	scripts/web.sh

serve: ## serve dist/ on this machine
	@scripts/setup.sh python
	python3 scripts/serve.py dist

settings: ## write docs/settings.md from the settings table
	cargo run --quiet --no-default-features --example settings > docs/settings.md.tmp && mv docs/settings.md.tmp docs/settings.md

screenshots: web ## every chapter at 1440, 768 and 360 px, light and dark, into build/screenshots/
	scripts/setup.sh browser
	node tests/page/screenshots.mjs --live

pictures: web ## the README's pictures of the page and of the terminal, into docs/images/
	scripts/setup.sh browser python
	node tests/page/picture.mjs
	cargo build --release
	python3 scripts/terminal_picture.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

recorded: setup ## record the story that the page shows before it has loaded anything
	cargo run --release --features page,worker --example record_page

effect: ## what PPO does to the shipped models: three seeds, and the published preset
	scripts/setup.sh python
	cargo build --release
	python3 scripts/effect.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

effect-web: web ## the same in headless Chromium, one seed
	scripts/setup.sh browser
	node tests/page/effect.mjs

tiny-models: ## retrain the shipped models from ../shared/data, which takes hours
	scripts/setup.sh python
	cargo build --release
	scripts/tiny_models.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

bench: setup ## the speeds that the README states; whole PPO steps of flan-t5-small and -base
	cargo bench --bench parts
	cargo bench --bench lab
	cargo bench --bench weights

bench-peers: ## whole PPO steps beside the reference stack's (TRL on torch), by turns
	scripts/setup.sh python
	python3 scripts/bench_peers.py

bench-web: web ## the page's speeds, beside the native ones on one thread
	scripts/setup.sh browser
	cargo build --release
	DETOX_LAB="$${CARGO_TARGET_DIR:-target}/release/detox-lab" node tests/page/bench.mjs

long-run: ## 2,000 PPO steps of the tiny models: does memory grow, do the files agree?
	scripts/setup.sh python
	cargo build --release
	python3 scripts/long_run.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

fuzz: ## every fuzz target of fuzz/ for SECONDS (60) each: inputs, findings
	scripts/setup.sh python
	scripts/fuzz.sh $(or $(SECONDS),60)

fmt: ## format the code
	cargo fmt

clean: ## remove what was built
	cargo clean
