//! The checks of `tests/robustness/hostile`, compiled once for all fuzz targets.

#[path = "../../tests/robustness/hostile/mod.rs"]
pub mod hostile;
