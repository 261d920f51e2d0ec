//! Matrix products of f32, `dst = scale · a · b (+ dst)`, by the kernel that suits sizes and processor: [`portable`] where it was
//! chosen, [`super::gemv`] for few rows, [`super::amx`] for larger products where there is a tile unit, the crate `gemm` otherwise.

use super::amx::{self, Side};
use super::choice::{Kernel, kernel};
use super::gemv::{self, FewRows};
use super::pool::{for_tasks, threads};
use super::portable;
use gemm::Parallelism;
use std::cell::Cell;

/// A read-only matrix in a slice, any strides.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

/// Where a product goes: row-major, rows `stride` apart, `scale · product`, added to what is there with `accumulate`.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub data: *mut f32,
    pub stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: a pointer and numbers. Whoever makes a target for a product vouches for the memory behind it, and each thread that gets a
// copy writes rows or columns of its own.
unsafe impl Send for Target {}
// SAFETY: as above; a shared target is only copied.
unsafe impl Sync for Target {}

impl Target {
    /// The part of the target that begins at this row and column.
    pub fn from(self, row: usize, col: usize) -> Self {
        Self { data: self.data.wrapping_add(row * self.stride + col), ..self }
    }
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
    matmul_by(kernel(), dst, dst_stride, a, b, scale, accumulate);
}

/// [`matmul`] by the kernel `by`, which must be available.
pub fn matmul_by(by: Kernel, dst: &mut [f32], dst_stride: usize, a: Mat<'_>, b: Mat<'_>, scale: f32, accumulate: bool) {
    let (m, n) = (a.rows, b.cols);
    assert!(m == 0 || n == 0 || (m - 1) * dst_stride + n <= dst.len(), "product leaves its slice");
    assert!(m < 2 || dst_stride >= n, "rows of the product overlap");
    let target = Target { data: dst.as_mut_ptr(), stride: dst_stride, scale, accumulate };
    // SAFETY: dst is borrowed exclusively, and was just found large enough.
    unsafe { multiply(by, target, a, b, threads()) }
}

/// Products this small in any dimension do not pay for packing tiles.
const TILED: usize = 16;

/// Numbers of a weight that is never packed, 8 KB of them: its products are summed in one order for any number of rows.
const SMALL: usize = 1 << 11;

/// As [`matmul`], by the kernel in use, into memory that the caller shares out among threads.
///
/// # Safety
/// `dst` must be valid for every element of the strided (a.rows, b.cols) block, and no other thread may touch those.
pub(super) unsafe fn matmul_raw(
    dst: *mut f32,
    stride: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
    accumulate: bool,
    threads: usize,
) {
    // SAFETY: the caller vouches for dst.
    unsafe { multiply(kernel(), Target { data: dst, stride, scale, accumulate }, a, b, threads) }
}

/// # Safety
/// As [`matmul_raw`]'s: the target must be valid memory for a (a.rows, b.cols) block that nobody else uses.
unsafe fn multiply(by: Kernel, target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if by == Kernel::Portable {
        // SAFETY: the caller's word.
        return unsafe { multiply_portably(target, a, b, threads) };
    }
    let by_columns = a.col_stride == 1 && b.row_stride == 1;
    if by_columns && (m <= gemv::MAX_ROWS || n * k <= SMALL) && by.arch().dispatch(gemv::Wide) {
        // SAFETY: the caller's word.
        return unsafe { multiply_few(by, target, a, b, threads) };
    }
    if by == Kernel::Amx && m > TILED && n > 2 * TILED && k > 2 * TILED && amx::available() {
        let rows = Side { data: a.data.as_ptr(), len: m, k, stride: a.row_stride, k_stride: a.col_stride };
        let cols = Side { data: b.data.as_ptr(), len: n, k, stride: b.col_stride, k_stride: b.row_stride };
        // SAFETY: the unit is there; `Mat` checked its bounds when it was made; the caller vouches for the target.
        return unsafe { amx::multiply(rows, cols, target, threads) };
    }
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    // SAFETY: `Mat` checked its bounds when it was made; the caller vouches for the target.
    unsafe { packed(by, target, a, b, parallelism) }
}

/// [`portable::row`] for every row, shared out among `threads` where that pays.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn multiply_portably(target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    let (m, n) = (a.rows, b.cols);
    let b = portable::Right::new(b);
    let row = |i: usize| {
        // SAFETY: the caller vouches for n numbers in each row; rows do not overlap, and each is written by one task.
        let dst = unsafe { std::slice::from_raw_parts_mut(target.from(i, 0).data, n) };
        portable::row(dst, a, i, &b, target.scale, target.accumulate);
    };
    if threads > 1 && m * n * a.cols > 1 << 17 {
        for_tasks(m, row);
    } else {
        (0..m).for_each(row);
    }
}

/// A product by the crate `gemm`, which packs both sides: by its kernel for `by`.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn packed(by: Kernel, c: Target, a: Mat<'_>, b: Mat<'_>, parallelism: Parallelism) {
    let strides = [c.stride, a.row_stride, a.col_stride, b.row_stride, b.col_stride].map(|stride| stride as isize);
    #[cfg(target_arch = "x86_64")]
    if by == Kernel::Avx2 {
        // SAFETY: the caller's word.
        return unsafe { packed_avx2(c, a, b, strides, parallelism) };
    }
    let _ = by; // elsewhere the crate has one kernel, and its widest one is that of AVX-512
    let [c_row, a_row, a_col, b_row, b_col] = strides;
    // SAFETY: the caller's word.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            c.data,
            1,
            c_row,
            c.accumulate,
            a.data.as_ptr(),
            a_col,
            a_row,
            b.data.as_ptr(),
            b_col,
            b_row,
            1.0,
            c.scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The crate's AVX2 kernel, which it does not choose itself on a processor that has AVX-512. As the crate does, the transposed
/// product is computed where the target is row-major.
///
/// # Safety
/// As [`multiply`]'s, and the processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
unsafe fn packed_avx2(c: Target, a: Mat<'_>, b: Mat<'_>, strides: [isize; 5], parallelism: Parallelism) {
    use gemm_common::gemm::gemm_basic_generic;
    use gemm_common::simd::{MixedSimd, V3};
    use gemm_f32::microkernel::fma::f32 as fma;
    const LANES: usize = 8;
    let Some(simd) = <V3 as MixedSimd<f32, f32, f32, f32>>::try_new() else { return };
    let [c_row, a_row, a_col, b_row, b_col] = strides;
    let multiply = gemm_basic_generic::<
        V3,
        f32,
        LANES,
        { fma::MR_DIV_N * LANES },
        { fma::NR },
        { fma::MR_DIV_N },
        { fma::H_M },
        { fma::H_N },
    >;
    // SAFETY: the caller's word.
    unsafe {
        multiply(
            simd,
            b.cols,
            a.rows,
            a.cols,
            c.data,
            c_row,
            1,
            c.accumulate,
            b.data.as_ptr(),
            b_row,
            b_col,
            a.data.as_ptr(),
            a_row,
            a_col,
            1.0,
            c.scale,
            false,
            false,
            false,
            |x, y, z| x * y + z,
            &fma::UKR,
            &fma::H_UKR,
            false,
            parallelism,
        );
    }
}

thread_local! {
    /// Interleaved rows, kept so that no product asks the system for memory. Taken and put back, not borrowed: a thread that
    /// waits for others may begin another product.
    static INTERLEAVED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// A product of few rows with a weight as it lies in memory; columns are shared out among `threads`.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn multiply_few(by: Kernel, target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let mut kept = INTERLEAVED.take();
    let x = &gemv::interleave(&mut kept, a);
    // SAFETY: the caller vouches for the target; `b` outlives this function.
    let few = unsafe { FewRows::new(x, m, b, target) };
    // a multiple of the columns that a block has, eight pieces a thread, so that a thread that is held up is helped out
    let piece = n.div_ceil(8 * threads).next_multiple_of(6);
    // waking a thread takes as long as reading a weight of 100 KB
    if threads == 1 || m * n * k < 1 << 17 || m <= gemv::MAX_ROWS && n * k < 1 << 16 {
        by.arch().dispatch(few);
    } else {
        drop(for_tasks(n.div_ceil(piece), |i| by.arch().dispatch(few.columns(i * piece, piece))));
    }
    INTERLEAVED.set(kept);
}
