//! A linear layer's matrix, trained or frozen, in f32 or fewer bits. Products with it are in `kernels::matrix`. A table that is
//! used only for look-ups need not be in memory: a [`RowSource`] reads its rows.

use super::ops;
use super::storage::with_slice;
use crate::error::{Error, Result};
use crate::kernels::matrix::Matrix;
use crate::kernels::quantized::{Compact, Precision};
use candle_core::{Device, Tensor};
use std::fmt::Debug;
use std::sync::Arc;

/// A matrix (rows, cols) = (out, in).
#[derive(Debug, Clone)]
pub enum Weight {
    /// f32; only this type can be trained.
    F32(Tensor),
    /// Frozen, in fewer bits.
    Compact(Arc<Compact>),
    /// Frozen, not in memory; each row is rounded to this type when it is looked up.
    Elsewhere(Arc<dyn RowSource>, Precision),
}

/// A table (rows, cols) whose rows are read when they are looked up.
pub trait RowSource: Debug + Send + Sync {
    /// (rows, cols).
    fn dims(&self) -> (usize, usize);

    /// The rows with these (valid) numbers, one after another: ids.len() · cols numbers.
    ///
    /// # Errors
    /// The table's file cannot be read any more.
    fn read(&self, ids: &[u32]) -> Result<Vec<f32>>;
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self::F32(tensor)
    }
}

impl Weight {
    /// A frozen f32 matrix (rows, cols), converted to another type.
    ///
    /// # Errors
    /// A tensor that is not an f32 matrix, or numbers that the type cannot represent.
    pub fn frozen(tensor: Tensor, precision: Precision) -> Result<Self> {
        if precision == Precision::F32 {
            return Ok(Self::F32(tensor));
        }
        let (rows, cols) = tensor.dims2()?;
        let held = with_slice(&tensor.contiguous()?, |x| Compact::of(x, rows, cols, precision))??;
        Ok(Self::Compact(Arc::new(held)))
    }

    /// [rows, cols].
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::F32(tensor) => tensor.dims().to_vec(),
            Self::Compact(held) => vec![held.dims().0, held.dims().1],
            Self::Elsewhere(table, _) => vec![table.dims().0, table.dims().1],
        }
    }

    /// The number of its elements.
    pub fn elem_count(&self) -> usize {
        self.dims().iter().product()
    }

    /// Its type.
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Compact(held) => held.precision(),
            Self::Elsewhere(_, precision) => *precision,
        }
    }

    /// The matrix, if it is trained.
    pub fn trained(&self) -> Option<&Tensor> {
        match self {
            Self::F32(tensor) if tensor.track_op() => Some(tensor),
            _ => None,
        }
    }

    /// The whole matrix in f32 (rows, cols); a copy if it is compact.
    pub fn to_f32(&self) -> Result<Tensor> {
        match self {
            Self::F32(tensor) => Ok(tensor.clone()),
            Self::Compact(held) => {
                let (rows, cols) = held.dims();
                let mut out = vec![0f32; rows * cols];
                held.widen(0..rows, 0..cols, &mut out);
                Ok(Tensor::from_vec(out, (rows, cols), &Device::Cpu)?)
            }
            Self::Elsewhere(table, _) => self.rows(&(0..table.dims().0 as u32).collect::<Vec<_>>()),
        }
    }

    /// The rows with these numbers, as an embedding: (N, cols). Differentiable if the matrix is trained.
    ///
    /// # Errors
    /// A number outside the rows.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::F32(table) => ops::rows(table, ids, None),
            Self::Compact(held) => {
                let (rows, cols) = held.dims();
                all_below(rows, ids)?;
                let mut out = vec![0f32; ids.len() * cols];
                for (id, out) in ids.iter().zip(out.chunks_exact_mut(cols.max(1))) {
                    held.widen(*id as usize..*id as usize + 1, 0..cols, out);
                }
                Ok(Tensor::from_vec(out, (ids.len(), cols), &Device::Cpu)?)
            }
            Self::Elsewhere(table, precision) => {
                let (rows, cols) = table.dims();
                all_below(rows, ids)?;
                let read = Tensor::from_vec(table.read(ids)?, (ids.len(), cols), &Device::Cpu)?;
                Self::frozen(read, *precision)?.to_f32()
            }
        }
    }

    /// Runs `work` on its numbers.
    pub(super) fn with<T>(&self, work: impl FnOnce(Matrix<'_>) -> T) -> candle_core::Result<T> {
        match self {
            Self::F32(tensor) => {
                let (rows, cols) = tensor.dims2()?;
                with_slice(tensor, |x| work(Matrix::new(x, rows, cols)))
            }
            Self::Compact(held) => Ok(work(Matrix::Compact(held))),
            Self::Elsewhere(..) => candle_core::bail!("a product with a table that is not in memory"),
        }
    }
}

fn all_below(rows: usize, ids: &[u32]) -> Result<()> {
    match ids.iter().find(|id| **id as usize >= rows) {
        None => Ok(()),
        Some(id) => Err(Error::input(format!("id {id} in a table of {rows} rows"), "use the tokenizer of this model")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nn::rng::{Purpose, Rng};

    fn numbers(rng: &mut Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.normal()).collect()
    }

    #[test]
    fn products_equal_those_of_the_widened_matrix_in_every_shape() {
        let mut rng = Rng::new(3, Purpose::Init, 0, 0);
        // one panel, several panels, an incomplete last block, one column, no rows
        for (m, out, width) in [(1, 8, 32), (5, 7, 45), (3, 700, 300), (4, 3000, 96), (2, 9, 1), (0, 4, 64)] {
            let w = Tensor::from_vec(numbers(&mut rng, out * width), (out, width), &Device::Cpu).unwrap();
            let (x, g) = (numbers(&mut rng, m * width), numbers(&mut rng, m * out));
            for precision in Precision::ALL {
                let weight = Weight::frozen(w.clone(), precision).unwrap();
                assert_eq!((weight.dims(), weight.precision()), (vec![out, width], precision));
                let wide = weight.to_f32().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (mut y, mut dx) = (vec![f32::NAN; m * out], vec![f32::NAN; m * width]);
                weight.with(|w| w.forward(&mut y, &x, m)).unwrap();
                weight.with(|w| w.backward(&mut dx, &g, m)).unwrap();
                for row in 0..m {
                    for o in 0..out {
                        let terms = (0..width).map(|k| f64::from(x[row * width + k]) * f64::from(wide[o * width + k]));
                        let error = (terms.sum::<f64>() - f64::from(y[row * out + o])).abs();
                        assert!(error < 1e-4, "{precision:?} {m} x {out} x {width}: y off by {error}");
                    }
                    for k in 0..width {
                        let terms = (0..out).map(|o| f64::from(g[row * out + o]) * f64::from(wide[o * width + k]));
                        let error = (terms.sum::<f64>() - f64::from(dx[row * width + k])).abs();
                        assert!(error < 3e-4, "{precision:?} {m} x {out} x {width}: dx off by {error}");
                    }
                }
            }
        }
    }

    #[derive(Debug)]
    struct There(Tensor);

    impl RowSource for There {
        fn dims(&self) -> (usize, usize) {
            self.0.dims2().unwrap()
        }

        fn read(&self, ids: &[u32]) -> Result<Vec<f32>> {
            let ids = Tensor::new(ids, &Device::Cpu)?;
            Ok(self.0.index_select(&ids, 0)?.flatten_all()?.to_vec1()?)
        }
    }

    #[test]
    fn rows_of_a_table_equal_its_widened_rows() {
        let mut rng = Rng::new(4, Purpose::Init, 0, 0);
        let table = Tensor::from_vec(numbers(&mut rng, 6 * 40), (6, 40), &Device::Cpu).unwrap();
        for precision in Precision::ALL {
            let weight = Weight::frozen(table.clone(), precision).unwrap();
            let wide = weight.to_f32().unwrap().to_vec2::<f32>().unwrap();
            let elsewhere = Weight::Elsewhere(Arc::new(There(table.clone())), precision);
            assert_eq!((elsewhere.dims(), elsewhere.precision()), (vec![6, 40], precision));
            assert_eq!(elsewhere.to_f32().unwrap().to_vec2::<f32>().unwrap(), wide);
            assert!(elsewhere.with(|_| ()).is_err());
            for weight in [weight, elsewhere] {
                let rows = weight.rows(&[5, 0, 5]).unwrap().to_vec2::<f32>().unwrap();
                assert_eq!(rows, [wide[5].clone(), wide[0].clone(), wide[5].clone()]);
                assert!(weight.rows(&[6]).is_err());
            }
        }
    }
}
