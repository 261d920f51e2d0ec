//! Sums of products in WebAssembly's registers: of a few rows and a few columns, whose numbers are side by side.

#![allow(clippy::needless_range_loop)] // the same rows and columns of several arrays

use super::super::operands::Target;
use super::super::quantized::{BLOCK, BlockQ8_0};
use std::arch::wasm32::*;

/// `sum + x · w`. With the feature `relaxed` this is one instruction, which rounds once where the processor can multiply and add
/// at once, and twice elsewhere. For few rows it is slower, so [`column`] and [`column_of_blocks`] do not use it.
#[inline]
#[cfg_attr(feature = "relaxed", target_feature(enable = "relaxed-simd"))]
fn madd(sum: v128, x: v128, w: v128) -> v128 {
    #[cfg(feature = "relaxed")]
    return f32x4_relaxed_madd(x, w, sum);
    #[cfg(not(feature = "relaxed"))]
    f32x4_add(sum, f32x4_mul(x, w))
}

/// Dot products of R rows and one column. Four registers of sums, each of every sixteenth term: so a weight is read from memory
/// in its order.
///
/// # Safety
/// Rows and column must have `k` numbers; the target must be valid memory for R rows of one number.
#[inline(never)] // a function of its own has enough registers
pub unsafe fn column<const R: usize>(x: [*const f32; R], w: *const f32, k: usize, target: Target) {
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
            put_sum(sums[r], target.from(r, 0));
        }
    }
}

/// [`column`] with a column of blocks, which gives the same numbers as the widened column: nothing is written to memory.
///
/// # Safety
/// Rows must have 32 numbers for each block; the target must be valid memory for R rows of one number.
#[inline(never)] // a function of its own has enough registers
pub unsafe fn column_of_blocks<const R: usize>(x: [*const f32; R], w: &[BlockQ8_0], target: Target) {
    let mut sums = [[f32x4_splat(0.0); 4]; R];
    // SAFETY: as the caller promises.
    unsafe {
        if R > 2 {
            // four registers of sums for each row would be too many: two of each at a time
            add_blocks::<R, 0, 1>(&mut sums, x, w);
            add_blocks::<R, 1, 2>(&mut sums, x, w);
        } else {
            add_blocks::<R, 0, 2>(&mut sums, x, w);
        }
        for r in 0..R {
            put_sum(sums[r], target.from(r, 0));
        }
    }
}

/// Adds the products of blocks to registers 2 · FROM to 2 · TO of each row.
///
/// # Safety
/// Rows must have 32 numbers for each block.
#[inline(always)]
unsafe fn add_blocks<const R: usize, const FROM: usize, const TO: usize>(
    sums: &mut [[v128; 4]; R],
    x: [*const f32; R],
    w: &[BlockQ8_0],
) {
    for (at, block) in w.iter().enumerate() {
        let scale = f32x4_splat(block.scale());
        for half in 0..2 {
            for pair in FROM..TO {
                // SAFETY: reads 8 of the block's 32 integers.
                let q = unsafe { i16x8_load_extend_i8x8(block.qs.as_ptr().add(16 * half + 8 * pair)) };
                for (s, q) in [i32x4_extend_low_i16x8(q), i32x4_extend_high_i16x8(q)].into_iter().enumerate() {
                    let (s, w) = (2 * pair + s, f32x4_mul(scale, f32x4_convert_i32x4(q)));
                    for r in 0..R {
                        // SAFETY: reads numbers of this block from each row.
                        let x = unsafe { v128_load(x[r].add(at * BLOCK + 16 * half + 4 * s).cast()) };
                        sums[r][s] = f32x4_add(sums[r][s], f32x4_mul(x, w));
                    }
                }
            }
        }
    }
}

/// Writes the sum of four registers.
///
/// # Safety
/// The target must be valid memory for one number.
#[inline(always)]
unsafe fn put_sum([a, b, c, d]: [v128; 4], target: Target) {
    let sum = together([f32x4_add(f32x4_add(a, b), f32x4_add(c, d)); 4]);
    // SAFETY: as the caller promises.
    unsafe { put(target, sum, 1) };
}

/// Sums of multiples, x times w, of `k` rows of w with eight numbers, or `n` if that is less, in R rows of the target: row t of w is
/// `t * w_stride` numbers after `w`, and its factor for row r `t * x_stride` numbers after `x[r]`.
///
/// # Safety
/// Those numbers and the target must be valid memory.
#[inline(never)] // a function of its own has enough registers
#[cfg_attr(feature = "relaxed", target_feature(enable = "relaxed-simd"))]
pub unsafe fn multiples<const R: usize>(
    x: ([*const f32; R], usize),
    w: (*const f32, usize),
    k: usize,
    target: Target,
    n: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if n >= 8 {
            let sums = sums_of_multiples(
                x,
                w,
                k,
                #[inline(always)]
                |w| [v128_load(w.cast()), v128_load(w.add(4).cast())],
            );
            put_rows(sums, target, 8);
        } else {
            let rest = n.saturating_sub(4);
            let sums = sums_of_multiples(
                x,
                w,
                k,
                #[inline(always)]
                |w| [part(w, n), part(w.wrapping_add(4), rest)],
            );
            put_rows(sums, target, n);
        }
    }
}

/// Writes rows of at most eight numbers, `n` if that is less.
///
/// # Safety
/// The target must be valid memory for them.
#[inline(always)]
unsafe fn put_rows<const R: usize>(sums: [[v128; 2]; R], target: Target, n: usize) {
    for r in 0..R {
        for half in 0..2 {
            // SAFETY: as the caller promises.
            unsafe { put(target.from(r, 4 * half), sums[r][half], n.saturating_sub(4 * half)) };
        }
    }
}

/// The sums of [`multiples`]; `load` reads eight numbers of w.
///
/// # Safety
/// As there.
#[inline]
#[cfg_attr(feature = "relaxed", target_feature(enable = "relaxed-simd"))]
unsafe fn sums_of_multiples<const R: usize>(
    (x, x_stride): ([*const f32; R], usize),
    (w, w_stride): (*const f32, usize),
    k: usize,
    load: impl Fn(*const f32) -> [v128; 2],
) -> [[v128; 2]; R] {
    let mut sums = [[f32x4_splat(0.0); 2]; R];
    for t in 0..k {
        let w = load(w.wrapping_add(t * w_stride));
        for r in 0..R {
            // SAFETY: as the caller promises.
            let x = unsafe { v128_load32_splat(x[r].add(t * x_stride).cast()) };
            for half in 0..2 {
                sums[r][half] = madd(sums[r][half], x, w[half]);
            }
        }
    }
    sums
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
#[cfg_attr(feature = "relaxed", target_feature(enable = "relaxed-simd"))]
pub unsafe fn tile<const R: usize, const C: usize>(
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
#[inline]
#[cfg_attr(feature = "relaxed", target_feature(enable = "relaxed-simd"))]
unsafe fn sums_of<const R: usize, const C: usize>(x: [*const f32; R], w: [*const f32; C], k: usize) -> [[v128; C]; R] {
    let mut sums = [[f32x4_splat(0.0); C]; R];
    let mut add = |x: [v128; R], w: [v128; C]| {
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = madd(sums[r][c], x[r], w[c]);
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
pub fn together([a, b, c, d]: [v128; 4]) -> v128 {
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
