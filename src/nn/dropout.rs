//! Inverted dropout of tensors: the backward pass makes the same mask again.

use super::rng::Rng;
use super::storage::{slice, stored, with_slice};
use super::tape::{self, Reads};
use crate::error::Result;
pub use crate::kernels::dropout::Mask;
use crate::kernels::pool::new_rows;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// A new mask that drops with probability `p`.
pub fn mask(p: f32, rng: &mut Rng) -> Mask {
    Mask { p, seed: rng.below(0, u64::MAX) }
}

/// Inverted dropout of a tensor with a fresh mask.
pub fn dropout(x: &Tensor, p: f32, rng: &mut Rng) -> Result<Tensor> {
    if p <= 0.0 {
        return Ok(x.clone());
    }
    Ok(tape::op1(x, Reads::Shapes, Dropout(mask(p, rng)))?)
}

struct Dropout(Mask);

impl Dropout {
    fn dropped(&self, x: &[f32]) -> Vec<f32> {
        new_rows(
            x.len(),
            1,
            #[inline(always)]
            |first, y| {
                y.copy_from_slice(&x[first..first + y.len()]);
                self.0.apply(first, y);
            },
        )
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(stored(self.dropped(slice(storage, layout)?), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dx = with_slice(&g.contiguous()?, |g| self.dropped(g))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
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
        let y = dropout(x.as_tensor(), 0.3, &mut rng).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(flat(gradients.get(x.as_tensor()).unwrap()), flat(&y));
        let again = dropout(x.as_tensor(), 0.3, &mut rng).unwrap();
        assert_ne!(flat(&again), flat(&y), "every call has its own mask");
        assert_eq!(flat(&dropout(x.as_tensor(), 0.0, &mut rng).unwrap()), flat(x.as_tensor()));
    }
}
