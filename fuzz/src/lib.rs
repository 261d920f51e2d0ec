//! The promises of `tests/hostile`, compiled once for all fuzz targets.

#[path = "../../tests/hostile/mod.rs"]
pub mod hostile;
