//! f32 matrix products on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. A number is split
//! into three bf16 parts without loss, x = h + m + l, and of the nine products the six largest are summed; the three left
//! out are below 2⁻²⁵ of theirs, less than f32's own rounding. About one and a half times the rate of AVX-512, with errors
//! no larger. No crate offers these instructions. Where processor or system do not allow them, `gemm` uses another kernel.

use super::gemm::Target;

/// A matrix side: `len` rows (of the left matrix) or columns (of the right one) with `k` numbers each.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
pub struct Side {
    pub data: *const f32,
    pub len: usize,
    pub k: usize,
    /// From one row (column) to the next.
    pub stride: usize,
    /// From one of its numbers to the next.
    pub k_stride: usize,
}

// SAFETY: callers of `multiply` vouch for the memory of both sides, which threads only read.
unsafe impl Send for Side {}
// SAFETY: as above.
unsafe impl Sync for Side {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod product {
    pub fn available() -> bool {
        false
    }

    /// # Safety
    /// None is needed: it is never called, since `available` says no.
    pub unsafe fn multiply(_: super::Side, _: super::Side, _: super::Target, _: usize) {}
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod product;

pub use product::{available, multiply};
