//! Attention over packed sequences as a differentiable operation on tensors: all tokens of a batch are rows of one (N, width)
//! matrix without padding, a [`Plan`] says which rows attend to which. The numbers are computed in `kernels::attention`.

use super::storage::with_slices;
use super::tape::{self, InputGradients, Op};
use crate::error::{Error, Result};
use crate::kernels::attention;
pub use crate::kernels::attention::{Buckets, Plan, Segment};
use candle_core::{Device, Shape, Tensor};

/// `softmax(scale · q kᵀ + bias) v` for each segment and head.
///
/// # Shapes
/// q (Nq, H·d); kv (Nk, 2·H·d), keys in the first half of the columns, values in the second; table (buckets, H) or
/// none → (Nq, H·d).
pub fn attention(q: &Tensor, kv: &Tensor, table: Option<&Tensor>, plan: Plan) -> Result<Tensor> {
    let (n, width) = q.dims2()?;
    let (rows, double) = kv.dims2()?;
    let fits = |s: &Segment| s.query + s.queries <= n && s.key + s.keys <= rows && s.keys > 0;
    if double != 2 * width || !width.is_multiple_of(plan.heads) || !plan.segments.iter().all(fits) {
        return Err(Error::shape(
            "attention keys and values",
            kv.dims(),
            &[n, 2 * width],
            "this is a bug in detox-lab: please open an issue with this message",
        ));
    }
    let given: Vec<&Tensor> = [q, kv].into_iter().chain(table).collect();
    tape::apply(&given, Attention { plan })
}

struct Attention {
    plan: Plan,
}

impl Op for Attention {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let width = given[0].dims()[1];
        let y = with_slices(given, |x| attention::forward(&self.plan, x[0], x[1], x.get(2).copied(), width))?;
        Ok((y, given[0].shape().clone()))
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let width = given[0].dims()[1];
        let trained = given.get(2).is_some_and(|table| table.track_op());
        let all: Vec<&Tensor> = [g].into_iter().chain(given.iter().copied()).collect();
        let (dq, dkv, dt) = with_slices(&all, |x| {
            attention::backward(&self.plan, (x[1], x[2], x.get(3).copied()), width, x[0], trained)
        })?;
        let numbers = [Some(dq), Some(dkv), dt];
        let tensor = |(x, like): (Option<Vec<f32>>, &&Tensor)| {
            Ok(x.map(|x| Tensor::from_vec(x, like.shape(), &Device::Cpu)).transpose()?)
        };
        numbers.into_iter().zip(given).map(tensor).collect()
    }
}
