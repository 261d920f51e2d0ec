//! Products with a weight matrix (out, in) in f32 or fewer bits: `x Wᵀ` and `g W`. A compact matrix stays compact: panels or
//! pieces of it are widened when they are used.

use super::gemm::{Mat, matmul_raw};
use super::gemv::MAX_ROWS;
use super::pool::{Shared, for_rows, for_tasks, threads, written};
use super::quantized::Compact;
use std::cell::Cell;
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
        let x = Mat::new(x, m, width, width);
        let held = match self {
            // SAFETY: dst is (m, out), the caller's own.
            Self::F32(w, _) => return unsafe { matmul_raw(dst, out, x, w.t(), 1.0, false, threads()) },
            Self::Compact(held) => held,
        };
        if m == 0 {
            return;
        }
        if m > MAX_ROWS {
            // SAFETY: dst is (m, out), the caller's own; a piece writes its columns.
            return in_pieces(held, |rows, w| unsafe {
                matmul_raw(dst.add(rows.start), out, x, w.t(), 1.0, false, threads());
            });
        }
        let panel = (PANEL / width.max(1)).clamp(1, out.div_ceil(threads()).max(1));
        let dst = Shared::new(dst, m * out);
        for_tasks(out.div_ceil(panel), |i| {
            let rows = i * panel..(i * panel + panel).min(out);
            with_wide(rows.len() * width, |w| {
                held.widen(rows.clone(), 0..width, w);
                let w = Mat::new(w, rows.len(), width, width);
                // SAFETY: dst is (m, out), the caller's own; the columns are this task's.
                unsafe { matmul_raw(dst.at(rows.start), out, x, w.t(), 1.0, false, 1) };
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
        let held = match self {
            Self::F32(w, _) => {
                let g = Mat::new(g, m, out, out);
                // SAFETY: dst is (m, in), the caller's own.
                return unsafe { matmul_raw(dst, width, g, *w, 1.0, false, threads()) };
            }
            Self::Compact(held) => held,
        };
        if out == 0 || m == 0 {
            // SAFETY: dst is (m, in), the caller's own, and zeros are f32s.
            return unsafe { dst.write_bytes(0, m * width) };
        }
        // SAFETY: dst is (m, in), the caller's own; the first piece writes all of it, each later one adds its part of the sum.
        in_pieces(held, |rows, w| unsafe {
            let g = Mat::new(&g[rows.start..], m, rows.len(), out);
            matmul_raw(dst, width, g, w, 1.0, rows.start > 0, threads());
        });
    }
}

/// Calls `work(rows, those rows in f32)` for the pieces of a compact matrix, one after the other: for many rows, a whole
/// product on all threads is faster than panels in a cache.
fn in_pieces(held: &Compact, work: impl Fn(Range<usize>, Mat<'_>)) {
    let (out, width) = held.dims();
    let piece = (PIECE / width.max(1)).clamp(1, out.max(1));
    for first in (0..out).step_by(piece) {
        let rows = first..(first + piece).min(out);
        with_wide(rows.len() * width, |wide| {
            for_rows(wide, width, |at, wide| {
                held.widen(first + at..first + at + wide.len() / width.max(1), 0..width, wide);
            });
            work(rows.clone(), Mat::new(wide, rows.len(), width, width));
        });
    }
}

thread_local! {
    /// Widened numbers, kept so that products need no new memory. They are taken and put back, not borrowed, because a waiting
    /// thread may start another product.
    static WIDENED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` on `n` f32s of this thread, with any contents.
fn with_wide<T>(n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut kept = WIDENED.take();
    if kept.len() < n {
        kept.resize(n, 0.0);
    }
    let done = work(&mut kept[..n]);
    WIDENED.set(kept);
    done
}
