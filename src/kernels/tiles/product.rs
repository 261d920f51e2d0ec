//! The product of two matrices as products of the tiles that `pack` makes: its blocks, and how threads divide them.

use super::pack::{BLOCK, LEFT, RIGHT, Right, Tile, Tiles, each, pack_left, pack_right, rest, tiles};
use crate::kernels::operands::{Side, Target};
use std::arch::x86_64::*;

/// The sums of one block of the result, 32 × 32 as four tiles: `block(left, right, chunks, next, sums)`. `left` and `right` have
/// the tiles of each chunk; a block may prefetch lines from `next` on.
pub(super) type Block = unsafe fn(*const Tile, *const Tile, usize, *const u8, &mut [Tile; 4]);

/// Instructions that multiply tiles of numbers in P parts.
pub(super) struct Unit<const P: usize> {
    /// Called before and after blocks are computed.
    pub begin: unsafe fn(),
    pub end: unsafe fn(),
    /// For right sides of which the first part, the first two, … are not all zeros.
    pub blocks: [Block; P],
    /// Bytes of the next left tiles that are prefetched with a chunk.
    pub asked: usize,
}

/// Sizes of the packed parts: left rows, right columns, numbers of the sum. A thread's columns fill a quarter of its L2 cache;
/// the rest is streamed.
const ROWS: usize = 1024;
pub(super) const COLS: usize = 128;
const DEPTH: usize = 768;

/// The product of `a`'s rows with `b`'s columns, on `threads` threads (1, or all).
///
/// # Safety
/// The processor must have the unit; the sides and the target must be valid memory, and no one else may use the target.
pub(super) unsafe fn multiply<const P: usize, T: Right>(
    unit: &Unit<P>,
    a: Side,
    b: Side<T>,
    c: Target,
    threads: usize,
) {
    for k in (0..a.k).step_by(DEPTH) {
        let (a, b) = (part(a, k), part(b, k));
        let c = Target { accumulate: c.accumulate || k > 0, ..c };
        if b.len < 2 * BLOCK * threads {
            // few columns: each thread computes different rows
            let rows = a.len.div_ceil(threads).next_multiple_of(BLOCK).min(ROWS);
            each(a.len.div_ceil(rows), threads, |i| {
                // SAFETY: the unit is there and the sides are valid, as the caller promises; each task writes different rows.
                unsafe {
                    let left = pack_left::<P>(rest(a, i * rows, rows), 1);
                    columns(unit, &left, rest(a, i * rows, rows), b, c.from(i * rows, 0));
                    LEFT.set(left);
                }
            });
            continue;
        }
        let cols = b.len.div_ceil(b.len.div_ceil(COLS * threads) * threads).next_multiple_of(BLOCK);
        for row in (0..a.len).step_by(ROWS) {
            let a = rest(a, row, ROWS);
            // SAFETY: the unit is there and the side is valid, as the caller promises.
            let left = unsafe { pack_left::<P>(a, threads) };
            each(b.len.div_ceil(cols), threads, |j| {
                // SAFETY: as above, and each task writes different columns.
                unsafe { columns(unit, &left, a, rest(b, j * cols, cols), c.from(row, j * cols)) };
            });
            LEFT.set(left);
        }
    }
}

/// At most `DEPTH` numbers from `k` on.
fn part<T>(side: Side<T>, k: usize) -> Side<T> {
    Side { data: side.data.wrapping_add(k * side.k_stride), k: (side.k - k).min(DEPTH), ..side }
}

/// Packs `b`'s columns and multiplies all rows with them.
///
/// # Safety
/// As [`multiply`]'s, and `left` must be the result of [`pack_left`] for `a`.
unsafe fn columns<const P: usize, T: Right>(unit: &Unit<P>, left: &[Tile], a: Side, b: Side<T>, c: Target) {
    let chunks = a.k.div_ceil(BLOCK);
    let mut kept = tiles(RIGHT.take(), b.len.div_ceil(BLOCK) * chunks * 2 * P);
    let right = Tiles(kept.as_mut_ptr());
    let mut sums = [Tile([0; 512]); 4];
    // SAFETY: the unit is there and sides and target are valid, as the caller promises. `right` has tiles for all blocks of `b`, `left`
    // for all of `a`; `store` stays below the sides' lengths.
    unsafe {
        // products with parts that are all zeros are skipped: the sums are the same without them
        let block = unit.blocks[pack_right::<P, T>(b, right) - 1];
        (unit.begin)();
        for i in 0..a.len.div_ceil(BLOCK) {
            for j in 0..b.len.div_ceil(BLOCK) {
                let next = left.as_ptr().wrapping_add((i + 1) * chunks * 2 * P).cast::<u8>();
                let next = next.wrapping_add(j * chunks * unit.asked);
                block(left[i * chunks * 2 * P..].as_ptr(), right.block::<P>(j, chunks), chunks, next, &mut sums);
                let (rows, cols) = ((a.len - i * BLOCK).min(BLOCK), (b.len - j * BLOCK).min(BLOCK));
                store(&sums, c.from(i * BLOCK, j * BLOCK), rows, cols);
            }
        }
        (unit.end)();
    }
    RIGHT.set(kept);
}

/// Writes rows × cols of a block's sums to the target.
///
/// # Safety
/// The processor must have AVX-512, the target must be valid for that block, and both must be at most 32.
#[target_feature(enable = "avx512f")]
unsafe fn store(sums: &[Tile; 4], c: Target, rows: usize, cols: usize) {
    let scale = _mm512_set1_ps(c.scale);
    for i in 0..rows {
        for half in 0..cols.div_ceil(16) {
            let mask = if cols - 16 * half >= 16 { !0 } else { (1u16 << (cols - 16 * half)) - 1 };
            // SAFETY: i and half are inside the sums' 32 × 32 numbers; the mask excludes columns that the target does not have.
            unsafe {
                let from = sums[i / 16 * 2 + half].0.as_ptr().cast::<f32>().add(i % 16 * 16);
                let to = c.data.add(i * c.stride + 16 * half);
                let mut x = _mm512_mul_ps(_mm512_load_ps(from), scale);
                if c.accumulate {
                    x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, to));
                }
                _mm512_mask_storeu_ps(to, mask, x);
            }
        }
    }
}
