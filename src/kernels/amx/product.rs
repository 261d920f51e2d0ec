//! The products of tiles that `pack` makes.

use super::pack::{BLOCK, LEFT, PARTS, RIGHT, Tile, Tiles, each, pack_left, pack_right, rest, tiles};
use crate::kernels::operands::{Side, Target};
use std::arch::asm;
use std::arch::x86_64::*;

/// Sizes of the packed parts: left rows, right columns, numbers of the sum. A thread's columns fill a quarter of its L2 cache;
/// the rest is streamed.
const ROWS: usize = 1024;
const COLS: usize = 128;
const DEPTH: usize = 768;
/// Bytes of the next left tiles that are prefetched with a chunk: a line for each of its 24 products, which is all of them with
/// `COLS` columns.
const ASKED: usize = 24 * 64;

/// The product of `a`'s rows with `b`'s columns, on `threads` threads (1, or all).
///
/// # Safety
/// [`amx`](crate::kernels::platform::amx) must have said yes; the sides and the target must be valid memory, and no one else may use the target.
pub unsafe fn multiply(a: Side, b: Side, c: Target, threads: usize) {
    for k in (0..a.k).step_by(DEPTH) {
        let (a, b) = (part(a, k), part(b, k));
        let c = Target { accumulate: c.accumulate || k > 0, ..c };
        if b.len < 2 * BLOCK * threads {
            // few columns: each thread computes different rows
            let rows = a.len.div_ceil(threads).next_multiple_of(BLOCK).min(ROWS);
            each(a.len.div_ceil(rows), threads, |i| {
                // SAFETY: the unit is there and the sides are valid, as the caller promises; each task writes different rows.
                unsafe {
                    let left = pack_left(rest(a, i * rows, rows), 1);
                    columns(&left, rest(a, i * rows, rows), b, c.from(i * rows, 0));
                    LEFT.set(left);
                }
            });
            continue;
        }
        let cols = b.len.div_ceil(b.len.div_ceil(COLS * threads) * threads).next_multiple_of(BLOCK);
        for row in (0..a.len).step_by(ROWS) {
            let a = rest(a, row, ROWS);
            // SAFETY: the unit is there and the side is valid, as the caller promises.
            let left = unsafe { pack_left(a, threads) };
            each(b.len.div_ceil(cols), threads, |j| {
                // SAFETY: as above, and each task writes different columns.
                unsafe { columns(&left, a, rest(b, j * cols, cols), c.from(row, j * cols)) };
            });
            LEFT.set(left);
        }
    }
}

/// At most `DEPTH` numbers from `k` on.
fn part(side: Side, k: usize) -> Side {
    Side { data: side.data.wrapping_add(k * side.k_stride), k: (side.k - k).min(DEPTH), ..side }
}

/// Packs `b`'s columns and multiplies all rows with them.
///
/// # Safety
/// As [`multiply`]'s, and `left` must be the result of [`pack_left`] for `a`.
unsafe fn columns(left: &[Tile], a: Side, b: Side, c: Target) {
    let chunks = a.k.div_ceil(BLOCK);
    let mut kept = tiles(RIGHT.take(), b.len.div_ceil(BLOCK) * chunks * PARTS);
    let right = Tiles(kept.as_mut_ptr());
    let mut sums = [Tile([0; 512]); 4];
    // SAFETY: the unit is there and sides and target are valid, as the caller promises. `right` has tiles for all blocks of `b`, `left`
    // for all of `a`; tiles are configured before they are used and released after; `store` stays below the sides' lengths.
    unsafe {
        // products with parts that are all zeros are skipped: the sums are the same without them
        let block = match pack_right(b, right) {
            1 => of_bf16,
            2 => of_f16,
            _ => full,
        };
        configure();
        for i in 0..a.len.div_ceil(BLOCK) {
            for j in 0..b.len.div_ceil(BLOCK) {
                let next = left.as_ptr().wrapping_add((i + 1) * chunks * PARTS).cast::<u8>();
                let next = next.wrapping_add(j * chunks * ASKED);
                block(left[i * chunks * PARTS..].as_ptr(), right.block(j, chunks), chunks, next, &mut sums);
                let (rows, cols) = ((a.len - i * BLOCK).min(BLOCK), (b.len - j * BLOCK).min(BLOCK));
                store(&sums, c.from(i * BLOCK, j * BLOCK), rows, cols);
            }
        }
        asm!("tilerelease", options(nostack, nomem));
    }
    RIGHT.set(kept);
}

/// Makes all eight tiles 16 rows of 64 bytes.
///
/// # Safety
/// [`amx`](crate::kernels::platform::amx) must have said yes.
unsafe fn configure() {
    let mut config = Tile([0; 512]);
    config.0[0] = 1; // palette
    config.0[8..16].fill(64); // bytes a row
    config.0[24..28].fill(16 << 8 | 16); // rows, a byte each
    // SAFETY: `config` has the 64 bytes that the instruction reads, in its format.
    unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
}

/// Four products of a chunk, twice 16 rows with twice 16 columns, and prefetches of the next lines: a product's left tiles are
/// not in the second-level cache, and each row of blocks is used long enough for the next one to arrive.
macro_rules! four {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\nprefetcht1 [{p} + ",
            $a,
            "]\ntdpbf16ps tmm1, tmm4, tmm7\nprefetcht1 [{p} + ",
            $b,
            "]\ntdpbf16ps tmm2, tmm5, tmm6\nprefetcht1 [{p} + ",
            $c,
            "]\ntdpbf16ps tmm3, tmm5, tmm7\nprefetcht1 [{p} + ",
            $d,
            "]",
        )
    };
}

/// The sums of one block of the result, 32 × 32 as four tiles: `name(left, right, chunks, next, sums)`.
///
/// `left` and `right` hold a chunk's tiles h, m, l, twice 16 rows each. Lines from `next` on are prefetched.
macro_rules! block {
    ($name:ident: $($line:expr),+ $(,)?) => {
        /// # Safety
        /// Each side must have `chunks` > 0 times six tiles, and the tiles of the unit must be configured.
        unsafe fn $name(left: *const Tile, right: *const Tile, chunks: usize, next: *const u8, sums: &mut [Tile; 4]) {
            // SAFETY: reads `chunks` times six tiles of each side, which are there, and writes the four tiles of `sums`; prefetches do not
            // fault; all registers that it changes are declared.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    $($line,)+
                    "add {a}, 6144", "add {b}, 6144", "add {p}, {asked}",
                    "dec {n}", "jnz 2b",
                    "tilestored [{c} + {row}*1], tmm0", "tilestored [{c} + {row}*1 + 1024], tmm1",
                    "tilestored [{c} + {row}*1 + 2048], tmm2", "tilestored [{c} + {row}*1 + 3072], tmm3",
                    a = inout(reg) left => _, b = inout(reg) right => _, n = inout(reg) chunks => _,
                    p = inout(reg) next => _, asked = const ASKED,
                    c = in(reg) sums.as_mut_ptr(), row = in(reg) 64usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// In this order, most products reuse a loaded pair. The six products: lh, mh, hh, hl, hm, mm.
block! { full:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(256 320 384 448),
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(512 576 640 704),
    "tileloadd tmm6, [{b} + {row}*1 + 4096]", "tileloadd tmm7, [{b} + {row}*1 + 5120]", four!(768 832 896 960),
    "tileloadd tmm6, [{b} + {row}*1 + 2048]", "tileloadd tmm7, [{b} + {row}*1 + 3072]", four!(1024 1088 1152 1216),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(1280 1344 1408 1472),
}

// If the right side is f16: no l.
block! { of_f16:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(256 320 384 448),
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(512 576 640 704),
    "tileloadd tmm6, [{b} + {row}*1 + 2048]", "tileloadd tmm7, [{b} + {row}*1 + 3072]", four!(768 832 896 960),
    "prefetcht1 [{p} + 1024]", "prefetcht1 [{p} + 1088]", "prefetcht1 [{p} + 1152]", "prefetcht1 [{p} + 1216]",
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(1280 1344 1408 1472),
}

// If it is bf16: only h.
block! { of_bf16:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "prefetcht1 [{p} + 256]", "prefetcht1 [{p} + 320]", "prefetcht1 [{p} + 384]", "prefetcht1 [{p} + 448]",
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(512 576 640 704),
    "prefetcht1 [{p} + 768]", "prefetcht1 [{p} + 832]", "prefetcht1 [{p} + 896]", "prefetcht1 [{p} + 960]",
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(1024 1088 1152 1216),
    "prefetcht1 [{p} + 1280]", "prefetcht1 [{p} + 1344]", "prefetcht1 [{p} + 1408]", "prefetcht1 [{p} + 1472]",
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
