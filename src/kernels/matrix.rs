//! Products with a weight matrix (out, in) in f32 or fewer bits: `x Wᵀ` and `g W`, in the way that is in use for linear layers.
//! A compact matrix stays compact: it is multiplied as it is held (bf16 in products of bf16, up to 16 rows with q8_0), or panels or
//! pieces of it are widened when they are used. If products of bf16 have no instruction, pieces of an f32 matrix are rounded.

#[cfg(target_arch = "x86_64")]
use super::block_rows;
#[cfg(target_arch = "wasm32")]
use super::choice::Kernel;
use super::choice::{Products, Way, vectorized};
use super::gemm::{Mat, multiply, multiply_held};
use super::gemv::MAX_ROWS;
use super::operands::{Side, Target};
use super::pool::{PerThread, Shared, for_rows, for_tasks, threads, written};
use super::quantized::Compact;
use super::rounding::{nearest, with_rounded};
#[cfg(target_arch = "wasm32")]
use super::simd128;
use half::bf16;
use std::ops::Range;

/// f32s in a panel for products of few rows: 256 KB, half of a small second-level cache.
const PANEL: usize = 1 << 16;
/// f32s in a piece for products of many rows, 16 MB: the whole matrix, except for output matrices.
pub const PIECE: usize = 1 << 22;

/// A weight (out, in).
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    F32(Mat<'a>, (usize, usize)),
    Compact(&'a Compact),
}

impl<'a> Matrix<'a> {
    /// A row-major f32 matrix (rows, cols).
    pub fn new(numbers: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::F32(Mat::new(numbers, rows, cols, cols), (rows, cols))
    }

    /// (rows, cols) = (out, in).
    pub fn dims(&self) -> (usize, usize) {
        match self {
            Self::F32(_, dims) => *dims,
            Self::Compact(held) => held.dims(),
        }
    }

    /// `dst = x Wᵀ`: x (m, in), dst (m, out).
    pub fn forward(&self, dst: &mut [f32], x: &[f32], m: usize) {
        assert!(dst.len() == m * self.dims().0, "product of other sizes");
        // SAFETY: dst is exclusively borrowed and of that size.
        unsafe { self.forward_raw(dst.as_mut_ptr(), x, m) }
    }

    /// `dst = g W`: g (m, out), dst (m, in).
    pub fn backward(&self, dst: &mut [f32], g: &[f32], m: usize) {
        assert!(dst.len() == m * self.dims().1, "product of other sizes");
        // SAFETY: dst is exclusively borrowed and of that size.
        unsafe { self.backward_raw(dst.as_mut_ptr(), g, m) }
    }

    /// `x Wᵀ`: x (m, in) → (m, out).
    pub fn product(&self, x: &[f32], m: usize) -> Vec<f32> {
        // SAFETY: `forward_raw` writes m · out numbers.
        unsafe { written(m * self.dims().0, |y| self.forward_raw(y, x, m)) }
    }

    /// `g W`: g (m, out) → (m, in).
    pub fn transposed_product(&self, g: &[f32], m: usize) -> Vec<f32> {
        // SAFETY: `backward_raw` writes m · in numbers.
        unsafe { written(m * self.dims().1, |x| self.backward_raw(x, g, m)) }
    }

    /// As [`Matrix::forward`], to uninitialised memory.
    ///
    /// # Safety
    /// `dst` must be m · out numbers of the caller's own.
    unsafe fn forward_raw(&self, dst: *mut f32, x: &[f32], m: usize) {
        let (out, width) = self.dims();
        assert!(x.len() == m * width, "product of other sizes");
        let target = |dst| Target { data: dst, stride: out, scale: 1.0, accumulate: false };
        if let Some(b) = self.held_bf16() {
            // SAFETY: dst is (m, out), the caller's own, and the weight's rows are columns of width numbers.
            let done = unsafe { multiply_held(Way::in_use(), target(dst), Mat::new(x, m, width, width), b, threads()) };
            if done {
                return;
            }
        }
        in_way(Mat::new(x, m, width, width), |way, x, rounds| {
            if let (Self::F32(w, _), false) = (self, rounds) {
                // SAFETY: dst is (m, out), the caller's own.
                return unsafe { multiply(way, target(dst), x, w.t(), threads()) };
            }
            if m == 0 {
                return;
            }
            #[cfg(target_arch = "wasm32")]
            if let (Self::Compact(held), false, Kernel::Simd128) = (self, rounds, way.kernel) {
                // SAFETY: dst is (m, out), the caller's own.
                return unsafe { simd128::multiply(target(dst), x, simd128::Right::Transposed(held), threads()) };
            }
            #[cfg(target_arch = "x86_64")]
            if let (Self::Compact(held), false) = (self, rounds)
                && let Some(blocks) = held.blocks()
                && m <= MAX_ROWS
                && block_rows::multiplies(way.kernel, width)
            {
                // SAFETY: the kernel is in use, so it is available; dst is (m, out), the caller's own.
                return unsafe { block_rows::multiply(target(dst), x, blocks, threads()) };
            }
            if m > MAX_ROWS {
                // SAFETY: dst is (m, out), the caller's own; a piece writes its columns.
                return self.in_pieces(rounds, |rows, w| unsafe {
                    multiply(way, target(dst.add(rows.start)), x, w.t(), threads());
                });
            }
            let panel = (PANEL / width.max(1)).clamp(1, out.div_ceil(threads()).max(1));
            let dst = Shared::new(dst, m * out);
            for_tasks(out.div_ceil(panel), |i| {
                let rows = i * panel..(i * panel + panel).min(out);
                with_wide(rows.len() * width, |w| {
                    self.widen(rows.clone(), rounds, w);
                    let w = Mat::new(w, rows.len(), width, width);
                    // SAFETY: dst is (m, out), the caller's own; the columns are this task's.
                    unsafe { multiply(way, target(dst.at(rows.start)), x, w.t(), 1) };
                });
            });
        });
    }

    /// As [`Matrix::backward`], to uninitialised memory.
    ///
    /// # Safety
    /// `dst` must be m · in numbers of the caller's own.
    unsafe fn backward_raw(&self, dst: *mut f32, g: &[f32], m: usize) {
        let (out, width) = self.dims();
        assert!(g.len() == m * out, "product of other sizes");
        let target = |accumulate| Target { data: dst, stride: width, scale: 1.0, accumulate };
        if let Some(rows) = self.held_bf16() {
            let b = Side { len: width, k: out, stride: 1, k_stride: width, ..rows };
            // SAFETY: dst is (m, in), the caller's own, and the weight has out rows of width numbers.
            let done = unsafe { multiply_held(Way::in_use(), target(false), Mat::new(g, m, out, out), b, threads()) };
            if done {
                return;
            }
        }
        in_way(Mat::new(g, m, out, out), |way, g, rounds| {
            if let (Self::F32(w, _), false) = (self, rounds) {
                // SAFETY: dst is (m, in), the caller's own.
                return unsafe { multiply(way, target(false), g, *w, threads()) };
            }
            #[cfg(target_arch = "wasm32")]
            if let (Self::Compact(held), false, Kernel::Simd128) = (self, rounds, way.kernel) {
                // SAFETY: dst is (m, in), the caller's own.
                return unsafe { simd128::multiply(target(false), g, simd128::Right::Compact(held), threads()) };
            }
            if out == 0 || m == 0 {
                // SAFETY: dst is (m, in), the caller's own, and zeros are f32s.
                return unsafe { dst.write_bytes(0, m * width) };
            }
            // SAFETY: dst is (m, in), the caller's own; the first piece writes all of it, each later one adds its part of the sum.
            self.in_pieces(rounds, |rows, w| unsafe {
                let g = Mat::new(&g.data[rows.start..], m, rows.len(), out);
                multiply(way, target(rows.start > 0), g, w, threads());
            });
        });
    }

    /// The rows of a matrix that is held as bf16, as columns of `x Wᵀ`.
    fn held_bf16(&self) -> Option<Side<bf16>> {
        let Self::Compact(held) = self else { return None };
        let (out, width) = held.dims();
        held.bf16().map(|w| Side { data: w.as_ptr(), len: out, k: width, stride: width, k_stride: 1 })
    }

    /// Calls `work(rows, those rows in f32)` for the pieces of a matrix, one after the other: for many rows, a whole product on
    /// all threads is faster than panels in a cache.
    fn in_pieces(&self, rounds: bool, work: impl Fn(Range<usize>, Mat<'_>)) {
        let (out, width) = self.dims();
        let piece = (PIECE / width.max(1)).clamp(1, out.max(1));
        for first in (0..out).step_by(piece) {
            let rows = first..(first + piece).min(out);
            with_wide(rows.len() * width, |wide| {
                for_rows(wide, width, |at, wide| {
                    self.widen(first + at..first + at + wide.len() / width.max(1), rounds, wide);
                });
                work(rows.clone(), Mat::new(wide, rows.len(), width, width));
            });
        }
    }

    /// Writes rows as f32, rounded to bf16 if asked.
    fn widen(&self, rows: Range<usize>, rounds: bool, to: &mut [f32]) {
        let width = self.dims().1;
        match self {
            Self::F32(w, _) => to.copy_from_slice(&w.data[rows.start * width..rows.end * width]),
            Self::Compact(held) => held.widen(rows, 0..width, to),
        }
        if rounds {
            vectorized(
                #[inline(always)]
                || to.iter_mut().for_each(|x| *x = nearest(*x)),
            );
        }
    }
}

/// Runs `work(way, x, rounds)` with the way that is in use for linear layers and the rows `x`. If it multiplies bf16 but has no
/// instruction for that, or packing for one would take longer than the product, x is a rounded copy and products are of f32;
/// then the weights must be rounded too.
fn in_way(x: Mat<'_>, work: impl FnOnce(Way, Mat<'_>, bool)) {
    let way = Way::in_use();
    if way.products == Products::Bf16 && (x.rows <= MAX_ROWS || !way.is_direct()) {
        with_rounded([x], threads(), |[x]| work(way.kernel.into(), x, true));
    } else {
        work(way, x, false);
    }
}

thread_local! {
    /// Widened numbers, kept so that products need no new memory. They are taken and put back, not borrowed, because a waiting
    /// thread may start another product.
    static WIDENED: PerThread<Vec<f32>> = const { PerThread::new() };
}

/// Runs `work` on `n` f32s of this thread, with any contents.
fn with_wide<T>(n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut kept = WIDENED.with(PerThread::take);
    if kept.len() < n {
        kept.resize(n, 0.0);
    }
    let done = work(&mut kept[..n]);
    WIDENED.with(|all| all.put(kept));
    done
}
