//! Matrix products with instructions for bf16, which multiply bf16 and sum in f32, on sides that are packed in tiles. Numbers
//! are rounded to bf16, or (f32 products on the tile unit) split into three bf16 parts without loss. If the processor does not
//! have these instructions, `gemm` uses another kernel.

use super::operands::{Side, Target};
use half::bf16;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod held;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod product;

/// The instructions, and what they multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiled {
    /// The tile unit, f32.
    Amx,
    /// The tile unit, numbers rounded to bf16.
    AmxBf16,
    /// AVX-512, numbers rounded to bf16.
    Avx512Bf16,
}

/// The product of `a`'s rows with `b`'s columns, on `threads` threads (1, or all).
///
/// # Safety
/// The processor must have the instructions; the sides and the target must be valid memory, and no one else may use the target.
#[cfg(target_arch = "x86_64")]
pub unsafe fn multiply(by: Tiled, a: Side, b: Side, c: Target, threads: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        match by {
            Tiled::Amx => product::multiply(&amx::F32, a, b, c, threads),
            Tiled::AmxBf16 => product::multiply(&amx::BF16, a, b, c, threads),
            Tiled::Avx512Bf16 => product::multiply(&avx512::BF16, a, b, c, threads),
        }
    }
}

/// As [`multiply`], with columns that are held as bf16, for the instructions that round to bf16.
///
/// # Safety
/// As [`multiply`]'s.
#[cfg(target_arch = "x86_64")]
pub unsafe fn multiply_held(by: Tiled, a: Side, b: Side<bf16>, c: Target, threads: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        match by {
            Tiled::Amx => unreachable!("products of f32 have f32 columns"),
            Tiled::AmxBf16 => product::multiply(&amx::BF16, a, b, c, threads),
            Tiled::Avx512Bf16 => product::multiply(&avx512::BF16, a, b, c, threads),
        }
    }
}

/// The product of at most 16 rows with columns that are held as bf16. The numbers of each row and column are side by side, and
/// their number is even.
///
/// # Safety
/// The processor must have avx512_bf16; the rest as [`multiply`]'s.
#[cfg(target_arch = "x86_64")]
pub unsafe fn multiply_few(a: Side, b: Side<bf16>, c: Target, threads: usize) {
    // SAFETY: as the caller promises.
    unsafe { few::multiply(a, b, c, threads) }
}

/// # Safety
/// None is needed: it is never called, because no kernel of this platform has such instructions.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn multiply(_: Tiled, _: Side, _: Side, _: Target, _: usize) {}

/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn multiply_held(_: Tiled, _: Side, _: Side<bf16>, _: Target, _: usize) {}

/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn multiply_few(_: Side, _: Side<bf16>, _: Target, _: usize) {}
