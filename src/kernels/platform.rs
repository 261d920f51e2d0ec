//! The SIMD widths of this processor, asked for once. `None` where it lacks one.

#[cfg(target_arch = "x86_64")]
mod here {
    use pulp::Arch;
    use pulp::x86::{V3, V4};
    use std::sync::OnceLock;

    /// 256 bits with fused multiply-add.
    #[inline]
    pub fn avx2() -> Option<Arch> {
        static ANSWER: OnceLock<Option<Arch>> = OnceLock::new();
        *ANSWER.get_or_init(|| V3::try_new().map(Arch::V3))
    }

    /// 512 bits.
    #[inline]
    pub fn avx512() -> Option<Arch> {
        static ANSWER: OnceLock<Option<Arch>> = OnceLock::new();
        *ANSWER.get_or_init(|| V4::try_new().map(Arch::V4))
    }

    pub fn neon() -> Option<Arch> {
        None
    }

    pub fn simd128() -> Option<Arch> {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod here {
    use pulp::Arch;

    pub fn avx2() -> Option<Arch> {
        None
    }

    pub fn avx512() -> Option<Arch> {
        None
    }

    /// What pulp finds on aarch64.
    pub fn neon() -> Option<Arch> {
        cfg!(target_arch = "aarch64").then(Arch::new)
    }

    /// What this build may use of WebAssembly's SIMD.
    pub fn simd128() -> Option<Arch> {
        cfg!(target_arch = "wasm32").then(Arch::new)
    }
}

pub use here::{avx2, avx512, neon, simd128};
