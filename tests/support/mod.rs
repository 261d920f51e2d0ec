//! What several tests need: where the reference data is, and how numbers are compared.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use std::path::PathBuf;

/// Other people's data and tokenizers, beside the checkout: their licences keep them out of this repository. The tests that
/// use them are marked `#[ignore]`; with CI=true `make test` runs them too.
pub fn shared_data() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    assert!(folder.is_dir(), "this test needs ../shared/data, which is not beside this checkout");
    folder
}

/// Numbers of transformers and TRL on tiny models with random weights (`tests/fixtures/make_golden.py`).
pub fn golden() -> PathBuf {
    fixtures().join("golden")
}

/// The project's own fixtures, written by the reference stack (`tests/fixtures/make_fixtures.py`).
pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Largest absolute difference; panics when lengths differ.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "lengths differ");
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// A tensor's numbers, flat.
pub fn flat(t: &candle_core::Tensor) -> Vec<f32> {
    t.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
pub mod hub;
pub mod models;
pub mod run;
pub mod store;
pub mod trl;
