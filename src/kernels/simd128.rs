//! Matrix products with WebAssembly's 128-bit SIMD, as dot products of rows of the left side and columns of the right one. In
//! `x Wᵀ`, their numbers are side by side, and nothing is copied. Other sides are transposed first, and compact weights widened, a
//! few columns at a time, which stay in the cache.
//!
//! Short sums, as in LoRA's backward pass, are of multiples of the right side's rows, if those have their numbers side by side.
//!
//! Up to 16 rows, and for small weights, each number of the result is summed in an order that depends only on the number of
//! terms: a row gives the same numbers alone and with others.

#![allow(clippy::needless_range_loop)] // the same rows and columns of several arrays

use super::gemv::{MAX_ROWS, SMALL};
use super::operands::{Mat, Target};
use super::pool::{PerThread, for_tasks};
use super::prefetch::LINE;
use super::quantized::Compact;
use std::arch::wasm32::*;
use std::ops::Range;

/// Rows of the left side that are multiplied with the same columns.
const ROWS: usize = 256;

/// Columns of the right side that are multiplied with a pair of rows before the next pair.
const COLS: usize = 32;

/// Longest sums of [`short_sums`]: of longer ones, the right side's rows are too far apart in memory.
const SHORT: usize = 64;

/// Rows of a compact weight that are widened before they are transposed.
const WIDENED: usize = 16;

/// The right side of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    F32(Mat<'a>),
    /// The matrix, transposed: its rows are the columns of the right side.
    Transposed(&'a Compact),
    Compact(&'a Compact),
}

impl Right<'_> {
    fn cols(&self) -> usize {
        match self {
            Self::F32(b) => b.cols,
            Self::Transposed(held) => held.dims().0,
            Self::Compact(held) => held.dims().1,
        }
    }

    /// The address of the first column and the stride to the next one, for columns that have their `k` numbers side by side:
    /// those of the right side, or copies in `kept`.
    fn columns(&self, cols: Range<usize>, k: usize, kept: &mut Vec<f32>) -> (*const f32, usize) {
        match self {
            Self::F32(b) if b.row_stride == 1 => {
                (b.data.as_ptr().wrapping_add(cols.start * b.col_stride), b.col_stride)
            }
            Self::F32(b) => transposed(&b.data[cols.start.min(b.data.len())..], b.row_stride, (k, cols.len()), kept),
            Self::Transposed(held) => {
                let wide = room(kept, cols.len() * k);
                held.widen(cols, 0..k, wide);
                (wide.as_ptr(), k)
            }
            Self::Compact(held) => {
                let (n, stride) = (cols.len(), stride_of(k));
                let (to, wide) = room(kept, n * stride + n * WIDENED).split_at_mut(n * stride);
                for first in (0..k).step_by(WIDENED) {
                    let rows = WIDENED.min(k - first);
                    held.widen(first..first + rows, cols.clone(), &mut wide[..rows * n]);
                    transpose(wide, n, (rows, n), &mut to[first..], stride);
                }
                (to.as_ptr(), stride)
            }
        }
    }
}

thread_local! {
    /// Copied and widened numbers, kept so that products need no new memory. They are taken and put back, not borrowed, because a
    /// waiting thread may start another product.
    static KEPT: PerThread<[Vec<f32>; 2]> = const { PerThread::new() };
}

/// `n` of the kept numbers, with any contents.
fn room(kept: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if kept.len() < n {
        kept.resize(n, 0.0);
    }
    &mut kept[..n]
}

/// At least `k`, an odd number of cache lines: lines of different copied columns are in different parts of the cache.
fn stride_of(k: usize) -> usize {
    (k.div_ceil(LINE) | 1) * LINE
}

/// [`transpose`] into `kept`: the address of the result and its stride.
fn transposed(from: &[f32], stride: usize, dims: (usize, usize), kept: &mut Vec<f32>) -> (*const f32, usize) {
    let to_stride = stride_of(dims.0);
    let to = room(kept, dims.1 * to_stride);
    transpose(from, stride, dims, to, to_stride);
    (to.as_ptr(), to_stride)
}

/// `to[j][i] = from[i][j]` for (rows, cols) = `dims` of `from`, with the given strides between the rows of both.
fn transpose(from: &[f32], stride: usize, (rows, cols): (usize, usize), to: &mut [f32], to_stride: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(
        (rows - 1) * stride + cols <= from.len() && (cols - 1) * to_stride + rows <= to.len(),
        "outside the slices"
    );
    for i in (0..rows).step_by(4) {
        for j in (0..cols).step_by(4) {
            if i + 4 > rows || j + 4 > cols {
                for (i, j) in (i..rows.min(i + 4)).flat_map(|i| (j..cols.min(j + 4)).map(move |j| (i, j))) {
                    to[j * to_stride + i] = from[i * stride + j];
                }
                continue;
            }
            // SAFETY: rows i to i + 3 and columns j to j + 3 are inside both slices, as was just checked.
            unsafe {
                let from = from.as_ptr().add(i * stride + j);
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| v128_load(from.add(i * stride).cast()));
                let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
                let (ef, gh) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
                let to = to.as_mut_ptr().add(j * to_stride + i);
                v128_store(to.cast(), i64x2_shuffle::<0, 2>(ab, cd));
                v128_store(to.add(to_stride).cast(), i64x2_shuffle::<1, 3>(ab, cd));
                v128_store(to.add(2 * to_stride).cast(), i64x2_shuffle::<0, 2>(ef, gh));
                v128_store(to.add(3 * to_stride).cast(), i64x2_shuffle::<1, 3>(ef, gh));
            }
        }
    }
}

/// The product of `a` with `b`, whose columns are divided among `threads`.
///
/// # Safety
/// The target must be valid memory for an (a.rows, columns of b) block that nobody else uses.
pub unsafe fn multiply(target: Target, a: Mat<'_>, b: Right<'_>, threads: usize) {
    let n = b.cols();
    let small = threads == 1 || a.rows * n * a.cols < 1 << 17;
    let piece = if small { n.max(1) } else { n.div_ceil(4 * threads).next_multiple_of(COLS) };
    // SAFETY: as the caller promises; each piece writes its own columns.
    let piece_of = |i: usize| unsafe { columns(target, a, b, i * piece..(i * piece + piece).min(n)) };
    if small {
        piece_of(0);
    } else {
        drop(for_tasks(n.div_ceil(piece), piece_of));
    }
}

/// Some columns of a product.
///
/// # Safety
/// As [`multiply`]'s; the columns are below b's.
unsafe fn columns(target: Target, a: Mat<'_>, b: Right<'_>, cols: Range<usize>) {
    let k = a.cols;
    if let Right::F32(b) = b
        && b.row_stride != 1
        && b.col_stride == 1
        && k <= SHORT
    {
        // SAFETY: as the caller promises.
        return unsafe { short_sums(target, a, b, cols) };
    }
    let few = a.rows <= MAX_ROWS || b.cols() * k <= SMALL;
    // widened columns stay in the first-level cache if each is used only a few times
    let at_once = if few && matches!(b, Right::Transposed(_)) { 4 } else { COLS };
    let [mut left, mut right] = KEPT.with(PerThread::take);
    for first in (0..a.rows).step_by(ROWS) {
        let rows = ROWS.min(a.rows - first);
        let (x, x_stride) = if a.col_stride == 1 {
            (a.data.as_ptr().wrapping_add(first * a.row_stride), a.row_stride)
        } else {
            transposed(&a.data[first.min(a.data.len())..], a.col_stride, (k, rows), &mut left)
        };
        for j in cols.clone().step_by(at_once) {
            let n = at_once.min(cols.end - j);
            let (w, w_stride) = b.columns(j..j + n, k, &mut right);
            if few {
                for c in 0..n {
                    let w = w.wrapping_add(c * w_stride);
                    for i in (0..rows).step_by(2) {
                        let x = |r: usize| x.wrapping_add((i + r) * x_stride);
                        let target = target.from(first + i, j + c);
                        // SAFETY: rows and columns have k numbers, and the target has these rows and this column.
                        unsafe {
                            if i + 1 < rows {
                                column([x(0), x(1)], w, k, target);
                            } else {
                                column([x(0)], w, k, target);
                            }
                        }
                    }
                }
                continue;
            }
            for i in (0..rows).step_by(2) {
                // eight sums at a time: of two rows and four columns
                for c in (0..n).step_by(4) {
                    let x = |r: usize| x.wrapping_add((i + r) * x_stride);
                    // if columns are missing, the last one is computed several times
                    let w = |next: usize| w.wrapping_add((c + next).min(n - 1) * w_stride);
                    let target = target.from(first + i, j + c);
                    // SAFETY: rows and columns have k numbers, and the target has these rows and columns.
                    unsafe {
                        if i + 1 < rows {
                            tile([x(0), x(1)], std::array::from_fn::<_, 4, _>(w), k, target, n - c);
                        } else {
                            tile([x(0)], std::array::from_fn::<_, 4, _>(w), k, target, n - c);
                        }
                    }
                }
            }
        }
    }
    KEPT.with(|kept| kept.put([left, right]));
}

/// Dot products of R rows and one column. Four registers of sums, each of every sixteenth term: so a weight is read from memory
/// in its order.
///
/// # Safety
/// Rows and column must have `k` numbers; the target must be valid memory for R rows of one number.
#[inline(never)] // a function of its own has enough registers
unsafe fn column<const R: usize>(x: [*const f32; R], w: *const f32, k: usize, target: Target) {
    const S: usize = 4;
    let mut sums = [[f32x4_splat(0.0); S]; R];
    let whole = k / (4 * S) * (4 * S);
    // SAFETY: reads numbers below k; the target is as the caller promises.
    unsafe {
        for t in (0..whole).step_by(4 * S) {
            for s in 0..S {
                let w = v128_load(w.add(t).add(4 * s).cast());
                for r in 0..R {
                    sums[r][s] = f32x4_add(sums[r][s], f32x4_mul(v128_load(x[r].add(t).add(4 * s).cast()), w));
                }
            }
        }
        for t in (whole..k).step_by(4) {
            let w = part(w.add(t), k - t);
            for r in 0..R {
                sums[r][0] = f32x4_add(sums[r][0], f32x4_mul(part(x[r].add(t), k - t), w));
            }
        }
        for r in 0..R {
            let [a, b, c, d] = sums[r];
            let sum = together([f32x4_add(f32x4_add(a, b), f32x4_add(c, d)); 4]);
            put(target.from(r, 0), sum, 1);
        }
    }
}

/// Some columns of a product with a right side whose rows have their numbers side by side.
///
/// # Safety
/// As [`columns`]'s.
unsafe fn short_sums(target: Target, a: Mat<'_>, b: Mat<'_>, cols: Range<usize>) {
    for j in cols.clone().step_by(8) {
        let n = (cols.end - j).min(8);
        let w = |t: usize| b.data.as_ptr().wrapping_add(t * b.row_stride + j);
        for i in (0..a.rows).step_by(4) {
            let x = |r: usize, t: usize| a.data[(i + r) * a.row_stride + t * a.col_stride];
            let target = target.from(i, j);
            // SAFETY: `Mat` checked that row t of b has n numbers from column j on; the target has these rows and columns.
            unsafe {
                if i + 4 <= a.rows {
                    multiples::<4>(x, w, a.cols, target, n);
                } else {
                    (0..a.rows - i).for_each(|r| multiples::<1>(|_, t| x(r, t), w, a.cols, target.from(r, 0), n));
                }
            }
        }
    }
}

/// Sums of multiples, `x(r, t)` times the `n` numbers at `w(t)` for t below `k`, at most eight, in R rows of the target.
///
/// # Safety
/// Those numbers and the target must be valid memory.
#[inline(always)]
unsafe fn multiples<const R: usize>(
    x: impl Fn(usize, usize) -> f32,
    w: impl Fn(usize) -> *const f32,
    k: usize,
    target: Target,
    n: usize,
) {
    let mut sums = [[f32x4_splat(0.0); 2]; R];
    for t in 0..k {
        // SAFETY: as the caller promises.
        let w = unsafe {
            let w = w(t);
            if n == 8 {
                [v128_load(w.cast()), v128_load(w.add(4).cast())]
            } else {
                [part(w, n), part(w.wrapping_add(4), n.saturating_sub(4))]
            }
        };
        for r in 0..R {
            let x = f32x4_splat(x(r, t));
            for half in 0..2 {
                sums[r][half] = f32x4_add(sums[r][half], f32x4_mul(x, w[half]));
            }
        }
    }
    for r in 0..R {
        for half in 0..2 {
            // SAFETY: as the caller promises.
            unsafe { put(target.from(r, 4 * half), sums[r][half], n.saturating_sub(4 * half)) };
        }
    }
}

/// Four numbers, or `n` and zeros if that is less.
///
/// # Safety
/// The numbers must be valid memory.
#[inline(always)]
unsafe fn part(from: *const f32, n: usize) -> v128 {
    let mut numbers = [0f32; 4];
    // SAFETY: as the caller promises.
    unsafe {
        if n >= 4 {
            return v128_load(from.cast());
        }
        (0..n).for_each(|i| numbers[i] = *from.add(i));
        v128_load(numbers.as_ptr().cast())
    }
}

/// Dot products of R rows and C columns, a multiple of four of which `count` are written.
///
/// # Safety
/// Rows and columns must have `k` numbers; the target must be valid memory for R rows of `count` numbers.
#[inline(never)] // a function of its own has enough registers
unsafe fn tile<const R: usize, const C: usize>(
    x: [*const f32; R],
    w: [*const f32; C],
    k: usize,
    target: Target,
    count: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let sums = sums_of(x, w, k);
        for r in 0..R {
            for c in (0..C).step_by(4) {
                let four = [sums[r][c], sums[r][c + 1], sums[r][c + 2], sums[r][c + 3]];
                put(target.from(r, c), together(four), count.saturating_sub(c));
            }
        }
    }
}

/// Four sums for each pair of a row and a column, each of every fourth term.
///
/// # Safety
/// Rows and columns must have `k` numbers.
#[inline(always)]
unsafe fn sums_of<const R: usize, const C: usize>(x: [*const f32; R], w: [*const f32; C], k: usize) -> [[v128; C]; R] {
    let mut sums = [[f32x4_splat(0.0); C]; R];
    let mut add = |x: [v128; R], w: [v128; C]| {
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = f32x4_add(sums[r][c], f32x4_mul(x[r], w[c]));
            }
        }
    };
    // SAFETY: reads numbers below k.
    unsafe {
        let whole = k / 4 * 4;
        for t in (0..whole).step_by(4) {
            add(x.map(|x| v128_load(x.add(t).cast())), w.map(|w| v128_load(w.add(t).cast())));
        }
        if whole < k {
            add(x.map(|x| part(x.add(whole), k - whole)), w.map(|w| part(w.add(whole), k - whole)));
        }
    }
    sums
}

/// The sums of the lanes of four registers.
#[inline(always)]
fn together([a, b, c, d]: [v128; 4]) -> v128 {
    let halves = |a, b| f32x4_add(i32x4_shuffle::<0, 1, 4, 5>(a, b), i32x4_shuffle::<2, 3, 6, 7>(a, b));
    let (ab, cd) = (halves(a, b), halves(c, d));
    f32x4_add(i32x4_shuffle::<0, 2, 4, 6>(ab, cd), i32x4_shuffle::<1, 3, 5, 7>(ab, cd))
}

/// Writes at most four numbers of a row, `count` if that is less.
///
/// # Safety
/// The target must be valid memory for them.
#[inline(always)]
unsafe fn put(to: Target, sums: v128, count: usize) {
    let sums = f32x4_mul(sums, f32x4_splat(to.scale));
    // SAFETY: as the caller promises.
    unsafe {
        if count >= 4 {
            let before = || v128_load(to.data.cast());
            v128_store(to.data.cast(), if to.accumulate { f32x4_add(before(), sums) } else { sums });
            return;
        }
        let mut numbers = [0f32; 4];
        v128_store(numbers.as_mut_ptr().cast(), sums);
        for (i, sum) in numbers.iter().take(count).enumerate() {
            let y = &mut *to.data.add(i);
            *y = if to.accumulate { *y + sum } else { *sum };
        }
    }
}
