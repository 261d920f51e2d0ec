//! Numbers: candle only; no text, files, clock or platform.

pub mod adam;
pub mod attention;
pub mod linear;
pub mod lora;
pub mod norm;
pub mod ops;
pub mod params;
pub mod rng;
