//! Matrix products with WebAssembly's 128-bit SIMD, as dot products of rows of the left side and columns of the right one. In
//! `x Wᵀ`, their numbers are side by side, and nothing is copied. Other sides are transposed first, and compact weights widened, a
//! few columns at a time, which stay in the cache.
//!
//! Short sums, as in LoRA's backward pass, are of multiples of the right side's rows, if those have their numbers side by side.
//!
//! Up to 16 rows, and for small weights, each number of the result is summed in an order that depends only on the number of
//! terms: a row gives the same numbers alone and with others.

#![allow(clippy::needless_range_loop)] // the same rows and columns of several arrays

pub mod single_queries;
mod sums;

use super::gemv::{MAX_ROWS, SMALL};
use super::operands::{Mat, Target};
use super::pool::{PerThread, for_tasks};
use super::prefetch::LINE;
use super::quantized::{BLOCK, BlockQ8_0, Compact};
use std::arch::wasm32::*;
use std::ops::Range;
use sums::{column, column_of_blocks, multiples, tile};

/// Rows of the left side that are multiplied with the same columns.
const ROWS: usize = 256;

/// Columns of the right side that are multiplied with a pair of rows before the next pair.
const COLS: usize = 32;

/// Longest sums of [`short_sums`]: of longer ones, the right side's rows are too far apart in memory.
const SHORT: usize = 64;

/// Rows of a compact weight that are widened before they are transposed.
const WIDENED: usize = 16;

/// Rows that are multiplied with the blocks of a q8_0 weight: for more, widening each column once is faster.
const MOST_OF_BLOCKS: usize = 8;

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
        if let (true, Some(blocks)) = (few && rows <= MOST_OF_BLOCKS, whole_blocks(b, k)) {
            for j in cols.clone() {
                let w = &blocks[j * (k / BLOCK)..][..k / BLOCK];
                for i in (0..rows).step_by(4) {
                    let x = |r: usize| x.wrapping_add((i + r) * x_stride);
                    let target = target.from(first + i, j);
                    // SAFETY: rows have k numbers, and the target has these rows and this column.
                    unsafe {
                        match rows - i {
                            1 => column_of_blocks([x(0)], w, target),
                            2 => column_of_blocks([x(0), x(1)], w, target),
                            3 => column_of_blocks([x(0), x(1), x(2)], w, target),
                            _ => column_of_blocks([x(0), x(1), x(2), x(3)], w, target),
                        }
                    }
                }
            }
            continue;
        }
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

/// The blocks of a right side in q8_0, if each column has whole ones.
fn whole_blocks(b: Right<'_>, k: usize) -> Option<&[BlockQ8_0]> {
    if let Right::Transposed(held) = b { held.blocks().filter(|_| k.is_multiple_of(BLOCK)) } else { None }
}

/// Some columns of a product with a right side whose rows have their numbers side by side.
///
/// # Safety
/// As [`columns`]'s.
unsafe fn short_sums(target: Target, a: Mat<'_>, b: Mat<'_>, cols: Range<usize>) {
    // 64 columns of b, at most 16 KB, stay in the first-level cache
    for first in cols.clone().step_by(64) {
        for i in (0..a.rows).step_by(4) {
            let x = |r: usize| a.data.as_ptr().wrapping_add((i + r) * a.row_stride);
            for j in (first..cols.end.min(first + 64)).step_by(8) {
                let n = (cols.end - j).min(8);
                let (w, target) = ((b.data.as_ptr().wrapping_add(j), b.row_stride), target.from(i, j));
                // SAFETY: `Mat` checked that these rows of a, and the rows of b with n numbers from column j on, are inside; the
                // target has these rows and columns.
                unsafe {
                    if i + 4 <= a.rows {
                        multiples(([x(0), x(1), x(2), x(3)], a.col_stride), w, a.cols, target, n);
                    } else {
                        for r in 0..a.rows - i {
                            multiples(([x(r)], a.col_stride), w, a.cols, target.from(r, 0), n);
                        }
                    }
                }
            }
        }
    }
}
