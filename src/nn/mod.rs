//! Differentiable operations on tensors, and the optimizer. The arithmetic is in `kernels`.

pub mod adam;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod linear;
pub mod logprobs;
pub mod lora;
pub mod norm;
pub mod ops;
pub mod params;
pub mod rng;
pub mod storage;
pub mod tape;
pub mod weight;

/// candle's errors become text, because errors must be plain data.
impl From<candle_core::Error> for crate::error::Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error.to_string())
    }
}
