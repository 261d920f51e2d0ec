//! Divides work among threads: loops over rows, tasks by number, and new vectors that are filled in pieces. The program sets
//! the number of threads; the default is one, as in a browser.

use super::choice::vectorized;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(1);

/// Sets the number of threads for operations; called once by the program.
pub fn set_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
}

/// [`set_threads`], with a pool that includes this thread, so that it also works and no operation puts it to sleep and wakes it
/// up. Must be called once, by the thread that will do the work.
pub fn work_on(n: usize) {
    set_threads(n);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n);
    // other threads would wait forever for a pool with only this thread
    let pool = if n > 1 { pool.use_current_thread() } else { pool };
    drop(pool.build_global()); // an error means that there is already a pool, which is then used
}

/// The number of threads that operations use.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// Calls `work(first_row, rows)` on pieces of `dst` with whole rows, on all threads, [`vectorized`]: mark closures
/// `#[inline(always)]`.
pub fn for_rows(dst: &mut [f32], row_len: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = dst.len() / row_len.max(1);
    let piece = rows.div_ceil(threads()).max(1);
    let work = |first, rows: &mut [f32]| {
        vectorized(
            #[inline(always)]
            || work(first, rows),
        )
    };
    if threads() == 1 || dst.len() < 1 << 14 {
        work(0, dst);
    } else {
        dst.par_chunks_mut(piece * row_len).enumerate().for_each(|(i, rows)| work(i * piece, rows));
    }
}

/// [`for_rows`] for two matrices with the same number of rows: `work(first_row, rows of a, rows of b)`.
pub fn for_row_pairs(
    (a, a_len): (&mut [f32], usize),
    (b, b_len): (&mut [f32], usize),
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let piece = (a.len() / a_len.max(1)).div_ceil(threads()).max(1);
    let work = |first, a: &mut [f32], b: &mut [f32]| {
        vectorized(
            #[inline(always)]
            || work(first, a, b),
        )
    };
    if threads() == 1 || a.len() < 1 << 14 {
        work(0, a, b);
    } else {
        let pairs = a.par_chunks_mut(piece * a_len).zip(b.par_chunks_mut(piece * b_len));
        pairs.enumerate().for_each(|(i, (a, b))| work(i * piece, a, b));
    }
}

/// Numbers of which several tasks write different parts. It is not a slice, because parts may be columns.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    first: *mut f32,
    len: usize,
}

// SAFETY: a pointer and a number; callers of `Shared::at` guarantee how the pointer is used.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// `len` numbers from `first` on.
    pub fn new(first: *mut f32, len: usize) -> Self {
        Self { first, len }
    }

    /// The pointer to number `at`.
    ///
    /// # Safety
    /// Writes through it must be inside the numbers, and no other task may write there.
    pub unsafe fn at(self, at: usize) -> *mut f32 {
        debug_assert!(at <= self.len, "{at} of {} numbers", self.len);
        // SAFETY: the caller stays inside.
        unsafe { self.first.add(at) }
    }
}

/// Numbers of a piece of [`new_rows`]: 64 KB, so that they are still in the cache when `work` runs.
const PIECE: usize = 1 << 14;

/// `n` new numbers in rows of `row_len`, made by `work(first_row, rows)` from zeros, on all threads, [`vectorized`]:
/// mark closures `#[inline(always)]`.
pub fn new_rows(n: usize, row_len: usize, work: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    new_row_pairs(
        (n, row_len),
        (0, 0),
        #[inline(always)]
        |first, rows, _| work(first, rows),
    )
    .0
}

/// [`new_rows`] of two matrices with the same number of rows; the second may be empty: `work(first_row, rows of a, rows of b)`.
pub fn new_row_pairs(
    (a_total, a_len): (usize, usize),
    (b_total, b_len): (usize, usize),
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) -> (Vec<f32>, Vec<f32>) {
    let (mut a, mut b) = (Vec::with_capacity(a_total), Vec::with_capacity(b_total));
    let piece = PIECE.div_ceil(a_len.max(b_len).max(1));
    let rows = a_total / a_len.max(1);
    assert!(rows * a_len == a_total && rows * b_len == b_total, "a row is not whole");
    let (a_at, b_at) = (Shared::new(a.as_mut_ptr(), a_total), Shared::new(b.as_mut_ptr(), b_total));
    let work = |i: usize| {
        let (first, n) = (i * piece, piece.min(rows - i * piece));
        // SAFETY: pieces have different rows, all below `rows`, and the vectors have room for them; after the zeros they are f32s.
        let [a, b] = [(a_at, a_len), (b_at, b_len)].map(|(at, len)| unsafe {
            at.at(first * len).write_bytes(0, n * len);
            std::slice::from_raw_parts_mut(at.at(first * len), n * len)
        });
        vectorized(
            #[inline(always)]
            || work(first, a, b),
        )
    };
    let pieces = rows.div_ceil(piece);
    if a_total < 1 << 14 {
        (0..pieces).for_each(work)
    } else {
        drop(for_tasks(pieces, work))
    }
    // SAFETY: the pieces are all the rows, and each was filled with zeros at least.
    unsafe {
        a.set_len(a_total);
        b.set_len(b_total);
    }
    (a, b)
}

/// `n` numbers that `fill` writes through the pointer.
///
/// # Safety
/// `fill` must write all of them.
pub(super) unsafe fn written(n: usize, fill: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(n);
    fill(numbers.as_mut_ptr());
    // SAFETY: the caller promises that `fill` wrote all n numbers, for which there is room.
    unsafe { numbers.set_len(n) };
    numbers
}

/// Runs `work(i)` for `0..n` on all threads and returns the results in order.
pub fn for_tasks<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if threads() == 1 || n < 2 { (0..n).map(work).collect() } else { (0..n).into_par_iter().map(&work).collect() }
}
