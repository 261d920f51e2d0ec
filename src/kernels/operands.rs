//! Operands of the kernels: matrices in slices, the sides of a product of tiles, and the target of a product.

/// A read-only matrix in a slice, any strides.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

/// The target of a product: row-major, rows `stride` apart; gets `scale · product`, or has it added with `accumulate`.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub data: *mut f32,
    pub stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: a pointer and numbers. The code that makes a target guarantees its memory, and each thread with a copy writes
// different rows or columns.
unsafe impl Send for Target {}
// SAFETY: as above; a shared target is only copied.
unsafe impl Sync for Target {}

impl Target {
    /// The part of the target from this row and column on.
    pub fn from(self, row: usize, col: usize) -> Self {
        Self { data: self.data.wrapping_add(row * self.stride + col), ..self }
    }
}

impl<'a> Mat<'a> {
    /// Row-major (rows, cols), rows `row_stride` apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        let mat = Self { data, rows, cols, row_stride, col_stride: 1 };
        assert!(rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len(), "matrix leaves its slice");
        mat
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// A matrix side: `len` rows (of the left matrix) or columns (of the right one) with `k` numbers each, f32 or bf16.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Side<T = f32> {
    pub data: *const T,
    pub len: usize,
    pub k: usize,
    /// From one row (column) to the next.
    pub stride: usize,
    /// From one of its numbers to the next.
    pub k_stride: usize,
}

// SAFETY: callers of `tiles::multiply` guarantee the memory of both sides, which threads only read.
unsafe impl<T: Sync> Send for Side<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Side<T> {}
