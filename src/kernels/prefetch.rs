//! Prefetching: loads cache lines before they are read, if the processor cannot predict the next reads. Does nothing on
//! processors without such an instruction.

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

/// As [`into_l1`], but into the second-level cache, for numbers that are read later.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn into_l2(at: *const f32) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: as in `into_l1`.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}
