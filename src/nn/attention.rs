//! Attention over packed sequences as a differentiable operation on tensors: all tokens of a batch are rows of one (N, width)
//! matrix without padding, a [`Plan`] says which rows attend to which. The numbers are computed in `kernels::attention`.

use super::storage::{slice, stored, with_slice};
use super::tape::{self, Reads};
use crate::error::{Error, Result};
use crate::kernels::attention;
pub use crate::kernels::attention::{Buckets, Plan, Segment};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use std::sync::Arc;

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
            "report this: a plan does not fit",
        ));
    }
    let trained = table.is_some_and(Tensor::track_op);
    let op = Attention { plan: Arc::new(plan), table: table.cloned() };
    Ok(match table {
        Some(table) if trained => tape::op3([q, kv, table], op)?,
        _ => tape::op2([q, kv], Reads::Numbers, op)?,
    })
}

struct Attention {
    plan: Arc<Plan>,
    table: Option<Tensor>,
}

impl Attention {
    fn forward(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (q, kv, width) = (slice(s1, l1)?, slice(s2, l2)?, l1.dims()[1]);
        let out = match &self.table {
            Some(table) => with_slice(table, |t| attention::forward(&self.plan, q, kv, Some(t), width))?,
            None => attention::forward(&self.plan, q, kv, None, width),
        };
        Ok(stored(out, l1.shape().clone()))
    }

    #[allow(clippy::type_complexity)] // candle's signature
    fn backward(
        &self,
        q: &Tensor,
        kv: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let trained = self.table.as_ref().filter(|t| t.track_op());
        let table: Option<Vec<f32>> = self.table.as_ref().map(|t| t.flatten_all()?.to_vec1()).transpose()?;
        let width = q.dims()[1];
        let (dq, dkv, dt) = with_slice(q, |q| {
            with_slice(kv, |kv| {
                with_slice(&g.contiguous()?, |g| {
                    attention::backward(&self.plan, (q, kv, table.as_deref()), width, g, trained.is_some())
                })
            })
        })???;
        let dt = dt.zip(trained).map(|(dt, t)| Tensor::from_vec(dt, t.shape(), t.device())).transpose()?;
        Ok((
            Some(Tensor::from_vec(dq, q.shape(), q.device())?),
            Some(Tensor::from_vec(dkv, kv.shape(), kv.device())?),
            dt,
        ))
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward(s1, l1, s2, l2)
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        _out: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (dq, dkv, _) = self.backward(q, kv, g)?;
        Ok((dq, dkv))
    }
}

/// The same with a trained bias table as third argument.
impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        _s3: &CpuStorage,
        _l3: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward(s1, l1, s2, l2)
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        _table: &Tensor,
        _out: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.backward(q, kv, g)
    }
}
