//! Used by several tests: the locations of reference data, and comparisons of numbers.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use candle_core::Var;
use detox_lab::model::policy::{Given, POLICY, Policy, TrainablePolicy};
use detox_lab::nn::tape::{VarGradients, record};
use std::path::PathBuf;

/// Other people's data and tokenizers beside the checkout; their licences do not allow them in this repository. Tests that use
/// them are marked `#[ignore]`; with CI=true, `make test` runs them too.
pub fn shared_data() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    assert!(folder.is_dir(), "this test needs ../shared/data, which does not exist");
    folder
}

/// Numbers of transformers and TRL on tiny models with random weights (`tests/fixtures/make_golden.py`).
pub fn golden() -> PathBuf {
    fixtures().join("golden")
}

/// The project's fixtures, written by the reference implementations (`tests/fixtures/make_fixtures.py`).
pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Largest absolute difference; panics if the lengths differ.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "lengths differ");
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// A tensor's numbers, flat.
pub fn flat(t: &candle_core::Tensor) -> Vec<f32> {
    t.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradients of a scalar that `work` computes with our operations, possibly followed by candle's.
pub fn gradients(work: impl FnOnce() -> candle_core::Tensor) -> VarGradients {
    let (scalar, tape) = record(|| Ok(work())).unwrap();
    tape.backward_of(&scalar).unwrap()
}

/// mean(log-probs) + mean(values²) of teacher-forced rows.
pub fn objective(policy: &Policy, rows: &[(&[u32], &[u32])], width: usize) -> f64 {
    let s = policy.evaluate(&Given::new(rows, width, Some(POLICY)), None).unwrap();
    let mean = |x: Vec<f32>| x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    mean(flat(&s.logprobs)) + mean(flat(&s.values.sqr().unwrap()))
}

/// The gradients of [`objective`].
pub fn objective_gradients(policy: &Policy, rows: &[(&[u32], &[u32])], width: usize) -> VarGradients {
    let s = policy.evaluate(&Given { grad: true, ..Given::new(rows, width, Some(POLICY)) }, None).unwrap();
    let n = s.values.elem_count() as f64;
    let by_values = (&s.values * (2.0 / n)).unwrap();
    let by_logprobs = (s.logprobs.ones_like().unwrap() / n).unwrap();
    s.backward(&by_logprobs, &by_values).unwrap()
}

/// The gradients of a scalar that was computed only with candle's operations.
pub fn graph_gradients(scalar: &candle_core::Tensor, vars: &[(String, Var)]) -> VarGradients {
    let store = scalar.backward().unwrap();
    let mut found = VarGradients::default();
    vars.iter().filter_map(|(_, var)| Some((var, store.get(var)?))).for_each(|(var, g)| found.insert(var, g.clone()));
    found
}

pub mod hub;
pub mod models;
pub mod peers;
pub mod run;
pub mod store;
pub mod trl;
