//! Products of a few rows with a weight as it lies in memory, `x Wᵀ`: what decoding one token a row does. They run at the
//! rate at which memory gives the weight, so that nothing may be packed first: each sum is a dot product along both rows,
//! a block of them at a time. Larger products, and processors with narrow SIMD, are `cpu`'s.

use pulp::{Simd, WithSimd};

/// Rows at most; more are worth packing for.
pub const MOST: usize = 16;

/// Columns of the result and what they are computed from.
#[derive(Clone, Copy)]
pub struct FewRows {
    /// (m, k), rows `x_stride` apart.
    pub x: *const f32,
    pub x_stride: usize,
    pub m: usize,
    pub k: usize,
    /// (n, k), rows `w_stride` apart.
    pub w: *const f32,
    pub w_stride: usize,
    pub n: usize,
    /// (m, n), rows `y_stride` apart: `scale · x wᵀ`, added to what is there with `accumulate`.
    pub y: *mut f32,
    pub y_stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: whoever makes one vouches for the memory, and gives every thread columns of its own.
unsafe impl Send for FewRows {}
unsafe impl Sync for FewRows {}

impl FewRows {
    /// The part with columns `first..first + n` only.
    pub fn columns(self, first: usize, n: usize) -> Self {
        let n = n.min(self.n - first);
        Self { w: self.w.wrapping_add(first * self.w_stride), y: self.y.wrapping_add(first), n, ..self }
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
        for i in (0..self.m).step_by(4) {
            // SAFETY: these rows and columns are there.
            unsafe {
                match self.m - i {
                    1 => self.block::<S, 1, C>(simd, i, j),
                    2 => self.block::<S, 2, C>(simd, i, j),
                    3 => self.block::<S, 3, C>(simd, i, j),
                    _ => self.block::<S, 4, C>(simd, i, j),
                }
            }
        }
    }

    /// R rows and C columns of the result, from row `i` and column `j`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // rows and columns of three arrays at once
    unsafe fn block<S: Simd, const R: usize, const C: usize>(&self, simd: S, i: usize, j: usize) {
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        let whole = self.k / S::F32_LANES * S::F32_LANES;
        // SAFETY: the caller's rows and columns.
        unsafe {
            let (x, w) = (self.x.add(i * self.x_stride), self.w.add(j * self.w_stride));
            for at in (0..whole).step_by(S::F32_LANES) {
                let mut rows = [simd.splat_f32s(0.0); R];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = x.add(r * self.x_stride + at).cast::<S::f32s>().read_unaligned();
                }
                for c in 0..C {
                    let w = w.add(c * self.w_stride + at).cast::<S::f32s>().read_unaligned();
                    for r in 0..R {
                        sums[r][c] = simd.mul_add_f32s(rows[r], w, sums[r][c]);
                    }
                }
            }
            for c in 0..C {
                for r in 0..R {
                    let mut sum = simd.reduce_sum_f32s(sums[r][c]);
                    for at in whole..self.k {
                        sum += *x.add(r * self.x_stride + at) * *w.add(c * self.w_stride + at);
                    }
                    let y = self.y.add((i + r) * self.y_stride + j + c);
                    *y = if self.accumulate { *y + self.scale * sum } else { self.scale * sum };
                }
            }
        }
    }
}

impl WithSimd for FewRows {
    /// Was it done? Not where SIMD is narrow.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        match S::F32_LANES {
            16 => self.run::<S, 6>(simd), // 24 sums in 32 registers
            8 => self.run::<S, 2>(simd),  // 8 in 16
            _ => return false,
        }
        true
    }
}
