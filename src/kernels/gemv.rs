//! Products of a few rows with a weight, `x Wᵀ`, for decoding one token per row. Their speed is limited by reading the weight
//! from memory, so it is not packed. The rows are side by side in the lanes of a register, which is multiplied with one number
//! of the weight at a time, so that no sums over lanes are needed. `gemm` does larger products, and those on processors with
//! narrow SIMD.
//!
//! For every SIMD width and number of rows, there are four sums side by side, each of every fourth term, so that a row's
//! numbers do not depend on the number of rows.

use super::operands::{Mat, Target};
use super::prefetch::{LINE, into_l1};
use pulp::{Simd, WithSimd};

/// With more rows than this, packing the weight is faster.
pub const MAX_ROWS: usize = 16;

/// Maximum size (8 KB) of a weight that is never packed: its products are summed in one order for any number of rows.
pub const SMALL: usize = 1 << 11;

/// Rows side by side: the lanes of AVX-512.
const ROWS: usize = 16;

/// Running sums of one number of the result.
const SUMS: usize = 4;

/// Rows side by side, `ROWS` at a time: number `k` of row `i` of a group is at `k · ROWS + i`, zeros if there is no row. A
/// single row is not changed.
pub struct Interleaved<'a> {
    x: &'a [f32],
    k: usize,
}

/// Writes the rows of `x`, whose numbers are side by side, into `to`, which grows if needed.
pub fn interleave<'a>(to: &'a mut Vec<f32>, x: Mat<'_>) -> Interleaved<'a> {
    let (m, k) = (x.rows, x.cols);
    debug_assert_eq!(x.col_stride, 1);
    if m == 1 {
        to.clear();
        to.extend_from_slice(&x.data[..k]);
        return Interleaved { x: to, k };
    }
    to.resize(m.next_multiple_of(ROWS) * k, 0.0);
    for (group, to) in to.chunks_exact_mut((ROWS * k).max(1)).enumerate() {
        for (at, to) in to.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            for (i, to) in to.iter_mut().enumerate() {
                let row = group * ROWS + i;
                *to = if row < m { x.data[row * x.row_stride + at] } else { 0.0 };
            }
        }
    }
    Interleaved { x: to, k }
}

/// Columns of a product and its inputs. Computes them if SIMD is [`Wide`].
#[derive(Clone, Copy)]
pub struct FewRows<'a> {
    x: &'a Interleaved<'a>,
    m: usize,
    /// (n, k), rows `w_stride` apart.
    w: *const f32,
    w_stride: usize,
    n: usize,
    /// (m, n).
    target: Target,
}

// SAFETY: callers of `FewRows::new` guarantee its memory, and every thread gets different columns.
unsafe impl Send for FewRows<'_> {}
// SAFETY: as above; a shared one is only copied.
unsafe impl Sync for FewRows<'_> {}

impl<'a> FewRows<'a> {
    /// The product of `m` rows with the columns of `b`, whose numbers are side by side.
    ///
    /// # Safety
    /// As long as it is used, the target must be valid memory for an (m, b.cols) block that nobody else uses, and `b`'s numbers
    /// must stay where they are.
    pub unsafe fn new(x: &'a Interleaved<'a>, m: usize, b: Mat<'_>, target: Target) -> Self {
        assert!(b.row_stride == 1 && b.rows == x.k, "columns of another length");
        Self { x, m, w: b.data.as_ptr(), w_stride: b.col_stride, n: b.cols, target }
    }

    /// Only the columns `first..first + n`.
    pub fn columns(self, first: usize, n: usize) -> Self {
        let n = n.min(self.n - first);
        Self { w: self.w.wrapping_add(first * self.w_stride), target: self.target.from(0, first), n, ..self }
    }

    /// All columns, `C` at a time.
    #[inline(always)]
    fn run<S: Simd, const C: usize>(&self, simd: S) {
        let whole = self.n / C * C;
        for j in (0..whole).step_by(C) {
            self.rows::<S, C>(simd, j);
        }
        (whole..self.n).for_each(|j| self.rows::<S, 1>(simd, j));
    }

    #[inline(always)]
    fn rows<S: Simd, const C: usize>(&self, simd: S, j: usize) {
        if self.m == 1 {
            // SAFETY: `run` asks for columns below n only.
            return unsafe { self.one_row::<C>(j) };
        }
        for i in (0..self.m).step_by(S::F32_LANES) {
            // SAFETY: i is below m, and `run` asks for columns below n only.
            unsafe { self.block::<S, C>(simd, i, j) };
        }
    }

    /// Pointers to columns `j..j + C` of the weight, and a function that prefetches the following columns line by line while
    /// these are multiplied.
    #[inline(always)]
    fn weights<const C: usize>(&self, j: usize) -> ([*const f32; C], impl Fn(usize)) {
        let rows: [*const f32; C] = std::array::from_fn(|c| self.w.wrapping_add((j + c) * self.w_stride));
        let next = C * self.w_stride;
        (rows, move |at| {
            if at.is_multiple_of(LINE) {
                rows.iter().for_each(|row| into_l1(row.wrapping_add(next + at)));
            }
        })
    }

    /// Computes as many rows from `i` on as there are lanes, and C columns from `j` on.
    ///
    /// # Safety
    /// i < m and j + C ≤ n.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // the same columns of several arrays
    unsafe fn block<S: Simd, const C: usize>(&self, simd: S, i: usize, j: usize) {
        let (k, whole) = (self.x.k, self.x.k / SUMS * SUMS);
        let (weights, prefetch) = self.weights::<C>(j);
        let mut sums = [[simd.splat_f32s(0.0); SUMS]; C];
        let mut out = [[0f32; ROWS]; C];
        // SAFETY: `x` has k · ROWS numbers for the group of row i, S::F32_LANES of which are read from a multiple of the lanes on;
        // each column of the weight has k numbers; `out` has ROWS ≥ lanes numbers a column; `put` gets rows below m.
        unsafe {
            let x = self.x.x.as_ptr().add(i / ROWS * ROWS * k + i % ROWS);
            let rows = |at: usize| x.add(at * ROWS).cast::<S::f32s>().read_unaligned();
            for at in (0..whole).step_by(SUMS) {
                prefetch(at);
                let x: [S::f32s; SUMS] = std::array::from_fn(|s| rows(at + s));
                for c in 0..C {
                    for s in 0..SUMS {
                        let w = simd.splat_f32s(*weights[c].add(at + s));
                        sums[c][s] = simd.mul_add_f32s(x[s], w, sums[c][s]);
                    }
                }
            }
            for at in whole..k {
                for c in 0..C {
                    sums[c][0] = simd.mul_add_f32s(rows(at), simd.splat_f32s(*weights[c].add(at)), sums[c][0]);
                }
            }
            for c in 0..C {
                let [a, b, e, f] = sums[c];
                let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(e, f));
                let sum = simd.mul_f32s(sum, simd.splat_f32s(self.target.scale));
                out[c].as_mut_ptr().cast::<S::f32s>().write_unaligned(sum);
            }
            for row in 0..(self.m - i).min(S::F32_LANES) {
                for c in 0..C {
                    self.put(i + row, j + c, out[c][row]);
                }
            }
        }
    }

    /// Computes C columns from `j` on of the only row: the same sums, with the terms side by side.
    ///
    /// # Safety
    /// m = 1 and j + C ≤ n.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // as above
    unsafe fn one_row<const C: usize>(&self, j: usize) {
        let (k, whole) = (self.x.k, self.x.k / SUMS * SUMS);
        let (weights, prefetch) = self.weights::<C>(j);
        let mut sums = [[0f32; SUMS]; C];
        // SAFETY: `x` has k numbers, and so has each column of the weight.
        unsafe {
            let x = self.x.x.as_ptr();
            for at in (0..whole).step_by(SUMS) {
                prefetch(at);
                let x = x.add(at).cast::<[f32; SUMS]>().read_unaligned();
                for c in 0..C {
                    let w = weights[c].add(at).cast::<[f32; SUMS]>().read_unaligned();
                    for s in 0..SUMS {
                        sums[c][s] = x[s].mul_add(w[s], sums[c][s]);
                    }
                }
            }
            for at in whole..k {
                for c in 0..C {
                    sums[c][0] = (*x.add(at)).mul_add(*weights[c].add(at), sums[c][0]);
                }
            }
            for c in 0..C {
                let [a, b, e, f] = sums[c];
                self.put(0, j + c, ((a + b) + (e + f)) * self.target.scale);
            }
        }
    }

    /// # Safety
    /// row < m and column < n.
    #[inline(always)]
    unsafe fn put(&self, row: usize, column: usize, sum: f32) {
        // SAFETY: inside the target, which `FewRows::new` was promised for this product alone.
        let y = unsafe { &mut *self.target.data.add(row * self.target.stride + column) };
        *y = if self.target.accumulate { *y + sum } else { sum };
    }
}

impl WithSimd for FewRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::F32_LANES == 16 {
            self.run::<S, 6>(simd); // 24 sums in 32 registers
        } else if S::F32_LANES == 8 {
            self.run::<S, 2>(simd); // 8 in 16
        }
    }
}

/// Whether SIMD is wide enough for [`FewRows`].
pub struct Wide;

impl WithSimd for Wide {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        matches!(S::F32_LANES, 8 | 16)
    }
}
