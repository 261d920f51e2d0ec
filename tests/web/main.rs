//! The page's two halves: the worker's engine, natively, and the page's parts, in a headless browser
//! (`scripts/wasm-cargo.sh test --profile page --test web`). The tests that use the page as a person does are in tests/page.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(not(target_arch = "wasm32"))]
mod engine;
#[cfg(target_arch = "wasm32")]
mod parts;
