//! Products of tiles with AVX-512's instruction for bf16 (avx512_bf16): sums of pairs of products, in f32.

use super::pack::Tile;
use super::product::Unit;
use std::arch::x86_64::*;

/// Numbers rounded to bf16.
pub(super) const BF16: Unit<1> = Unit { begin: nothing, end: nothing, blocks: [block], asked: 0 };

/// Rows that are computed together: 16 sums of the 32 registers.
const ROWS: usize = 8;

/// # Safety
/// Nothing is needed.
unsafe fn nothing() {}

/// # Safety
/// The processor must have avx512_bf16, and each side must have two tiles for each of `chunks`.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn block(left: *const Tile, right: *const Tile, chunks: usize, _: *const u8, sums: &mut [Tile; 4]) {
    for first in (0..32).step_by(ROWS) {
        let (tile, row) = (first / 16, first % 16);
        let mut sum = [[_mm512_setzero_ps(); 2]; ROWS];
        for chunk in 0..chunks {
            // SAFETY: chunk `chunk` has two tiles on each side, with 16 rows of 16 pairs of bf16, and the four tiles of `sums` have 16
            // rows of 16 f32s; all are aligned to 64 bytes.
            unsafe {
                let left = left.add(2 * chunk + tile).cast::<i32>().add(row * 16);
                let right = right.add(2 * chunk).cast::<i32>();
                for pair in 0..16 {
                    let columns = [0, 1].map(|half| pairs(_mm512_load_si512(right.add(half * 256 + pair * 16).cast())));
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let x = pairs(_mm512_set1_epi32(*left.add(i * 16 + pair)));
                        sum[0] = _mm512_dpbf16_ps(sum[0], x, columns[0]);
                        sum[1] = _mm512_dpbf16_ps(sum[1], x, columns[1]);
                    }
                }
            }
        }
        for (i, sum) in sum.iter().enumerate() {
            for half in 0..2 {
                let to = sums[tile * 2 + half].0[(row + i) * 32..].as_mut_ptr();
                // SAFETY: as above.
                unsafe { _mm512_store_ps(to.cast(), sum[half]) };
            }
        }
    }
}

/// 16 pairs of bf16.
///
/// # Safety
/// The processor must have avx512_bf16.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both types are 64 bytes that may have any value.
    unsafe { std::mem::transmute(bits) }
}
