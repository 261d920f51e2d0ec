//! Attention of single queries, four keys at a time: q is read once for them, and sums stay in registers. The numbers are those of
//! the loops in `attention::decoding`.

use super::super::choice::{Kernel, kernel};
use super::sums::together;
use std::arch::wasm32::*;

/// Rows of keys or values for some heads: their first numbers, the distance between rows, how many rows are used, and the
/// numbers of a head.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub numbers: &'a [f32],
    pub stride: usize,
    pub count: usize,
    pub d: usize,
}

impl Rows<'_> {
    /// The rows that are done four at a time, from the first one; `width` numbers of each are used. The rest is for other loops.
    fn fours(&self, width: usize, p: &[f32], p_stride: usize) -> usize {
        let fours = self.count / 4 * 4;
        if fours == 0 || width == 0 || !self.d.is_multiple_of(8) || kernel() != Kernel::Simd128 {
            return 0;
        }
        assert!(
            width.is_multiple_of(self.d)
                && (fours - 1) * self.stride + width <= self.numbers.len()
                && (width / self.d - 1) * p_stride + fours <= p.len(),
            "outside the slices"
        );
        fours
    }

    /// The part of four rows from row `j` on that belongs to a head.
    fn four(&self, j: usize, head: usize) -> [*const f32; 4] {
        [0, 1, 2, 3].map(|i| self.numbers.as_ptr().wrapping_add((j + i) * self.stride + head * self.d))
    }
}

/// `scale · q k` of head h and key j, in `p[h * p_stride + j]`, for the first keys, as many as are returned.
pub fn scores(q: &[f32], keys: Rows<'_>, scale: f32, p: &mut [f32], p_stride: usize) -> usize {
    let fours = keys.fours(q.len(), p, p_stride);
    for j in (0..fours).step_by(4) {
        for (head, q) in q.chunks_exact(keys.d).enumerate() {
            // SAFETY: `fours` checked that these parts of the keys and of p are inside.
            unsafe {
                let sums = f32x4_mul(dots(q, keys.four(j, head)), f32x4_splat(scale));
                v128_store(p.as_mut_ptr().add(head * p_stride + j).cast(), sums);
            }
        }
    }
    fours
}

/// Adds to the heads of `out` the values of the first rows, as many as are returned, times `p[h * p_stride + j]` for head h and
/// row j.
pub fn add_values(out: &mut [f32], values: Rows<'_>, p: &[f32], p_stride: usize) -> usize {
    let fours = values.fours(out.len(), p, p_stride);
    for j in (0..fours).step_by(4) {
        for (head, out) in out.chunks_exact_mut(values.d).enumerate() {
            let p = &p[head * p_stride + j..][..4];
            // SAFETY: `fours` checked that these parts of the values are inside.
            unsafe { add_multiples(out, [p[0], p[1], p[2], p[3]], values.four(j, head)) };
        }
    }
    fours
}

/// Products of q, a multiple of eight numbers, with four keys, summed as in `math::dot`.
///
/// # Safety
/// The keys must have as many numbers as q.
#[inline(never)] // a function of its own has enough registers
unsafe fn dots(q: &[f32], k: [*const f32; 4]) -> v128 {
    let mut sums = [[f32x4_splat(0.0); 2]; 4];
    for t in (0..q.len()).step_by(8) {
        for half in 0..2 {
            // SAFETY: reads numbers below q's length.
            let q = unsafe { v128_load(q.as_ptr().add(t + 4 * half).cast()) };
            for (sums, k) in sums.iter_mut().zip(k) {
                // SAFETY: as above.
                let k = unsafe { v128_load(k.add(t + 4 * half).cast()) };
                sums[half] = f32x4_add(sums[half], f32x4_mul(q, k));
            }
        }
    }
    together(sums.map(|[a, b]| f32x4_add(a, b)))
}

/// Adds multiples of four rows to `out`, a multiple of four numbers, in the order of the rows.
///
/// # Safety
/// The rows must have as many numbers as `out`.
#[inline(never)] // as above
unsafe fn add_multiples(out: &mut [f32], p: [f32; 4], v: [*const f32; 4]) {
    let p = p.map(|p| f32x4_splat(p));
    for t in (0..out.len()).step_by(4) {
        // SAFETY: reads and writes numbers below the length of `out`.
        unsafe {
            let at = out.as_mut_ptr().add(t).cast();
            let mut sum = v128_load(at);
            for (p, v) in p.iter().zip(v) {
                sum = f32x4_add(sum, f32x4_mul(*p, v128_load(v.add(t).cast())));
            }
            v128_store(at, sum);
        }
    }
}
