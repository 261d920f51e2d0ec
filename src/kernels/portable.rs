//! Matrix products in plain, safe Rust. All other kernels are compared with them in tests, and they are used if there is no
//! other kernel.

use super::math::dot;
use super::operands::Mat;

/// The right side of a product, with contiguous columns.
pub(super) enum Right<'a> {
    /// The columns are already contiguous.
    Columns(Mat<'a>),
    /// Columns (cols, rows), copied.
    Copied(Vec<f32>, usize),
}

impl<'a> Right<'a> {
    /// Copies `b` if its columns are not contiguous.
    pub fn new(b: Mat<'a>) -> Self {
        if b.row_stride == 1 {
            return Self::Columns(b);
        }
        let mut columns = Vec::with_capacity(b.cols * b.rows);
        for j in 0..b.cols {
            columns.extend((0..b.rows).map(|k| b.data[k * b.row_stride + j * b.col_stride]));
        }
        Self::Copied(columns, b.rows)
    }

    fn column(&self, j: usize) -> &[f32] {
        match self {
            Self::Columns(b) => piece(b.data, j * b.col_stride, b.rows),
            Self::Copied(columns, rows) => piece(columns, j * rows, *rows),
        }
    }
}

/// `len` numbers from `first` on; for an empty piece, `first` may be any number.
fn piece(numbers: &[f32], first: usize, len: usize) -> &[f32] {
    if len == 0 { &[] } else { &numbers[first..first + len] }
}

/// One row of a product: `dst = scale · a[i] · b`, or `dst += …` with `accumulate`.
pub(super) fn row(dst: &mut [f32], a: Mat<'_>, i: usize, b: &Right<'_>, scale: f32, accumulate: bool) {
    let copied: Vec<f32>;
    let x = if a.col_stride == 1 {
        piece(a.data, i * a.row_stride, a.cols)
    } else {
        copied = (0..a.cols).map(|k| a.data[i * a.row_stride + k * a.col_stride]).collect();
        &copied
    };
    for (j, y) in dst.iter_mut().enumerate() {
        let sum = scale * dot(x, b.column(j));
        *y = if accumulate { *y + sum } else { sum };
    }
}
