//! f32 matrix products on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. A number is split into
//! three bf16 parts without loss, x = h + m + l, and the six largest of the nine products are summed; the other three are below
//! 2⁻²⁵ of them, less than f32's rounding. It is about one and a half times as fast as AVX-512, and its errors are not larger.
//! No crate has these instructions. If processor or system do not allow them, `gemm` uses another kernel.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod product {
    use super::super::operands::{Side, Target};

    /// # Safety
    /// None is needed: it is never called, because `platform::amx` is false.
    pub unsafe fn multiply(_: Side, _: Side, _: Target, _: usize) {}
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod product;

pub use product::multiply;
