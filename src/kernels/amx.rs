//! f32 matrix products on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. A number is split
//! into three bf16 parts without loss, x = h + m + l, and of the nine products the six largest are summed; the three left
//! out are below 2⁻²⁵ of theirs, less than f32's own rounding. About one and a half times the rate of AVX-512, with errors
//! no larger. No crate offers these instructions. Where processor or system do not allow them, `gemm` uses another kernel.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod product {
    use super::super::operands::{Side, Target};

    /// # Safety
    /// None is needed: it is never called, since `platform::amx` says no.
    pub unsafe fn multiply(_: Side, _: Side, _: Target, _: usize) {}
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod product;

pub use product::multiply;
