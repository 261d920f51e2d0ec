//! Fast arithmetic on slices of f32: matrix products, attention, loops over rows. All `unsafe` code
//! and all platform conditions of the engine are here. Tensors and gradients are in `nn`, which calls these functions.
//!
//! [`portable`] computes the same in plain Rust as every fast kernel, up to rounding. [`choice`] has the kernels of this
//! processor and the one in use.

pub mod attention;
#[cfg(target_arch = "x86_64")]
mod block_rows;
pub mod choice;
pub mod dropout;
pub mod gemm;
mod gemv;
pub mod math;
pub mod matrix;
mod operands;
#[cfg(target_arch = "x86_64")]
mod panels;
mod platform;
pub mod pool;
pub mod portable;
mod prefetch;
pub mod quantized;
mod rounding;
#[cfg(target_arch = "wasm32")]
mod simd128;
#[cfg(feature = "browser")]
pub mod tab;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod transposed;

/// `n` numbers of both signs, most of them below 1.5; the same for every call with the same seed.
#[cfg(test)]
fn test_numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| (uniform() + uniform() + uniform()) * 2.0).collect()
}
