//! Linear layers, through operations of our own: where a weight is frozen, the backward computes dX only (candle's matmul
//! would also compute and keep dW for weights that never change); where it is trained, nothing is copied on the way.

use super::ops::plus_row;
use super::params::Params;
use super::storage::{slice, stored, with_slice};
use super::tape::{self, Reads};
use super::weight::Weight;
use crate::error::Result;
use crate::kernels::gemm::{Mat, matmul};
use crate::kernels::matrix::Matrix;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};

/// `y = x Wᵀ (+ b)`, W (out, in).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `weight` (out_dim, in_dim) and, if asked, `bias` (out_dim) under `p`.
    pub fn load(p: &Params, in_dim: usize, out_dim: usize, bias: bool) -> Result<Self> {
        let weight = p.weight("weight", &[out_dim, in_dim])?;
        let bias = if bias { Some(p.get("bias", &[out_dim])?) } else { None };
        Ok(Self { weight, bias })
    }

    /// A layer around a weight (out, in) that exists already.
    pub fn from_weight(weight: Weight) -> Self {
        Self { weight, bias: None }
    }

    /// (in, out).
    pub fn dims(&self) -> (usize, usize) {
        (self.weight.dims()[1], self.weight.dims()[0])
    }

    /// The weight (out, in).
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// (..., in) → (..., out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        apply(x, &self.weight, self.bias.as_ref())
    }
}

/// `x Wᵀ (+ b)`: x (..., in), W (out, in), b (out) → (..., out). Where W is trained it must be contiguous.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    apply(x, &weight.clone().into(), bias)
}

fn apply(x: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor> {
    if let Weight::F32(weight) = weight
        && weight.track_op()
    {
        return Ok(match bias {
            None => tape::op2([x, weight], Reads::Numbers, Trained)?,
            Some(bias) => tape::op3([x, weight, bias], Trained)?,
        });
    }
    let y = tape::op1(x, Reads::Shapes, Frozen { weight: weight.clone(), backward: false })?;
    Ok(match bias {
        None => y,
        Some(bias) => plus_row(y, bias)?,
    })
}

/// x (..., in) times Wᵀ, W (out, in); with `backward`, x (..., out) times W.
fn product(x: &[f32], shape: &Shape, w: Matrix<'_>, backward: bool) -> candle_core::Result<(Vec<f32>, Shape)> {
    let (out_dim, in_dim) = w.dims();
    let (from, to) = if backward { (out_dim, in_dim) } else { (in_dim, out_dim) };
    let mut dims = shape.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == from => *last = to,
        _ => candle_core::bail!("linear layer takes (..., {from}), got {shape:?}"),
    }
    let rows = x.len() / from;
    let y = if backward { w.transposed_product(x, rows) } else { w.product(x, rows) };
    Ok((y, dims.into()))
}

/// `x Wᵀ` for a frozen W (out, in); with `backward`, `g W`.
struct Frozen {
    weight: Weight,
    backward: bool,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let (y, shape) = self.weight.with(|w| product(x, layout.shape(), w, self.backward))??;
        Ok(stored(y, shape))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let op = Frozen { weight: self.weight.clone(), backward: true };
        Ok(Some(g.contiguous()?.apply_op1_no_bwd(&op)?))
    }
}

/// `x Wᵀ (+ b)` with every gradient that is tracked.
struct Trained;

impl Trained {
    /// dX = g W, dW = gᵀ x, db = Σ g over rows; W (out, in).
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        g: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let (out_dim, in_dim) = weight.dims2()?;
        let (device, g) = (x.device(), g.contiguous()?);
        let bias = bias.filter(|b| b.track_op());
        with_slice(&g, |gs| {
            let rows = gs.len() / out_dim;
            let dx = |w: &[f32]| product(gs, g.shape(), Matrix::new(w, out_dim, in_dim), true);
            let dx = x.track_op().then(|| with_slice(weight, dx));
            let dw = with_slice(x, |x| {
                let mut dw = vec![0f32; out_dim * in_dim];
                let (g, x) = (Mat::new(gs, rows, out_dim, out_dim), Mat::new(x, rows, in_dim, in_dim));
                matmul(&mut dw, in_dim, g.t(), x, 1.0, false);
                dw
            })?;
            let db = bias.map(|bias| Tensor::from_vec(column_sums(gs, out_dim), bias.shape(), device));
            Ok([
                dx.transpose()?.transpose()?.map(|(dx, shape)| Tensor::from_vec(dx, shape, device)).transpose()?,
                Some(Tensor::from_vec(dw, weight.shape(), device)?),
                db.transpose()?,
            ])
        })?
    }
}

/// A weight (out, in) inside an operation.
fn matrix<'a>(w: &'a CpuStorage, layout: &Layout) -> candle_core::Result<Matrix<'a>> {
    let (out_dim, in_dim) = layout.shape().dims2()?;
    Ok(Matrix::new(slice(w, layout)?, out_dim, in_dim))
}

/// Σ over rows, in f64 since there may be thousands.
fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.into_iter().map(|x| x as f32).collect()
}

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let w = matrix(w, w_layout)?;
        let (y, shape) = product(slice(x, x_layout)?, x_layout.shape(), w, false)?;
        Ok(stored(y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, w, None, g)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (w, b) = (matrix(w, w_layout)?, slice(b, b_layout)?);
        let (mut y, shape) = product(slice(x, x_layout)?, x_layout.shape(), w, false)?;
        for row in y.chunks_exact_mut(b.len()) {
            row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
        }
        Ok(stored(y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, w, Some(b), g)?;
        Ok((dx, dw, db))
    }
}
