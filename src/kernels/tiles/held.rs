//! Packs the columns of a weight that is held as bf16 in tiles, without rounding and without a copy in f32.

use super::pack::{BLOCK, Right, Tile};
use crate::kernels::operands::Side;
use crate::kernels::transposed::transpose;
use half::bf16;
use std::arch::x86_64::*;

impl Right for bf16 {
    unsafe fn pack<const P: usize>(side: Side<Self>, k: usize, out: *mut Tile) -> usize {
        const { assert!(P == 1, "a bf16 number has one part") };
        // SAFETY: as the caller promises.
        unsafe { pack(side, k, out) };
        1
    }
}

/// # Safety
/// As [`Right::pack`]'s.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack(side: Side<bf16>, k: usize, out: *mut Tile) {
    let depth = (side.k - k).min(BLOCK);
    for half in 0..2 {
        let first = 16 * half;
        let from = side.data.wrapping_add(first * side.stride + k * side.k_stride);
        let full = side.len >= first + 16 && depth == BLOCK;
        // SAFETY: `out` has two tiles. A full view has 16 columns of 32 numbers, and `copied` has them too; an even stride is one in
        // pairs of numbers, which may start at any address.
        unsafe {
            let to = out.add(half);
            if full && side.k_stride == 1 && side.stride.is_multiple_of(2) {
                transpose(from.cast(), side.stride / 2, to.cast(), 16);
            } else if full && side.stride == 1 {
                pairs_of_rows(from, side.k_stride, to);
            } else {
                let copied = copy(side, first, k);
                transpose(copied.as_ptr().cast(), BLOCK / 2, to.cast(), 16);
            }
        }
    }
}

/// The pairs of 32 rows of 16 numbers: rows 2 i and 2 i + 1 of the source become row i of the tile.
///
/// # Safety
/// The source must be valid for 32 rows of 16 numbers, `stride` apart.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pairs_of_rows(from: *const bf16, stride: usize, to: *mut Tile) {
    for pair in 0..BLOCK / 2 {
        // SAFETY: as the caller promises; a tile has 16 rows of 64 bytes, aligned to 64.
        unsafe {
            let row = |i: usize| _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.add(i * stride).cast()));
            let both = _mm512_or_si512(row(2 * pair), _mm512_slli_epi32::<16>(row(2 * pair + 1)));
            _mm512_store_si512(to.cast::<u16>().add(pair * BLOCK).cast(), both);
        }
    }
}

/// 16 columns from `first` and 32 numbers of each from `k`, with zeros where the side has none.
///
/// # Safety
/// The side must be valid memory, and `k` below its depth.
unsafe fn copy(side: Side<bf16>, first: usize, k: usize) -> [bf16; 16 * BLOCK] {
    let mut copied = [bf16::ZERO; 16 * BLOCK];
    let (len, depth) = (side.len.saturating_sub(first).min(16), (side.k - k).min(BLOCK));
    for (column, to) in copied.chunks_exact_mut(BLOCK).take(len).enumerate() {
        for (x, to) in to.iter_mut().take(depth).enumerate() {
            // SAFETY: column and x are below what is left of the side's length and depth.
            *to = unsafe { *side.data.add((first + column) * side.stride + (k + x) * side.k_stride) };
        }
    }
    copied
}
