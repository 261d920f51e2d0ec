//! What is asked of memory beforehand: lines that will be read soon, and on Linux large pages for weights. A weight is read
//! whole for every product, and in pages of 4 KB much of that time goes into finding them, most of all in a virtual machine.
//! Elsewhere nothing is asked, and nothing is lost where the answer is no.

/// Asks the system to move what these numbers lie in, as it stands, to pages of 2 MB.
#[cfg(all(target_os = "linux", feature = "cli"))]
pub fn enlarge<T>(numbers: &[T]) {
    const LARGE: usize = 2 << 20;
    const COLLAPSE: libc::c_int = 25; // MADV_COLLAPSE, which not every libc names
    let range = numbers.as_ptr_range();
    let (start, end) = (range.start as usize / LARGE * LARGE, (range.end as usize).next_multiple_of(LARGE));
    // SAFETY: what lies there stays as it is, only its pages change; what is not mapped, or shares a page with what is not, is
    // left out. A kernel before 6.1 does not know the word.
    unsafe { libc::madvise(start as *mut libc::c_void, end - start, COLLAPSE) };
}

/// Nothing: this system has no such call.
#[cfg(not(all(target_os = "linux", feature = "cli")))]
pub fn enlarge<T>(_: &[T]) {}

/// Numbers of a cache line.
pub const LINE: usize = 16;

/// Asks memory for the line of a number that will be read soon. It need not be there.
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
