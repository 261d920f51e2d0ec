//! The SIMD widths of this processor and its tile unit. `None` if it does not have a width.

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

    /// AVX-512's instruction for products of bf16.
    #[inline]
    pub fn avx512_bf16() -> bool {
        is_x86_feature_detected!("avx512bf16")
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

    pub fn avx512_bf16() -> bool {
        false
    }

    /// The width that pulp finds on aarch64.
    pub fn neon() -> Option<Arch> {
        cfg!(target_arch = "aarch64").then(Arch::new)
    }

    /// WebAssembly's SIMD, if this build uses it.
    pub fn simd128() -> Option<Arch> {
        cfg!(target_arch = "wasm32").then(Arch::new)
    }
}

pub use here::{avx2, avx512, avx512_bf16, neon, simd128};

/// Whether this process may use the tile unit. Asks the system once.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub fn amx() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        // bits 22 and 24 of edx: AMX-BF16 and AMX-TILE (Intel SDM, CPUID leaf 7)
        let (most, features) = (__cpuid(0).eax, __cpuid_count(7, 0).edx);
        vectors && most >= 7 && features >> 22 & 1 == 1 && features >> 24 & 1 == 1 && permitted()
    })
}

/// Asks Linux for the unit's 8 KB of registers: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn permitted() -> bool {
    let result: i64;
    // SAFETY: the system call changes only this permission; rcx and r11, which it overwrites, are declared.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") 158i64 => result, in("rdi") 0x1023, in("rsi") 18,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn amx() -> bool {
    false
}
