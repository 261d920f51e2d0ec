//! Rounding to bf16: f32 numbers with 8 significant bits. Products of such numbers are exact in f32, so that f32 kernels
//! multiply rounded copies as instructions for bf16 multiply the numbers themselves.

use super::choice::vectorized;
use super::operands::Mat;
use super::pool::{PerThread, for_rows};

/// The nearest bf16, halves to even; a number above the largest becomes infinite, and NaN stays NaN.
#[inline(always)]
pub fn nearest(x: f32) -> f32 {
    let bits = x.to_bits();
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    f32::from_bits(if x.is_nan() { bits | 0x40_0000 } else { up } & 0xffff_0000)
}

thread_local! {
    /// Rounded numbers, kept so that products need no new memory. They are taken and put back, not borrowed, because a waiting
    /// thread may start another product.
    static ROUNDED: PerThread<Vec<f32>> = const { PerThread::new() };
}

/// Runs `work` on rounded copies of `matrices`, with the same order of rows and columns in memory.
pub(super) fn with_rounded<T, const N: usize>(
    matrices: [Mat<'_>; N],
    threads: usize,
    work: impl FnOnce([Mat<'_>; N]) -> T,
) -> T {
    let mut kept = ROUNDED.with(PerThread::take);
    let needed = matrices.iter().map(|x| x.rows * x.cols).sum();
    if kept.len() < needed {
        kept.resize(needed, 0.0);
    }
    let mut rest = &mut kept[..];
    let copies = matrices.map(|x| {
        let (to, others) = std::mem::take(&mut rest).split_at_mut(x.rows * x.cols);
        rest = others;
        // along the rows, or along the columns if those are side by side
        let by_columns = x.col_stride != 1 && x.row_stride == 1;
        let view = if by_columns { x.t() } else { x };
        if threads > 1 {
            for_rows(
                to,
                view.cols,
                #[inline(always)]
                |first, to| rows(view, first, to),
            );
        } else {
            vectorized(
                #[inline(always)]
                || rows(view, 0, to),
            );
        }
        let copy = Mat::new(to, view.rows, view.cols, view.cols);
        if by_columns { copy.t() } else { copy }
    });
    let done = work(copies);
    ROUNDED.with(|all| all.put(kept));
    done
}

/// Writes the rows of `x` from `first` on, rounded.
#[inline(always)]
fn rows(x: Mat<'_>, first: usize, to: &mut [f32]) {
    for (i, to) in to.chunks_exact_mut(x.cols.max(1)).enumerate() {
        let from = &x.data[(first + i) * x.row_stride..];
        if x.col_stride == 1 {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = nearest(*x));
        } else {
            to.iter_mut().zip(from.iter().step_by(x.col_stride)).for_each(|(to, x)| *to = nearest(*x));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn every_kind_of_number_becomes_the_nearest_bf16() {
        // both halves, just below and above, of numbers of all magnitudes and of both signs
        for high in (0..=u16::MAX).step_by(if cfg!(miri) { 97 } else { 1 }) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                let (got, want) = (nearest(x), bf16::from_f32(x).to_f32());
                assert!(
                    got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                    "{x:e}: {got:e}, not {want:e}"
                );
            }
        }
    }

    #[test]
    fn copies_keep_the_order_of_rows_and_columns() {
        let numbers = crate::kernels::test_numbers(1, 40);
        let (rows, columns) = (Mat::new(&numbers, 5, 7, 8), Mat::new(&numbers, 4, 9, 10).t());
        with_rounded([rows, columns], 1, |copies| {
            for (x, copy) in [rows, columns].iter().zip(copies) {
                let at = |x: &Mat<'_>, i: usize, j: usize| x.data[i * x.row_stride + j * x.col_stride];
                assert_eq!((x.rows, x.cols), (copy.rows, copy.cols));
                assert!((0..x.rows).all(|i| (0..x.cols).all(|j| at(&copy, i, j) == nearest(at(x, i, j)))));
            }
        });
    }
}
