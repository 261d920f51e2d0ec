//! All kernels, those that this processor supports, and the one in use. The fastest one is used unless a caller chooses another
//! with [`use_kernel`], as the command line does if the environment variable [`VARIABLE`] is set.

use super::platform;
use crate::error::{Error, Result};
use pulp::Arch;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The environment variable that chooses a kernel by its name: `DETOX_LAB_KERNEL=portable detox-lab train`.
pub const VARIABLE: &str = "DETOX_LAB_KERNEL";

/// A way of computing matrix products and loops over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kernel {
    /// Plain Rust, with only the instructions that every processor of the platform has.
    Portable = 1,
    /// 256-bit AVX2 with fused multiply-add (x86-64).
    Avx2,
    /// 512-bit AVX-512 (x86-64).
    Avx512,
    /// As `Avx512`, with larger products of bf16 by AVX-512's instruction for them (x86-64).
    Avx512Bf16,
    /// As `Avx512`, with larger products on the tile unit of newer Xeons (x86-64, Linux).
    Amx,
    /// 128-bit NEON (aarch64).
    Neon,
    /// 128-bit SIMD of WebAssembly; with the feature `relaxed` also its fused multiply-add.
    Simd128,
}

impl Kernel {
    /// All kernels, the slowest of a platform first.
    pub const ALL: [Self; 7] =
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx, Self::Neon, Self::Simd128];

    /// Its name in [`VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
            Self::Neon => "neon",
            Self::Simd128 if cfg!(feature = "relaxed") => "relaxed-simd128",
            Self::Simd128 => "simd128",
        }
    }

    /// The kernel with this name.
    ///
    /// # Errors
    /// A kernel that this processor does not support; the message lists those that it does.
    pub fn named(name: &str) -> Result<Self> {
        let available = Self::available();
        available.iter().find(|kernel| kernel.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|kernel| kernel.name()).collect();
            Error::input(
                format!("{VARIABLE}={name}: this processor does not support this kernel"),
                format!("use one of {}, or unset {VARIABLE} for the fastest", names.join(", ")),
            )
        })
    }

    /// The kernels that this processor supports, the slowest first; always contains [`Kernel::Portable`].
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    fn is_available(self) -> bool {
        let more = match self {
            Self::Avx512Bf16 => platform::avx512_bf16(),
            Self::Amx => platform::amx(),
            _ => true,
        };
        more && self.width().is_some()
    }

    /// Whether it has instructions for products of bf16.
    pub fn multiplies_bf16(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::Amx)
    }

    /// Runs `work`, with everything inlined into it, compiled for this kernel's SIMD width. The bits are the same for every
    /// width, because Rust does not reorder or fuse operations.
    #[inline(always)]
    pub fn vectorized<T>(self, work: impl FnOnce() -> T) -> T {
        self.arch().dispatch(work)
    }

    /// The SIMD width of this kernel, or that of [`Kernel::Portable`] if the processor does not support it.
    #[inline(always)]
    pub(super) fn arch(self) -> Arch {
        self.width().unwrap_or(Arch::Scalar)
    }

    #[inline(always)]
    fn width(self) -> Option<Arch> {
        match self {
            Self::Portable => Some(Arch::Scalar),
            Self::Avx2 => platform::avx2(),
            Self::Avx512 | Self::Avx512Bf16 | Self::Amx => platform::avx512(),
            Self::Neon => platform::neon(),
            Self::Simd128 => platform::simd128(),
        }
    }
}

/// What the products of linear layers multiply: the inputs, weights and gradients as they are, or rounded. Sums are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// The numbers themselves.
    #[default]
    F32,
    /// The nearest bf16 numbers, halves to even.
    Bf16,
}

/// How a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub kernel: Kernel,
    pub products: Products,
}

impl Way {
    /// What is in use for linear layers: the [`kernel`] in use, and the products given to [`use_products`].
    pub fn in_use() -> Self {
        let bf16 = BF16.load(Ordering::Relaxed);
        Self { kernel: kernel(), products: if bf16 { Products::Bf16 } else { Products::F32 } }
    }

    /// Whether there are instructions for these products; without them, rounded copies are multiplied as f32.
    pub fn is_direct(self) -> bool {
        self.products == Products::F32 || self.kernel.multiplies_bf16()
    }
}

impl From<Kernel> for Way {
    /// Products of f32.
    fn from(kernel: Kernel) -> Self {
        Self { kernel, products: Products::F32 }
    }
}

/// Whether linear layers multiply numbers rounded to bf16.
static BF16: AtomicBool = AtomicBool::new(false);

/// Computes the products of linear layers in this way from now on, on all threads and for all models.
pub fn use_products(products: Products) {
    BF16.store(products == Products::Bf16, Ordering::Relaxed);
}

/// The chosen kernel's number; 0 until it is first needed.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Uses `kernel` from now on, on all threads.
///
/// # Errors
/// A kernel that this processor does not support.
pub fn use_kernel(kernel: Kernel) -> Result<()> {
    let kernel = Kernel::named(kernel.name())?;
    CHOSEN.store(kernel as u8, Ordering::Relaxed);
    Ok(())
}

/// The kernel in use: the one given to [`use_kernel`], else the fastest one.
#[inline]
pub fn kernel() -> Kernel {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => choose_best(),
        number => Kernel::ALL[usize::from(number) - 1],
    }
}

#[cold]
fn choose_best() -> Kernel {
    let best = Kernel::available().pop().unwrap_or(Kernel::Portable);
    CHOSEN.store(best as u8, Ordering::Relaxed);
    best
}

/// [`Kernel::vectorized`] for the kernel in use.
#[inline(always)]
pub fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    kernel().vectorized(work)
}
