# Thin on purpose: each line can also be typed by hand. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup check test test-web demo web serve recorded effect tiny-models bench fmt clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: ## install what is missing on this machine (says what it does)
	scripts/setup.sh

check: setup ## format, clippy natively and for the browser, docs: a warning is an error
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	scripts/wasm-cargo.sh clippy --lib --bin app --bin worker -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --lib

test: check ## every check, then every test
	cargo test

test-web: setup ## the page's and its worker's tests, natively
	cargo test --features web --lib web::
	cargo test --features web --test web_engine

demo: setup ## the main job on sample input
	cargo build --release
	scripts/demo.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

web: setup ## build the page into dist/
	scripts/setup.sh web
	scripts/web.sh

serve: ## serve dist/ on this machine
	python3 scripts/serve.py dist

recorded: setup ## record the story that the page shows before it has loaded anything
	cargo run --release --features web --example record_page

effect: setup ## what PPO does to the shipped models: three seeds, and the published preset
	cargo build --release
	python3 scripts/effect.py "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

tiny-models: setup ## retrain the shipped models from ../shared/data, which takes hours
	cargo build --release
	scripts/tiny_models.sh "$${CARGO_TARGET_DIR:-target}/release/detox-lab"

bench: setup ## the speeds that the README states
	cargo bench

fmt: ## format the code
	cargo fmt

clean: ## remove what was built
	cargo clean
