//! Products of a few rows with a q8_0 weight, `x Wᵀ`, with AVX-512, for decoding. The integers are extended and scaled in registers,
//! once for four rows; nothing is written to memory. Every number equals that of `gemv` for the widened weight: four sums, each of
//! every fourth term.

use super::choice::Kernel;
use super::operands::{Mat, Target};
use super::pool::for_tasks;
use super::prefetch::into_l1;
use super::quantized::{BLOCK, BlockQ8_0};
use std::arch::x86_64::*;

/// Columns of one register: four, with four sums each.
const COLUMNS: usize = 4;
/// Registers of sums of a row that are computed together.
const GROUPS: usize = 4;
/// Rows that are computed together.
const ROWS: usize = 4;
/// Waking a thread takes about as long as multiplying so many numbers.
const SHARED: usize = 1 << 19;

/// Whether this kernel's processors have the instructions, and a column of `k` numbers consists of whole blocks.
pub fn multiplies(by: Kernel, k: usize) -> bool {
    matches!(by, Kernel::Avx512 | Kernel::Avx512Bf16 | Kernel::Amx) && k > 0 && k.is_multiple_of(BLOCK)
}

/// The product of the rows of `x`, whose numbers are side by side, with columns of so many numbers, `x.cols / 32` blocks each, on at
/// most `threads` threads.
///
/// # Safety
/// [`multiplies`] must be true for an available kernel and `x.cols`. The target must be valid for the product, and no one else may
/// use it.
pub unsafe fn multiply(target: Target, x: Mat<'_>, w: &[BlockQ8_0], threads: usize) {
    assert!(x.col_stride == 1, "numbers of a row are not side by side");
    let per_column = x.cols / BLOCK;
    let n = w.len() / per_column;
    let share = if threads > 1 && w.len() * BLOCK >= SHARED { 4 * threads } else { 1 };
    let piece = n.div_ceil(share).next_multiple_of(COLUMNS * GROUPS);
    let task = |i: usize| {
        let (first, end) = (i * piece, n.min((i + 1) * piece));
        let whole = first + (end - first) / (COLUMNS * GROUPS) * (COLUMNS * GROUPS);
        // SAFETY: as the caller promises; columns are below n, and each is one task's.
        unsafe {
            for j in (first..whole).step_by(COLUMNS * GROUPS) {
                rows::<GROUPS>(target, x, w, j, COLUMNS * GROUPS);
            }
            for j in (whole..end).step_by(COLUMNS) {
                rows::<1>(target, x, w, j, COLUMNS.min(end - j));
            }
        }
    };
    if share > 1 {
        for_tasks(n.div_ceil(piece), task);
    } else {
        (0..n.div_ceil(piece)).for_each(task);
    }
}

/// Computes `n` columns from `j` on, at most 4 G, of all rows.
///
/// # Safety
/// As [`multiply`]'s; all n columns must be there.
unsafe fn rows<const G: usize>(target: Target, x: Mat<'_>, w: &[BlockQ8_0], j: usize, n: usize) {
    let row = |i: usize| &x.data[i * x.row_stride..][..x.cols];
    for i in (0..x.rows).step_by(ROWS) {
        let to = target.from(i, 0);
        // SAFETY: as the caller promises.
        unsafe {
            match x.rows - i {
                1 => columns::<1, G>(to, [row(i)], w, j, n),
                2 => columns::<2, G>(to, [row(i), row(i + 1)], w, j, n),
                3 => columns::<3, G>(to, [row(i), row(i + 1), row(i + 2)], w, j, n),
                _ => columns::<ROWS, G>(to, [row(i), row(i + 1), row(i + 2), row(i + 3)], w, j, n),
            }
        }
    }
}

/// Computes `n` columns from `j` on, at most 4 G, of R rows of equal length; the columns after them are prefetched meanwhile.
///
/// # Safety
/// As [`multiply`]'s; all n columns must be there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
#[allow(clippy::needless_range_loop)] // the same groups of two arrays
unsafe fn columns<const R: usize, const G: usize>(target: Target, x: [&[f32]; R], w: &[BlockQ8_0], j: usize, n: usize) {
    let per_column = x[0].len() / BLOCK;
    // columns that are not there are the last one again, and are not written
    let first: [[*const BlockQ8_0; COLUMNS]; G] = std::array::from_fn(|group| {
        std::array::from_fn(|c| w[(j + (group * COLUMNS + c).min(n - 1)) * per_column..].as_ptr())
    });
    let mut sums = [[_mm512_setzero_ps(); G]; R];
    // dword 4 c + t of four columns' 16 integers becomes dword 4 t + c: the terms 4 t to 4 t + 3 of the four columns
    let by_terms = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let by_columns = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for at in 0..per_column {
        for group in 0..G {
            let blocks = first[group].map(|column| column.wrapping_add(at));
            // SAFETY: each column has `per_column` blocks, of which `at` is one, and a block has 32 integers; a row has as many numbers.
            unsafe {
                blocks.iter().for_each(|block| into_l1(block.wrapping_add(COLUMNS * G * per_column).cast()));
                let bits = blocks.iter().rev().fold(0u64, |bits, block| bits << 16 | u64::from((**block).d.to_bits()));
                let scales = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi64_si128(bits as i64)));
                let scales = _mm512_permutexvar_ps(by_columns, scales);
                for half in [0, 16] {
                    let [a, b, c, d] = blocks.map(|block| _mm_loadu_si128((*block).qs.as_ptr().add(half).cast()));
                    let all = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
                    let all = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(all, c), d);
                    let all = _mm512_permutexvar_epi32(by_terms, all);
                    let parts = [
                        _mm512_castsi512_si128(all),
                        _mm512_extracti32x4_epi32::<1>(all),
                        _mm512_extracti32x4_epi32::<2>(all),
                        _mm512_extracti32x4_epi32::<3>(all),
                    ];
                    for (t, part) in parts.into_iter().enumerate() {
                        let w = _mm512_mul_ps(scales, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(part)));
                        for r in 0..R {
                            let x = _mm_loadu_ps(x[r].as_ptr().add(at * BLOCK + half + 4 * t));
                            sums[r][group] = _mm512_fmadd_ps(_mm512_broadcast_f32x4(x), w, sums[r][group]);
                        }
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for group in 0..G {
            let mut four = [[0f32; 4]; COLUMNS];
            // SAFETY: `four` has 16 numbers.
            unsafe { _mm512_storeu_ps(four.as_mut_ptr().cast(), sums[group]) };
            for (c, [s0, s1, s2, s3]) in four.into_iter().enumerate().take(n.saturating_sub(group * COLUMNS)) {
                let sum = ((s0 + s1) + (s2 + s3)) * target.scale;
                // SAFETY: the row is one of the R and the column one of the n, which the target has.
                let y = unsafe { &mut *target.from(r, j + group * COLUMNS + c).data };
                *y = if target.accumulate { *y + sum } else { sum };
            }
        }
    }
}
