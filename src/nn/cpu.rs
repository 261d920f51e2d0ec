//! The ground under our own operations: f32 slices out of tensors, strided matrix products (crate `gemm`, or `tiles` where
//! the processor has them), work split over rows, loops compiled for every SIMD width (crate `pulp`). Doors say how many
//! threads there are; the default is one, and a browser keeps it.

use super::few_rows::{self, FewRows};
use super::tiles::{self, Side, Target};
use candle_core::{CpuStorage, Layout, Shape, Storage, Tensor};
use pulp::Arch;
use rayon::prelude::*;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(1);

/// How many threads operations may use; set once by a door.
pub fn set_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
}

/// [`set_threads`], with a pool that this thread belongs to: what it begins runs on it too, and no operation puts it to sleep and
/// wakes it up. To be called once, by the thread that will do the work.
pub fn work_on(n: usize) {
    set_threads(n);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n);
    // a pool of this thread alone would keep waiting whoever else asks
    let pool = if n > 1 { pool.use_current_thread() } else { pool };
    drop(pool.build_global()); // an error says that there is one already, and that is the one then
}

/// How many threads operations use.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// A read-only matrix in a slice, any strides.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Row-major (rows, cols), rows `row_stride` apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        let mat = Self { data, rows, cols, row_stride, col_stride: 1 };
        assert!(rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len(), "matrix leaves its slice");
        mat
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `dst = scale · a · b`, or `dst += …` with `accumulate`; dst is row-major (a.rows, b.cols), rows `dst_stride` apart.
pub fn matmul(dst: &mut [f32], dst_stride: usize, a: Mat<'_>, b: Mat<'_>, scale: f32, accumulate: bool) {
    let (m, n) = (a.rows, b.cols);
    assert!(m == 0 || n == 0 || (m - 1) * dst_stride + n <= dst.len(), "product leaves its slice");
    // SAFETY: dst is exclusively borrowed and large enough.
    unsafe { matmul_raw(dst.as_mut_ptr(), dst_stride, a, b, scale, accumulate, threads()) }
}

/// Products this small in any dimension do not pay for packing tiles.
const TILED: usize = 16;

/// Numbers of a weight that is never packed, 8 KB of them: its products are summed in one order for any number of rows.
const SMALL: usize = 1 << 11;

/// As [`matmul`], into memory that the caller shares out among threads.
///
/// # Safety
/// `dst` must be valid for every element of the strided (a.rows, b.cols) block, and no other thread may touch those.
pub unsafe fn matmul_raw(
    dst: *mut f32,
    dst_stride: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
    accumulate: bool,
    threads: usize,
) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let by_columns = a.col_stride == 1 && b.row_stride == 1;
    let few = by_columns && (m <= few_rows::MOST || n * k <= SMALL) && wide();
    if !few && m > TILED && n > 2 * TILED && k > 2 * TILED && tiles::available() {
        let rows = Side { data: a.data.as_ptr(), len: m, k, stride: a.row_stride, k_stride: a.col_stride };
        let cols = Side { data: b.data.as_ptr(), len: n, k, stride: b.col_stride, k_stride: b.row_stride };
        let target = Target { data: dst, stride: dst_stride, scale, accumulate };
        // SAFETY: as below.
        return unsafe { tiles::multiply(rows, cols, target, threads) };
    }
    // SAFETY: `Mat` checked its bounds when made, the caller vouches for dst.
    if few {
        return unsafe { multiply_few(dst, dst_stride, a, b, scale, accumulate, threads) };
    }
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: `Mat` checked its bounds when made, the caller vouches for dst.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            dst,
            1,
            dst_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Runs `work` as compiled for the widest SIMD of this processor: `work` itself and what is inlined into it. The bits are the
/// same at every width, since Rust never reorders or fuses what is written.
#[inline(always)]
pub fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    arch().dispatch(work)
}

thread_local! {
    /// Rows side by side, kept so that no product asks the system for memory. Taken and put back, not borrowed: a thread that
    /// waits for others may begin another product.
    static BESIDE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// [`matmul_raw`] of few rows, where SIMD is wide; columns are shared out among `threads`.
unsafe fn multiply_few(
    dst: *mut f32,
    dst_stride: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
    accumulate: bool,
    threads: usize,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let mut kept = BESIDE.take();
    // SAFETY: `a`'s rows are there.
    let x = &unsafe { few_rows::lay_beside(&mut kept, a.data.as_ptr(), a.row_stride, m, k) };
    let (w, w_stride) = (b.data.as_ptr(), b.col_stride);
    let few = FewRows { x, m, w, w_stride, n, y: dst, y_stride: dst_stride, scale, accumulate };
    // a multiple of the columns that a block has, eight pieces a thread, so that a thread that is held up is helped out
    let piece = n.div_ceil(8 * threads).next_multiple_of(6);
    // waking a thread takes as long as reading a weight of 100 KB
    if threads == 1 || m * n * k < 1 << 17 || m <= few_rows::MOST && n * k < 1 << 16 {
        arch().dispatch(few);
    } else {
        drop(for_tasks(n.div_ceil(piece), |i| arch().dispatch(few.columns(i * piece, piece))));
    }
    BESIDE.set(kept);
}

fn wide() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| arch().dispatch(few_rows::Wide))
}

fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(Arch::new)
}

/// Calls `work(first_row, rows)` on pieces of `dst` of whole rows, over all threads, [`vectorized`]: mark closures
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

/// [`for_rows`] over two matrices of as many rows: `work(first_row, rows of a, rows of b)`.
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

/// A pointer that tasks write disjoint parts through.
#[derive(Clone, Copy)]
pub(super) struct Out(pub *mut f32);
// SAFETY: every task writes its own part: in `attention` its segment's rows and its head's columns (segments do not share query
// rows, nor key rows where gradients of keys are written), in `weight` its columns of a product, here its rows.
unsafe impl Send for Out {}
unsafe impl Sync for Out {}

impl Out {
    /// The pointer `at` elements on. (A method, so that closures capture the whole wrapper.)
    pub fn at(self, at: usize) -> *mut f32 {
        // SAFETY: callers stay inside the allocation, as the plan was checked against the shapes.
        unsafe { self.0.add(at) }
    }
}

/// Numbers of a piece of [`new_rows`]: 64 KB, so that they are still in the cache when `work` comes.
const PIECE: usize = 1 << 14;

/// `n` new numbers in rows of `row_len`, made by `work(first_row, rows)` from zeros, over all threads, [`vectorized`]:
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

/// [`new_rows`] of two matrices of as many rows, the second one perhaps empty: `work(first_row, rows of a, rows of b)`.
pub fn new_row_pairs(
    (a_total, a_len): (usize, usize),
    (b_total, b_len): (usize, usize),
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) -> (Vec<f32>, Vec<f32>) {
    let (mut a, mut b) = (Vec::with_capacity(a_total), Vec::with_capacity(b_total));
    let piece = PIECE.div_ceil(a_len.max(b_len).max(1));
    let rows = a_total / a_len.max(1);
    assert!(rows * a_len == a_total && rows * b_len == b_total, "a row is not whole");
    let (a_at, b_at) = (Out(a.as_mut_ptr()), Out(b.as_mut_ptr()));
    let work = |i: usize| {
        let (first, n) = (i * piece, piece.min(rows - i * piece));
        // SAFETY: each piece is inside, and no other's; zeros are f32s.
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
    // SAFETY: all pieces have been written.
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
pub unsafe fn written(n: usize, fill: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(n);
    fill(numbers.as_mut_ptr());
    // SAFETY: the caller's word.
    unsafe { numbers.set_len(n) };
    numbers
}

/// Runs `work(i)` for `0..n` over all threads and returns the results in order.
pub fn for_tasks<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if threads() == 1 || n < 2 { (0..n).map(work).collect() } else { (0..n).into_par_iter().map(&work).collect() }
}

/// The f32s of a contiguous CPU tensor inside a custom operation.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        (CpuStorage::F32(_), None) => candle_core::bail!("operation needs a contiguous tensor, got {layout:?}"),
        _ => candle_core::bail!("operation needs f32 on the CPU"),
    }
}

/// Runs `work` on the f32s of a contiguous CPU tensor.
pub fn with_slice<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => Ok(work(slice(cpu, layout)?)),
        _ => candle_core::bail!("operation needs a tensor on the CPU"),
    }
}

/// A new storage of a custom operation.
pub fn stored(data: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape.into())
}
