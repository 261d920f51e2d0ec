//! Packs matrices as bf16 in tiles, in the order in which `product` loads them: every f32 as one bf16, the nearest, or as `P` = 3
//! parts that have all its bits. Weights that are held as bf16 are in `held`.

use crate::kernels::operands::Side;
use crate::kernels::pool::for_tasks;
use crate::kernels::prefetch::into_l2;
use crate::kernels::transposed::transpose;
use std::arch::x86_64::*;
use std::cell::Cell;

/// Rows and columns of a block of the result, and numbers of a chunk of the sum.
pub(super) const BLOCK: usize = 32;

/// 16 rows of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [u16; 512]);

thread_local! {
    /// Packed tiles, kept so that products need no new memory. They are taken and put back, not borrowed, because a waiting
    /// thread may start another product.
    pub(super) static LEFT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
    pub(super) static RIGHT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
}

/// `n` tiles with any contents.
pub(super) fn tiles(mut kept: Vec<Tile>, n: usize) -> Vec<Tile> {
    if kept.len() < n {
        kept.resize(n, Tile([0; 512]));
    }
    kept
}

#[derive(Clone, Copy)]
pub(super) struct Tiles(pub(super) *mut Tile);
// SAFETY: a pointer; tasks write different blocks through it, and read only after all have written.
unsafe impl Send for Tiles {}
// SAFETY: as above.
unsafe impl Sync for Tiles {}

impl Tiles {
    /// The tiles of block `i` of `chunks` chunks, each with P parts of twice 16 rows.
    pub(super) fn block<const P: usize>(self, i: usize, chunks: usize) -> *mut Tile {
        self.0.wrapping_add(i * chunks * 2 * P)
    }
}

/// Calls `work(i)` for `0..n`, on all threads or on this one.
pub(super) fn each(n: usize, threads: usize, work: impl Fn(usize) + Sync) {
    if threads > 1 {
        for_tasks(n, work);
    } else {
        (0..n).for_each(work);
    }
}

/// At most `len` rows (columns) from `first` on.
pub(super) fn rest<T>(side: Side<T>, first: usize, len: usize) -> Side<T> {
    Side { data: side.data.wrapping_add(first * side.stride), len: (side.len - first).min(len), ..side }
}

/// Packs `a`'s rows.
///
/// # Safety
/// The processor must have AVX-512, and the side must be valid memory.
pub(super) unsafe fn pack_left<const P: usize>(a: Side, threads: usize) -> Vec<Tile> {
    let (blocks, chunks) = (a.len.div_ceil(BLOCK), a.k.div_ceil(BLOCK));
    let mut kept = tiles(LEFT.take(), blocks * chunks * 2 * P);
    let out = Tiles(kept.as_mut_ptr());
    // SAFETY: processor and side are as the caller promises; `kept` has tiles for all blocks, and each task writes different ones.
    each(blocks, threads, |i| unsafe {
        let (rows, out) = (rest(a, i * BLOCK, BLOCK), out.block::<P>(i, chunks));
        for chunk in 0..chunks {
            pack::<true, P>(rows, chunk * BLOCK, out.add(chunk * 2 * P));
        }
    });
    kept
}

/// Numbers of a right side.
pub(super) trait Right: Copy + Sync {
    /// Packs at most 32 columns, the chunk of 32 numbers from `k`: 2 P tiles with the columns side by side, two numbers of each in a
    /// row. Returns the number of parts that are not all zeros, at least 1.
    ///
    /// # Safety
    /// The processor must have AVX-512, the side must be valid memory, `k` below its depth, and `out` must have 2 P tiles.
    unsafe fn pack<const P: usize>(side: Side<Self>, k: usize, out: *mut Tile) -> usize;
}

impl Right for f32 {
    unsafe fn pack<const P: usize>(side: Side, k: usize, out: *mut Tile) -> usize {
        // SAFETY: as the caller promises.
        unsafe { pack::<false, P>(side, k, out) }
    }
}

/// Packs `b`'s columns in their order in memory, and prefetches the next ones: a weight is read from memory once per product,
/// and the processor does not predict lines in many pages. Returns the number of parts that are not all zeros: 1 if all numbers
/// are bf16, 2 if only l is zero.
///
/// # Safety
/// The side must be valid memory, and `out` must have 2 P tiles for each chunk of each of its blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn pack_right<const P: usize, T: Right>(b: Side<T>, out: Tiles) -> usize {
    let (blocks, chunks, line) = (b.len.div_ceil(BLOCK), b.k.div_ceil(BLOCK), LINE / size_of::<T>());
    let mut parts = 1;
    // SAFETY: i and j are below the numbers of chunks and blocks, for which side and tiles are there, as the caller promises.
    unsafe {
        if b.k_stride == 1 {
            for (j, i) in (0..blocks).flat_map(|j| (0..chunks).map(move |i| (j, i))) {
                prefetch(b.data.wrapping_add((j + 1) * BLOCK * b.stride), b.stride, b.k.div_ceil(line), i);
                let to = out.block::<P>(j, chunks).add(i * 2 * P);
                parts = parts.max(T::pack::<P>(rest(b, j * BLOCK, BLOCK), i * BLOCK, to));
            }
        } else {
            for (i, j) in (0..chunks).flat_map(|i| (0..blocks).map(move |j| (i, j))) {
                prefetch(b.data.wrapping_add((i + 1) * BLOCK * b.k_stride), b.k_stride, b.len.div_ceil(line), j);
                let to = out.block::<P>(j, chunks).add(i * 2 * P);
                parts = parts.max(T::pack::<P>(rest(b, j * BLOCK, BLOCK), i * BLOCK, to));
            }
        }
    }
    parts
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Prefetches the `nth` piece of a block of rows, `stride` apart and `lines` long: as many lines as a chunk of a block has. The
/// addresses need not be valid.
fn prefetch<T>(rows: *const T, stride: usize, lines: usize, nth: usize) {
    let piece = BLOCK * BLOCK * size_of::<T>() / LINE;
    for line in nth * piece..(nth + 1) * piece {
        into_l2(rows.wrapping_add(line / lines * stride + line % lines * LINE / size_of::<T>()).cast());
    }
}

/// The parts of x, whose upper halves are bf16. One part: the nearest bf16, halves to even, as
/// [`nearest`](crate::kernels::rounding::nearest). Three: x = h + m + l, each with at most 8 significant bits.
///
/// # Safety
/// The processor must have AVX-512.
#[target_feature(enable = "avx512f")]
fn split<const P: usize>(x: __m512) -> [__m512i; 3] {
    if P == 1 {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        let up = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x40_0000)); // stays NaN
        return [up, _mm512_setzero_si512(), _mm512_setzero_si512()];
    }
    let round = |x: __m512| {
        let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
        _mm512_and_si512(up, _mm512_set1_epi32(0xffff_0000_u32 as i32))
    };
    let h = round(x);
    let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(h)); // exact, and NaN if x is
    let m = round(rest);
    let l = _mm512_sub_ps(rest, _mm512_castsi512_ps(m)); // exact, 8 bits
    [h, m, _mm512_castps_si512(l)]
}

/// Packs at most 32 rows (columns) of a side, the chunk of 32 numbers from `k`: 2 P tiles. A left tile has a row in each of its
/// rows, 32 numbers; a right tile has the columns side by side, two numbers of each in a row. Returns the number of parts that
/// are not all zeros, always counting h.
///
/// # Safety
/// The side must be valid memory, `k` below its depth, and `out` must have 2 P tiles.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack<const LEFT: bool, const P: usize>(side: Side, k: usize, out: *mut Tile) -> usize {
    // upper halves of 16 + 16 numbers, in order
    const ORDER: [i16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (2 * i + 1) as i16;
            i += 1;
        }
        order
    };
    let mut copied = [0f32; 512];
    let mut there = [_mm512_setzero_si512(); 3];
    for half in 0..2 {
        // SAFETY: `view` gives 16 rows of 32 numbers (left) or 32 rows of 16 (right), `stride` apart; of the tiles of `out`, each
        // part writes 16 rows of one, which are aligned to 64 bytes as a tile is.
        unsafe {
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            let (from, stride) = view::<LEFT>(side, 16 * half, k, &mut copied);
            for row in 0..16 {
                let (x, y) = if LEFT {
                    (from.add(row * stride), from.add(row * stride + 16))
                } else {
                    (from.add(2 * row * stride), from.add((2 * row + 1) * stride))
                };
                let (x, y) = (split::<P>(_mm512_loadu_ps(x)), split::<P>(_mm512_loadu_ps(y)));
                for part in 0..P {
                    let to = out.add(part * 2 + half).cast::<u16>().add(row * 32).cast();
                    let halves = if LEFT {
                        _mm512_permutex2var_epi16(x[part], order, y[part])
                    } else {
                        let upper = _mm512_and_si512(y[part], _mm512_set1_epi32(0xffff_0000_u32 as i32));
                        _mm512_or_si512(_mm512_srli_epi32::<16>(x[part]), upper)
                    };
                    _mm512_store_si512(to, halves);
                    there[part] = _mm512_or_si512(there[part], halves);
                }
            }
        }
    }
    let any = |part: usize| _mm512_test_epi32_mask(there[part], there[part]) != 0;
    if any(2) { 3 } else { 1 + usize::from(any(1)) }
}

/// 16 rows from `first` and 32 numbers from `k`: their address in the order that [`pack`] reads, and the stride. Numbers in
/// another order, or at the edge (then with zeros), are copied.
///
/// # Safety
/// The side must be valid memory, and `k` below its depth.
#[target_feature(enable = "avx512f")]
unsafe fn view<const LEFT: bool>(side: Side, first: usize, k: usize, copied: &mut [f32; 512]) -> (*const f32, usize) {
    let from = side.data.wrapping_add(first * side.stride + k * side.k_stride);
    let (along, across) = if LEFT { (side.k_stride, side.stride) } else { (side.stride, side.k_stride) };
    let (len, depth) = (side.len.saturating_sub(first).min(16), (side.k - k).min(BLOCK));
    let full = len == 16 && depth == BLOCK;
    if full && along == 1 {
        return (from, across);
    }
    let width = if LEFT { 32 } else { 16 };
    if full && across == 1 {
        // SAFETY: the view is full, so the side has both squares of 16 × 16 numbers; `copied` has room for them.
        unsafe {
            for square in 0..2 {
                let (at, to) = if LEFT { (16 * along, 16) } else { (16, 16 * width) };
                transpose(from.add(square * at), along, copied.as_mut_ptr().add(square * to), width);
            }
        }
        return (copied.as_ptr(), width);
    }
    copied.fill(0.0);
    for row in 0..len {
        for x in 0..depth {
            let at = if LEFT { row * width + x } else { x * width + row };
            // SAFETY: row and x are below what is left of the side's length and depth.
            copied[at] = unsafe { *from.add(row * side.stride + x * side.k_stride) };
        }
    }
    (copied.as_ptr(), width)
}
