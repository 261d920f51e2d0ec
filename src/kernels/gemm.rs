//! Matrix products of f32, `dst = scale · a · b (+ dst)`, with the kernel for these sizes and this processor: `portable` if it
//! was chosen, `simd128` in WebAssembly, `gemv` for few rows, `tiles` for larger products if there are instructions for them,
//! `panels` if there is AVX-512, otherwise the crate `gemm`.

use super::choice::{Kernel, Products, Way, kernel};
use super::gemv::{self, FewRows};
pub use super::operands::Mat;
use super::operands::{Side, Target};
#[cfg(target_arch = "x86_64")]
use super::panels;
use super::platform;
use super::pool::{for_tasks, threads};
use super::portable;
use super::rounding::with_rounded;
#[cfg(target_arch = "wasm32")]
use super::simd128;
use super::tiles::{self, Tiled};
use gemm::Parallelism;
use half::bf16;
use std::cell::Cell;

/// `dst = scale · a · b`, or `dst += …` with `accumulate`; dst is row-major (a.rows, b.cols), rows `dst_stride` apart. In the way
/// that is in use for linear layers.
pub fn matmul(dst: &mut [f32], dst_stride: usize, a: Mat<'_>, b: Mat<'_>, scale: f32, accumulate: bool) {
    matmul_by(Way::in_use(), dst, dst_stride, a, b, scale, accumulate);
}

/// [`matmul`] in another way, such as [`kernel()`](super::choice::kernel) for f32; its kernel must be available.
pub fn matmul_by(
    by: impl Into<Way>,
    dst: &mut [f32],
    dst_stride: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
    accumulate: bool,
) {
    let (m, n) = (a.rows, b.cols);
    assert!(m == 0 || n == 0 || (m - 1) * dst_stride + n <= dst.len(), "product leaves its slice");
    assert!(m < 2 || dst_stride >= n, "rows of the product overlap");
    let target = Target { data: dst.as_mut_ptr(), stride: dst_stride, scale, accumulate };
    // SAFETY: dst is borrowed exclusively, and was just found large enough.
    unsafe { multiply(by.into(), target, a, b, threads()) }
}

/// Packing tiles is too slow for products this small in any dimension.
const TILED: usize = 16;

/// As [`matmul`] in f32 with the kernel in use, into memory that the caller divides among threads.
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
    // SAFETY: the caller guarantees dst.
    unsafe { multiply(kernel().into(), Target { data: dst, stride, scale, accumulate }, a, b, threads) }
}

/// # Safety
/// As [`matmul_raw`]'s: the target must be valid memory for a (a.rows, b.cols) block that nobody else uses.
pub(super) unsafe fn multiply(way: Way, target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    let (m, n, k, by) = (a.rows, b.cols, a.cols, way.kernel);
    let by_columns = a.col_stride == 1 && b.row_stride == 1;
    let small = by_columns && (m <= gemv::MAX_ROWS || n * k <= gemv::SMALL);
    if let Some(tiled) = tiled(way, m, n, k).filter(|_| !small) {
        let rows = Side { data: a.data.as_ptr(), len: m, k, stride: a.row_stride, k_stride: a.col_stride };
        let cols = Side { data: b.data.as_ptr(), len: n, k, stride: b.col_stride, k_stride: b.row_stride };
        // SAFETY: the kernel is available, so the processor has the instructions; `Mat` checked its bounds when it was made; the
        // caller guarantees the target.
        return unsafe { tiles::multiply(tiled, rows, cols, target, threads) };
    }
    if way.products == Products::Bf16 {
        // SAFETY: as the caller guarantees.
        return with_rounded([a, b], threads, |[a, b]| unsafe { multiply(by.into(), target, a, b, threads) });
    }
    if by == Kernel::Portable {
        // SAFETY: as the caller guarantees.
        return unsafe { multiply_portably(target, a, b, threads) };
    }
    #[cfg(target_arch = "wasm32")]
    if by == Kernel::Simd128 {
        // SAFETY: as the caller guarantees.
        return unsafe { simd128::multiply(target, a, simd128::Right::F32(b), threads) };
    }
    if small && by.arch().dispatch(gemv::Wide) {
        // SAFETY: as the caller guarantees.
        return unsafe { multiply_few(by, target, a, b, threads) };
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(by, Kernel::Avx512 | Kernel::Avx512Bf16) && a.col_stride == 1 && panels::pays(m, n, k) {
        let rows = Side { data: a.data.as_ptr(), len: m, k, stride: a.row_stride, k_stride: 1 };
        let cols = Side { data: b.data.as_ptr(), len: n, k, stride: b.col_stride, k_stride: b.row_stride };
        // SAFETY: the kernel is available, so the processor has AVX-512; the rest is as for tiles.
        return unsafe { panels::multiply(rows, cols, target, threads) };
    }
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    // SAFETY: `Mat` checked its bounds when it was made; the caller guarantees the target.
    unsafe { packed(by, target, a, b, parallelism) }
}

/// A product of bf16 with columns that are held as bf16. Returns false, and computes nothing, if there are no instructions that
/// multiply them as they are.
///
/// # Safety
/// As [`multiply`]'s, and `b` must be valid memory.
pub(super) unsafe fn multiply_held(way: Way, target: Target, a: Mat<'_>, b: Side<bf16>, threads: usize) -> bool {
    assert_eq!(a.cols, b.k, "inner dimensions differ");
    let (m, n, k) = (a.rows, b.len, b.k);
    let by_columns = a.col_stride == 1 && b.k_stride == 1;
    if way.products != Products::Bf16 || by_columns && n * k <= gemv::SMALL {
        return false;
    }
    let a = Side { data: a.data.as_ptr(), len: m, k, stride: a.row_stride, k_stride: a.col_stride };
    let few = way.kernel.multiplies_bf16() && platform::avx512_bf16() && by_columns && k.is_multiple_of(2);
    // SAFETY: the processor has the instructions, which `tiled` and `few` have asked; the rest is as the caller promises.
    unsafe {
        if let Some(tiled) = tiled(way, m, n, k) {
            tiles::multiply_held(tiled, a, b, target, threads);
        } else if few && (1..=gemv::MAX_ROWS).contains(&m) {
            // waking a thread takes as long as reading a weight of 100 KB
            tiles::multiply_few(a, b, target, if n * k < 1 << 16 { 1 } else { threads });
        } else {
            return false;
        }
    }
    true
}

/// The instructions for tiles, if these products are to use them.
fn tiled(way: Way, m: usize, n: usize, k: usize) -> Option<Tiled> {
    let bf16 = way.products == Products::Bf16;
    // f32 products of few numbers are faster without packing; those of bf16 would need rounded copies
    let wide = if bf16 { n >= 2 * TILED && k >= 2 * TILED } else { n > 2 * TILED && k > 2 * TILED };
    match way.kernel {
        _ if m <= TILED || !wide => None,
        Kernel::Amx if platform::amx() => Some(if bf16 { Tiled::AmxBf16 } else { Tiled::Amx }),
        Kernel::Avx512Bf16 if bf16 && platform::avx512_bf16() => Some(Tiled::Avx512Bf16),
        _ => None,
    }
}

/// [`portable::row`] for every row, on several threads if that is faster.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn multiply_portably(target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    let (m, n) = (a.rows, b.cols);
    let b = portable::Right::new(b);
    let row = |i: usize| {
        // SAFETY: the caller guarantees n numbers in each row; rows do not overlap, and each is written by one task.
        let dst = unsafe { std::slice::from_raw_parts_mut(target.from(i, 0).data, n) };
        portable::row(dst, a, i, &b, target.scale, target.accumulate);
    };
    if threads > 1 && m * n * a.cols > 1 << 17 {
        for_tasks(m, row);
    } else {
        (0..m).for_each(row);
    }
}

/// A product with the crate `gemm`, which packs both sides, with its kernel for `by`.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn packed(by: Kernel, c: Target, a: Mat<'_>, b: Mat<'_>, parallelism: Parallelism) {
    let strides = [c.stride, a.row_stride, a.col_stride, b.row_stride, b.col_stride].map(|stride| stride as isize);
    #[cfg(target_arch = "x86_64")]
    if by == Kernel::Avx2 {
        // SAFETY: as the caller guarantees.
        return unsafe { packed_avx2(c, a, b, strides, parallelism) };
    }
    let _ = by; // on other platforms the crate has one kernel, and its widest one is for AVX-512
    let [c_row, a_row, a_col, b_row, b_col] = strides;
    // SAFETY: as the caller guarantees.
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

/// The crate's AVX2 kernel, which it does not choose on processors with AVX-512. As in the crate, the transposed product is
/// computed if the target is row-major.
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
    // SAFETY: as the caller guarantees.
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
    /// Interleaved rows, kept so that products need no new memory. They are taken and put back, not borrowed, because a waiting
    /// thread may start another product.
    static INTERLEAVED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// A product of few rows with a weight that is not packed; its columns are divided among `threads`.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn multiply_few(by: Kernel, target: Target, a: Mat<'_>, b: Mat<'_>, threads: usize) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let mut kept = INTERLEAVED.take();
    let x = &gemv::interleave(&mut kept, a);
    // SAFETY: the caller guarantees the target; `b` outlives this function.
    let few = unsafe { FewRows::new(x, m, b, target) };
    // a multiple of a block's columns, and eight pieces per thread, so that other threads can take over work of a slow one
    let piece = n.div_ceil(8 * threads).next_multiple_of(6);
    // waking a thread takes as long as reading a weight of 100 KB
    if threads == 1 || m * n * k < 1 << 17 || m <= gemv::MAX_ROWS && n * k < 1 << 16 {
        by.arch().dispatch(few);
    } else {
        drop(for_tasks(n.div_ceil(piece), |i| by.arch().dispatch(few.columns(i * piece, piece))));
    }
    INTERLEAVED.set(kept);
}
