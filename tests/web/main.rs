//! Tests the worker's engine natively, and the page's parts in a headless browser (`scripts/wasm-cargo.sh page test --profile
//! page --test web`). tests/page has the tests of the whole page.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(all(not(target_arch = "wasm32"), feature = "worker"))]
mod data;
#[cfg(all(not(target_arch = "wasm32"), feature = "worker"))]
mod engine;
#[cfg(target_arch = "wasm32")]
mod parts;
#[cfg(all(not(target_arch = "wasm32"), feature = "worker"))]
mod real;
