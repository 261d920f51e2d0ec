//! Attention over packed sequences as a differentiable operation on tensors: all tokens of a batch are rows of one (N, width)
//! matrix without padding, a [`Plan`] says which rows attend to which. The numbers are computed in `kernels::attention`.

use super::storage::with_slice;
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
    match table {
        Some(table) => tape::apply(&[q, kv, table], Attention { plan }),
        None => tape::apply(&[q, kv], Attention { plan }),
    }
}

struct Attention {
    plan: Plan,
}

/// Runs `work` on the numbers of q, kv and, where there is one, the table.
fn with_all<T>(given: &[&Tensor], work: impl FnOnce(&[f32], &[f32], Option<&[f32]>) -> T) -> Result<T> {
    Ok(with_slice(given[0], |q| {
        with_slice(given[1], |kv| match given.get(2) {
            Some(table) => with_slice(table, |table| work(q, kv, Some(table))),
            None => Ok(work(q, kv, None)),
        })
    })???)
}

impl Op for Attention {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let width = given[0].dims()[1];
        let y = with_all(given, |q, kv, table| attention::forward(&self.plan, q, kv, table, width))?;
        Ok((y, given[0].shape().clone()))
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let width = given[0].dims()[1];
        let trained = given.get(2).is_some_and(|table| table.track_op());
        let (dq, dkv, dt) = with_all(given, |q, kv, table| {
            with_slice(g, |g| attention::backward(&self.plan, (q, kv, table), width, g, trained))
        })??;
        let numbers = [Some(dq), Some(dkv), dt];
        let tensor = |(x, like): (Option<Vec<f32>>, &&Tensor)| {
            Ok(x.map(|x| Tensor::from_vec(x, like.shape(), &Device::Cpu)).transpose()?)
        };
        numbers.into_iter().zip(given).map(tensor).collect()
    }
}
