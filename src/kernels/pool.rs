//! Divides work among threads: loops over rows, tasks by number, and new vectors that are filled in pieces. The program sets
//! the number of threads; the default is one. Natively the threads are rayon's, in a browser those of `tab`.
//!
//! In a browser, std is compiled for one thread: tasks must not use its locks, or thread-locals other than `PerThread`.

use super::choice::vectorized;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(all(target_arch = "wasm32", feature = "browser"))]
use super::tab as threads_of;
#[cfg(not(all(target_arch = "wasm32", feature = "browser")))]
mod threads_of {
    use rayon::prelude::*;

    pub fn run(n: usize, task: impl Fn(usize) + Sync + Send) {
        (0..n).into_par_iter().for_each(task);
    }

    pub fn here() -> usize {
        0
    }
}

/// The most threads that a tab uses; natively each thread has thread-locals of its own.
const MOST_IN_TAB: usize = if cfg!(target_arch = "wasm32") { 4 } else { 1 };

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

/// As [`work_on`], in a browser: with the threads that the worker was started with.
pub fn work_in_tab() {
    #[cfg(feature = "browser")]
    set_threads(super::tab::start(MOST_IN_TAB));
}

/// The number of threads that operations use.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// Values to keep in a `thread_local`, which in a browser is the same for all threads: each takes and puts back its own.
pub(super) struct PerThread<T>([Cell<Option<T>>; MOST_IN_TAB]);

impl<T: Default> PerThread<T> {
    pub const fn new() -> Self {
        Self([const { Cell::new(None) }; MOST_IN_TAB])
    }

    /// This thread's value, which it keeps no longer.
    pub fn take(&self) -> T {
        self.0[threads_of::here()].take().unwrap_or_default()
    }

    pub fn put(&self, value: T) {
        self.0[threads_of::here()].set(Some(value));
    }
}

/// Calls `work(first_row, rows)` on pieces of `dst` with whole rows, on all threads, [`vectorized`]: mark closures
/// `#[inline(always)]`.
pub fn for_rows(dst: &mut [f32], row_len: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    for_row_pairs(
        (dst, row_len),
        (&mut [], 0),
        #[inline(always)]
        |first, rows, _| work(first, rows),
    );
}

/// [`for_rows`] for two matrices with the same number of rows; the second may be empty: `work(first_row, rows of a, rows of b)`.
pub fn for_row_pairs(
    (a, a_len): (&mut [f32], usize),
    (b, b_len): (&mut [f32], usize),
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let work = |first, a: &mut [f32], b: &mut [f32]| {
        vectorized(
            #[inline(always)]
            || work(first, a, b),
        )
    };
    if threads() == 1 || a.len() < 1 << 14 {
        return work(0, a, b);
    }
    let (a, b) = ((Shared::new(a.as_mut_ptr(), a.len()), a_len), (Shared::new(b.as_mut_ptr(), b.len()), b_len));
    let pieces = Pieces::new(a, b, |rows| rows.div_ceil(threads()));
    threads_of::run(pieces.count(), |i| {
        // SAFETY: each piece is taken once, of numbers that this function has borrowed.
        let (first, a, b) = unsafe { pieces.take(i, false) };
        work(first, a, b)
    });
}

/// Two matrices with the same number of rows, which are divided into pieces of whole rows.
struct Pieces {
    a: (Shared, usize),
    b: (Shared, usize),
    rows: usize,
    piece: usize,
}

impl Pieces {
    /// Of a and b as (numbers, length of a row), with `piece(rows)` rows in each piece.
    fn new(a: (Shared, usize), b: (Shared, usize), piece: impl FnOnce(usize) -> usize) -> Self {
        let rows = a.0.len / a.1.max(1);
        assert!(rows * a.1 == a.0.len && rows * b.1 == b.0.len, "a row is not whole");
        Self { a, b, rows, piece: piece(rows).max(1) }
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.piece)
    }

    /// Piece `i`: its first row, its rows of a and those of b, as `zeros` or as they are.
    ///
    /// # Safety
    /// Each piece may be taken once, while both matrices are valid memory that nobody else uses. It must hold numbers if they
    /// do not become zeros.
    unsafe fn take<'a>(&self, i: usize, zeros: bool) -> (usize, &'a mut [f32], &'a mut [f32]) {
        let (first, n) = (i * self.piece, self.piece.min(self.rows - i * self.piece));
        // SAFETY: pieces have different rows, all below `rows`; zeros are f32s.
        let [a, b] = [self.a, self.b].map(|(at, len)| unsafe {
            if zeros {
                at.at(first * len).write_bytes(0, n * len);
            }
            std::slice::from_raw_parts_mut(at.at(first * len), n * len)
        });
        (first, a, b)
    }
}

/// Numbers of which several tasks write different parts. It is not a slice, because parts may be columns.
pub(super) struct Shared<T = f32> {
    first: *mut T,
    len: usize,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: a pointer and a number; callers of `Shared::at` guarantee how the pointer is used.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// `len` numbers from `first` on.
    pub fn new(first: *mut T, len: usize) -> Self {
        Self { first, len }
    }

    /// The pointer to number `at`.
    ///
    /// # Safety
    /// Writes through it must be inside the numbers, and no other task may write there.
    pub unsafe fn at(self, at: usize) -> *mut T {
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
    let (a_at, b_at) = (Shared::new(a.as_mut_ptr(), a_total), Shared::new(b.as_mut_ptr(), b_total));
    let pieces = Pieces::new((a_at, a_len), (b_at, b_len), |_| PIECE.div_ceil(a_len.max(b_len).max(1)));
    let work = |i: usize| {
        // SAFETY: each piece is taken once, the vectors have room for all, and nobody else knows them yet.
        let (first, a, b) = unsafe { pieces.take(i, true) };
        vectorized(
            #[inline(always)]
            || work(first, a, b),
        )
    };
    if threads() == 1 || a_total < 1 << 14 {
        (0..pieces.count()).for_each(work)
    } else {
        threads_of::run(pieces.count(), work)
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
    if threads() == 1 || n < 2 {
        return (0..n).map(work).collect();
    }
    let mut results: Vec<T> = Vec::with_capacity(n);
    let to = Shared::new(results.as_mut_ptr(), n);
    // SAFETY: there is room for n results, and each task writes its own.
    threads_of::run(n, |i| unsafe { to.at(i).write(work(i)) });
    // SAFETY: all n were written; after a panic of a task, this is not reached.
    unsafe { results.set_len(n) };
    results
}
