//! Inverted dropout of tensors: the backward pass makes the same mask again.

use super::rng::Rng;
use super::storage::with_slice;
use super::tape::{self, InputGradients, Op, Reads};
use crate::error::Result;
pub use crate::kernels::dropout::Mask;
use crate::kernels::pool::new_rows;
use candle_core::{Device, Shape, Tensor};

/// A new mask that drops with probability `p`.
pub fn mask(p: f32, rng: &mut Rng) -> Mask {
    Mask { p, seed: rng.below(0, u64::MAX) }
}

/// Inverted dropout of a tensor with a new mask.
pub fn dropout(x: &Tensor, p: f32, rng: &mut Rng) -> Result<Tensor> {
    dropout_of_part(x, 0, p, rng)
}

/// Inverted dropout of the part of an array that begins at number `begin`, with the mask of the whole array.
pub fn dropout_of_part(x: &Tensor, begin: usize, p: f32, rng: &mut Rng) -> Result<Tensor> {
    if p <= 0.0 {
        return Ok(x.clone());
    }
    tape::apply(&[x], Dropout { mask: mask(p, rng), begin })
}

struct Dropout {
    mask: Mask,
    /// Position of the first number in the array that the mask is for.
    begin: usize,
}

impl Op for Dropout {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let dropped = with_slice(given[0], |x| {
            new_rows(
                x.len(),
                1,
                #[inline(always)]
                |first, y| {
                    y.copy_from_slice(&x[first..first + y.len()]);
                    self.mask.apply(self.begin + first, y);
                },
            )
        })?;
        Ok((dropped, given[0].shape().clone()))
    }

    fn backward(&self, _given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (dx, shape) = self.forward(&[g])?;
        Ok(vec![Some(Tensor::from_vec(dx, shape, &Device::Cpu)?)])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nn::rng::Purpose;
    use candle_core::{DType, Device, Var};

    #[test]
    fn the_backward_pass_uses_the_same_mask() {
        let x = Var::from_tensor(&Tensor::ones((300, 100), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let mut rng = Rng::new(1, Purpose::Dropout, 0, 0);
        let (y, tape) = tape::record(|| dropout(x.as_tensor(), 0.3, &mut rng)).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gradients = tape.backward([(y.clone(), y.ones_like().unwrap())]).unwrap();
        assert_eq!(flat(gradients.get(x.as_tensor()).unwrap()), flat(&y));
        let again = dropout(x.as_tensor(), 0.3, &mut rng).unwrap();
        assert_ne!(flat(&again), flat(&y), "every call has its own mask");
        assert_eq!(flat(&dropout(x.as_tensor(), 0.0, &mut rng).unwrap()), flat(x.as_tensor()));
    }

    #[test]
    fn parts_have_the_mask_of_the_whole() {
        let x = Tensor::ones((30, 10), DType::F32, &Device::Cpu).unwrap();
        let of = |first: usize, rows: usize| {
            let mut rng = Rng::new(2, Purpose::Dropout, 0, 0);
            let part = dropout_of_part(&x.narrow(0, first, rows).unwrap(), first * 10, 0.5, &mut rng).unwrap();
            part.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!([of(0, 12), of(12, 18)].concat(), of(0, 30));
    }
}
