//! Numbers: candle only; no text, files, clock or platform.

pub mod adam;
mod ahead;
pub mod attention;
pub mod cpu;
pub mod cross_entropy;
pub mod dropout;
mod few_rows;
pub mod linear;
pub mod logprobs;
pub mod lora;
pub mod math;
pub mod norm;
pub mod ops;
pub mod params;
pub mod precision;
pub mod rng;
pub mod tape;
mod tiles;
pub mod weight;

/// candle's errors as text: what is passed on must be plain data.
impl From<candle_core::Error> for crate::error::Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error.to_string())
    }
}
