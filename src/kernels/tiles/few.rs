//! Products of at most 16 rows with a weight that is held as bf16, `x Wᵀ`, for decoding. As in `gemv`, the rows are side by side in
//! the lanes of a register, so that no sums over lanes are needed, and reading the weight limits the speed. Here a lane has two
//! terms of its row, and the weight is multiplied as it is held.
//!
//! There are four sums side by side, each of every fourth pair, for any number of rows: a row's numbers do not depend on it.

use super::pack::{Tile, each, pack_left, tiles};
use crate::kernels::operands::{Side, Target};
use crate::kernels::prefetch::{LINE, into_l1};
use crate::kernels::transposed::transpose;
use half::bf16;
use std::arch::x86_64::*;
use std::cell::Cell;

/// Running sums of one number of the result.
const SUMS: usize = 4;
/// Columns that are computed together: 24 sums of the 32 registers.
const COLUMNS: usize = 6;

thread_local! {
    /// The rows side by side, kept so that products need no new memory. They are taken and put back, not borrowed, because a
    /// waiting thread may start another product.
    static ROWS: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
}

/// The product of `a`'s rows, at most 16, with `b`'s columns, which are divided among `threads`.
///
/// # Safety
/// The processor must have avx512_bf16; the sides and the target must be valid memory, and no one else may use the target. The
/// numbers of each row and column must be side by side, and their number even.
pub(super) unsafe fn multiply(a: Side, b: Side<bf16>, c: Target, threads: usize) {
    debug_assert!(a.len <= 16 && a.k_stride == 1 && b.k_stride == 1 && b.k.is_multiple_of(2));
    // SAFETY: the processor and the side are as the caller promises.
    let (mut kept, left) = unsafe { (ROWS.take(), pack_left::<1>(a, 1)) };
    let chunks = b.k.div_ceil(32);
    kept = tiles(kept, chunks);
    for (to, from) in kept.iter_mut().zip(left.as_chunks::<2>().0).take(chunks) {
        // SAFETY: a tile has 16 rows of 16 pairs.
        unsafe { transpose(from[0].0.as_ptr().cast(), 16, to.0.as_mut_ptr().cast(), 16) };
    }
    super::pack::LEFT.set(left);
    let x = Rows(kept.as_ptr());
    // eight pieces per thread, so that other threads can take over work of a slow one
    let piece = b.len.div_ceil(if threads > 1 { 8 * threads } else { 1 }).next_multiple_of(COLUMNS);
    each(b.len.div_ceil(piece), threads, |i| {
        let first = i * piece;
        let whole = first + (b.len - first).min(piece) / COLUMNS * COLUMNS;
        // SAFETY: columns are below b.len, and each is one task's; the rest is as the caller promises.
        unsafe {
            (first..whole).step_by(COLUMNS).for_each(|j| columns::<COLUMNS>(x, a.len, b, j, c));
            (whole..b.len.min(first + piece)).for_each(|j| columns::<1>(x, a.len, b, j, c));
        }
    });
    ROWS.set(kept);
}

/// For each pair of terms, 16 rows.
#[derive(Clone, Copy)]
struct Rows(*const Tile);
// SAFETY: a pointer to tiles that are only read while threads have it.
unsafe impl Send for Rows {}
// SAFETY: as above.
unsafe impl Sync for Rows {}

/// Computes C columns from `j` on; the columns after them are prefetched meanwhile.
///
/// # Safety
/// As [`multiply`]'s, and j + C ≤ b.len.
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)] // the same columns of several arrays
unsafe fn columns<const C: usize>(x: Rows, m: usize, b: Side<bf16>, j: usize, c: Target) {
    let (pairs, x) = (b.k / 2, x.0.cast::<i32>());
    let whole = pairs / SUMS * SUMS;
    let weights: [*const i32; C] = std::array::from_fn(|c| b.data.wrapping_add((j + c) * b.stride).cast());
    let mut sums = [[_mm512_setzero_ps(); SUMS]; C];
    // SAFETY: `x` has 16 numbers for each pair, and so many pairs has each column, at any address; the target has m rows.
    unsafe {
        let add = |sum: &mut __m512, at: usize, x: __m512i, c: usize| {
            let w = _mm512_set1_epi32(weights[c].add(at).read_unaligned());
            *sum = _mm512_dpbf16_ps(*sum, pairs_of(x), pairs_of(w));
        };
        for at in (0..whole).step_by(SUMS) {
            if at.is_multiple_of(LINE) {
                let next = (C * b.stride).div_ceil(2) + at;
                weights.iter().for_each(|row| into_l1(row.wrapping_add(next).cast()));
            }
            let x: [__m512i; SUMS] = std::array::from_fn(|s| _mm512_load_si512(x.add((at + s) * 16).cast()));
            for c in 0..C {
                for s in 0..SUMS {
                    add(&mut sums[c][s], at + s, x[s], c);
                }
            }
        }
        for at in whole..pairs {
            let x = _mm512_load_si512(x.add(at * 16).cast());
            (0..C).for_each(|c| add(&mut sums[c][0], at, x, c));
        }
        for at in 0..C {
            let [s0, s1, s2, s3] = sums[at];
            let mut row = [0f32; 16];
            let sum = _mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3));
            _mm512_storeu_ps(row.as_mut_ptr(), _mm512_mul_ps(sum, _mm512_set1_ps(c.scale)));
            for (i, sum) in row.iter().take(m).enumerate() {
                let y = &mut *c.data.add(i * c.stride + j + at);
                *y = if c.accumulate { *y + sum } else { *sum };
            }
        }
    }
}

/// # Safety
/// The processor must have avx512_bf16.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs_of(bits: __m512i) -> __m512bh {
    // SAFETY: both types are 64 bytes that may have any value.
    unsafe { std::mem::transmute(bits) }
}
