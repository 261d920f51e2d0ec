//! Lines of memory that are asked for before they are read: a weight comes from far away, and what a product reads next is not
//! what the processor foresees. Where there is no such instruction nothing is asked, and nothing is lost.

/// Numbers of a cache line.
pub const LINE: usize = 16;

/// Asks for the line of a number that will be read at once. It need not be there.
#[inline(always)]
pub fn ask(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: nothing is read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// As [`ask`], of a number that is read after others have filled the first-level cache: into the second.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn ask_early(at: *const f32) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: nothing is read.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}
