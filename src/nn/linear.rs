//! Linear layers. A frozen weight goes through an operation of our own whose backward returns dX only: candle's matmul
//! would also compute (and keep) dW for weights that never change.

use super::cpu::{Mat, matmul, slice, stored, with_slice};
use super::params::Params;
use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// `y = x Wᵀ (+ b)`, W (out, in).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `weight` (out_dim, in_dim) and, if asked, `bias` (out_dim) under `p`.
    pub fn load(p: &Params, in_dim: usize, out_dim: usize, bias: bool) -> Result<Self> {
        let weight = p.get("weight", &[out_dim, in_dim])?;
        let bias = if bias { Some(p.get("bias", &[out_dim])?) } else { None };
        Ok(Self { weight, bias })
    }

    /// A layer around a weight (out, in) that exists already.
    pub fn from_weight(weight: Tensor) -> Self {
        Self { weight, bias: None }
    }

    /// (in, out).
    pub fn dims(&self) -> (usize, usize) {
        (self.weight.dims()[1], self.weight.dims()[0])
    }

    /// The weight (out, in).
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// (..., in) → (..., out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = if self.weight.track_op() {
            let (in_dim, out_dim) = self.dims();
            let mut dims = x.dims().to_vec();
            let rows = x.elem_count() / in_dim; // (..., in) → (rows, in)
            let y = x.reshape((rows, in_dim))?.matmul(&self.weight.t()?)?;
            if let Some(last) = dims.last_mut() {
                *last = out_dim;
            }
            y.reshape(dims)?
        } else {
            x.contiguous()?.apply_op1(Frozen { weight: self.weight.clone(), backward: false })?
        };
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }
}

/// `x Wᵀ` for a frozen W (out, in); with `backward`, `g W`.
struct Frozen {
    weight: Tensor,
    backward: bool,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let (out_dim, in_dim) = self.weight.dims2()?;
        let (from, to) = if self.backward { (out_dim, in_dim) } else { (in_dim, out_dim) };
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == from => *last = to,
            _ => candle_core::bail!("linear layer takes (..., {from}), got {:?}", layout.dims()),
        }
        let rows = x.len() / from;
        let mut y = vec![0f32; rows * to];
        with_slice(&self.weight, |w| {
            let w = Mat::new(w, out_dim, in_dim, in_dim);
            matmul(&mut y, to, Mat::new(x, rows, from, from), if self.backward { w } else { w.t() }, 1.0, false);
        })?;
        Ok(stored(y, dims))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let op = Frozen { weight: self.weight.clone(), backward: true };
        Ok(Some(g.contiguous()?.apply_op1_no_bwd(&op)?))
    }
}
