//! f32 matrix products on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. A number is split
//! into three bf16 parts without loss, x = h + m + l, and of the nine products the six largest are summed; the three left
//! out are below 2⁻²⁵ of theirs, less than f32's own rounding. About one and a half times the rate of AVX-512, with errors
//! no larger. The only place that names a processor: no crate offers these instructions. Elsewhere, and where processor or
//! system do not allow them, `cpu` multiplies with the crate `gemm`.

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

/// Where a product goes: row-major, rows `stride` apart, `scale · product`, added to what is there with `accumulate`.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
pub struct Target {
    pub data: *mut f32,
    pub stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: callers of `multiply` vouch for the memory; threads read the sides and write disjoint blocks of the target.
unsafe impl Send for Side {}
unsafe impl Sync for Side {}
unsafe impl Send for Target {}
unsafe impl Sync for Target {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    pub fn available() -> bool {
        false
    }

    /// # Safety
    /// None: it is never called.
    pub unsafe fn multiply(_: super::Side, _: super::Side, _: super::Target, _: usize) {}
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit;

pub use unit::{available, multiply};
