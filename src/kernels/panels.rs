//! Products of f32 with AVX-512. The right side's columns are packed in panels of 32; each thread packs the columns that it
//! multiplies. The left side is not packed as a whole: 12 of its rows at a time are copied next to each other.
//!
//! Every number of the result is one chain of fused multiply-adds for each 512 terms, for any number of rows and threads.

use super::operands::{Side, Target};
use super::pool::for_tasks;
use super::prefetch::into_l2;
use super::transposed::transpose;
use std::arch::x86_64::*;
use std::cell::Cell;

/// Rows that are multiplied together: with two registers of columns, 24 sums of the 32 registers.
const ROWS: usize = 12;
/// Columns of a panel.
const WIDTH: usize = 32;
/// Most columns and terms that a thread packs at a time: half of a second-level cache of 1 MB.
const COLUMNS: usize = 256;
const TERMS: usize = 512;
/// From one copied row to the next. Not a multiple of 4 KB, so that rows do not displace each other in the first-level cache.
const STRIDE: usize = TERMS + 16;
/// Fewer rows than this are not divided further among threads, because each part packs its columns.
const PART: usize = 8 * ROWS;

thread_local! {
    /// Packed columns and copied rows, kept so that products need no new memory. They are taken and put back, not borrowed,
    /// because a waiting thread may start another product.
    static PACKED: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// 16 numbers of a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Whether a product is large enough that packing its columns pays.
pub fn pays(m: usize, n: usize, k: usize) -> bool {
    m >= 2 * ROWS && n >= 2 * WIDTH && k >= 32
}

/// The product of `a`'s rows with `b`'s columns, on `threads` threads (1, or all). The numbers of a row are side by side.
///
/// # Safety
/// The processor must have AVX-512; the sides and the target must be valid memory, and no one else may use the target.
pub unsafe fn multiply(a: Side, b: Side, c: Target, threads: usize) {
    assert!(a.k_stride == 1, "numbers of a row are not side by side");
    let cols = b.len.div_ceil(b.len.div_ceil(COLUMNS * threads) * threads).next_multiple_of(WIDTH);
    let across = b.len.div_ceil(cols);
    let down = threads.div_ceil(across).min(a.len.div_ceil(PART)).max(1);
    let rows = a.len.div_ceil(down).next_multiple_of(ROWS);
    let task = |i: usize| {
        let (row, col) = (i / across * rows, i % across * cols);
        if row < a.len {
            let (a, b) = (rest(a, row, rows), rest(b, col, cols));
            // SAFETY: as the caller promises; each task writes other rows or columns.
            unsafe { part(a, b, c.from(row, col)) };
        }
    };
    if threads > 1 {
        for_tasks(across * down, task);
    } else {
        (0..across * down).for_each(task);
    }
}

/// At most `len` rows (columns) from `first` on.
fn rest(side: Side, first: usize, len: usize) -> Side {
    Side { data: side.data.wrapping_add(first * side.stride), len: (side.len - first).min(len), ..side }
}

/// One thread's rows and columns.
///
/// # Safety
/// As [`multiply`]'s.
unsafe fn part(a: Side, b: Side, c: Target) {
    let terms = a.k.div_ceil(a.k.div_ceil(TERMS).max(1));
    let panels = b.len.div_ceil(WIDTH);
    let mut kept = PACKED.take();
    let needed = (panels * terms * WIDTH + ROWS * STRIDE) / 16;
    if kept.len() < needed {
        kept.resize(needed, Line([0.0; 16]));
    }
    let copied = kept.as_mut_ptr().cast::<f32>();
    let packed = copied.wrapping_add(ROWS * STRIDE);
    for k in (0..a.k).step_by(terms.max(1)) {
        let of =
            |side: Side| Side { data: side.data.wrapping_add(k * side.k_stride), k: (side.k - k).min(terms), ..side };
        let (a, b) = (of(a), of(b));
        let c = Target { accumulate: c.accumulate || k > 0, ..c };
        // SAFETY: `kept` has room for 12 rows and all panels of these terms; rows and columns are below the sides' lengths.
        unsafe {
            for panel in 0..panels {
                pack(rest(b, panel * WIDTH, WIDTH), packed.add(panel * b.k * WIDTH));
            }
            for row in (0..a.len).step_by(ROWS) {
                let n = ROWS.min(a.len - row);
                for i in 0..n {
                    a.data.add((row + i) * a.stride).copy_to_nonoverlapping(copied.add(i * STRIDE), a.k);
                }
                for panel in 0..panels {
                    let cols = WIDTH.min(b.len - panel * WIDTH);
                    let to = c.from(row, panel * WIDTH);
                    block_of(n, copied, packed.add(panel * b.k * WIDTH), a.k, to, cols);
                }
            }
        }
    }
    PACKED.set(kept);
}

/// Packs at most 32 columns: for each term, one number of each column, then zeros.
///
/// # Safety
/// The processor must have AVX-512, the side must be valid memory, and `to` must have 32 numbers for each term, aligned to 64 bytes.
#[target_feature(enable = "avx512f")]
unsafe fn pack(b: Side, to: *mut f32) {
    let whole = if b.len == WIDTH && b.k_stride == 1 { b.k / 16 * 16 } else { 0 };
    // SAFETY: terms and columns are below the side's; all 32 numbers of a term belong to `to`. Prefetched addresses need not be valid.
    unsafe {
        for k in (0..whole).step_by(16) {
            (0..WIDTH).for_each(|j| into_l2(b.data.wrapping_add((WIDTH + j) * b.stride + k)));
            for half in [0, 16] {
                transpose(b.data.add(half * b.stride + k), b.stride, to.add(k * WIDTH + half), WIDTH);
            }
        }
        for k in whole..b.k {
            let (from, to) = (b.data.add(k * b.k_stride), to.add(k * WIDTH));
            if b.len == WIDTH && b.stride == 1 {
                from.copy_to_nonoverlapping(to, WIDTH);
            } else {
                (0..b.len).for_each(|j| *to.add(j) = *from.add(j * b.stride));
                (b.len..WIDTH).for_each(|j| *to.add(j) = 0.0);
            }
        }
    }
}

/// [`block`] for this number of rows.
///
/// # Safety
/// As [`block`]'s, for `rows` rows, 1 to 12.
#[target_feature(enable = "avx512f")]
unsafe fn block_of(rows: usize, a: *const f32, panel: *const f32, terms: usize, c: Target, cols: usize) {
    macro_rules! of {
        ($($n:literal)*) => {
            // SAFETY: as the caller promises.
            match rows { $($n => unsafe { block::<$n>(a, panel, terms, c, cols) },)* _ => unreachable!("12 rows at most") }
        };
    }
    of!(12 1 2 3 4 5 6 7 8 9 10 11)
}

/// Multiplies R copied rows with a panel, of which the target has the first `cols` columns.
///
/// # Safety
/// The processor must have AVX-512; rows and panel must have `terms` terms, and the target must be valid for R rows of `cols` numbers.
#[target_feature(enable = "avx512f")]
#[allow(clippy::needless_range_loop)] // the same rows of sums and of the target
unsafe fn block<const R: usize>(a: *const f32, panel: *const f32, terms: usize, c: Target, cols: usize) {
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    // SAFETY: rows are `STRIDE` apart, a panel has 32 numbers for each term; a mask excludes columns that the target does not have.
    unsafe {
        for term in 0..terms {
            let b = [0, 16].map(|half| _mm512_load_ps(panel.add(term * WIDTH + half)));
            for i in 0..R {
                let x = _mm512_set1_ps(*a.add(i * STRIDE + term));
                sums[i] = [0, 1].map(|half| _mm512_fmadd_ps(x, b[half], sums[i][half]));
            }
        }
        let scale = _mm512_set1_ps(c.scale);
        for half in 0..cols.div_ceil(16) {
            let mask = if cols - 16 * half >= 16 { !0 } else { (1u16 << (cols - 16 * half)) - 1 };
            for i in 0..R {
                let to = c.data.add(i * c.stride + 16 * half);
                let mut x = _mm512_mul_ps(sums[i][half], scale);
                if c.accumulate {
                    x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, to));
                }
                _mm512_mask_storeu_ps(to, mask, x);
            }
        }
    }
}
