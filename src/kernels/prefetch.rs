//! Prefetching: asks for cache lines before they are read, since what a product reads next is not what the processor foresees. On
//! processors without such an instruction nothing happens.

/// Numbers of a cache line.
pub const LINE: usize = 16;

/// Prefetches the line of a number that will be read soon, into the first-level cache. The address need not be valid.
#[inline(always)]
pub fn into_l1(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and does not fault at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// As [`into_l1`], into the second-level cache, for a number that is read after others have filled the first.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn into_l2(at: *const f32) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: as in `into_l1`.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}
