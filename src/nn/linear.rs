//! Linear layers. If the weight is frozen, the backward pass computes only the gradient of the input and needs no saved
//! tensors.

use super::params::Params;
use super::storage::{with_slice, with_slices};
use super::tape::{self, InputGradients, Op, Reads};
use super::weight::Weight;
use crate::error::{Error, Result};
use crate::kernels::choice::{Way, kernel};
use crate::kernels::gemm::{Mat, matmul_by};
use crate::kernels::matrix::Matrix;
use crate::kernels::pool::for_rows;
use candle_core::{Device, Shape, Tensor};

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

    /// A layer with an existing weight (out, in).
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

/// `x Wᵀ (+ b)`: x (..., in), W (out, in), b (out) → (..., out). A trained W must be contiguous.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    apply(x, &weight.clone().into(), bias)
}

fn apply(x: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor> {
    match weight.trained() {
        Some(weight) => {
            let given: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
            tape::apply(&given, TrainedLinear)
        }
        None => tape::apply(&[x], Frozen { weight: weight.clone(), bias: bias.cloned() }),
    }
}

/// x (..., in) times Wᵀ, W (out, in); with `backward`, x (..., out) times W.
fn product(x: &Tensor, w: Matrix<'_>, backward: bool) -> Result<(Vec<f32>, Shape)> {
    let (out_dim, in_dim) = w.dims();
    let (from, to) = if backward { (out_dim, in_dim) } else { (in_dim, out_dim) };
    let shape = resized(x, from, to)?;
    let y = with_slice(x, |x| {
        let rows = x.len() / from.max(1);
        if backward { w.transposed_product(x, rows) } else { w.product(x, rows) }
    })?;
    Ok((y, shape))
}

/// The shape of x (..., from) with `to` as the last dimension.
fn resized(x: &Tensor, from: usize, to: usize) -> Result<Shape> {
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == from => *last = to,
        _ => return Err(Error::shape("the input of a linear layer", x.dims(), &[from], "this is a bug in detox-lab")),
    }
    Ok(dims.into())
}

/// Adds `bias` to each row of `y`.
fn add_bias(y: &mut [f32], bias: &Tensor) -> Result<()> {
    Ok(with_slice(&bias.contiguous()?, |bias| {
        for_rows(
            y,
            bias.len(),
            #[inline(always)]
            |_, rows| {
                rows.chunks_exact_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
            },
        );
    })?)
}

/// `x Wᵀ (+ b)` for frozen W (out, in) and b.
struct Frozen {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Op for Frozen {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let (mut y, shape) = self.weight.with(|w| product(given[0], w, false))??;
        if let Some(bias) = &self.bias {
            add_bias(&mut y, bias)?;
        }
        Ok((y, shape))
    }

    /// dX = g W
    fn backward(&self, _given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (dx, shape) = self.weight.with(|w| product(g, w, true))??;
        Ok(vec![Some(Tensor::from_vec(dx, shape, &Device::Cpu)?)])
    }
}

/// `x Wᵀ (+ b)` for x, W (out, in) and optionally b, with all gradients that are tracked.
struct TrainedLinear;

impl Op for TrainedLinear {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let (out_dim, in_dim) = given[1].dims2()?;
        let (mut y, shape) = with_slice(given[1], |w| match out_dim {
            1 => dots(given[0], w),
            _ => product(given[0], Matrix::new(w, out_dim, in_dim), false),
        })??;
        if let Some(bias) = given.get(2) {
            add_bias(&mut y, bias)?;
        }
        Ok((y, shape))
    }

    /// dX = g W, dW = gᵀ x, db = Σ g over rows.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (x, weight, device) = (given[0], given[1], &Device::Cpu);
        let (out_dim, in_dim) = weight.dims2()?;
        // the value head is f32 also where other layers multiply bf16, as its forward pass
        let way = if out_dim == 1 { kernel().into() } else { Way::in_use() };
        let dx = || -> Result<Tensor> {
            let (dx, shape) = with_slices(&[g, weight], |slices| match out_dim {
                1 => outer(slices[0], slices[1], g),
                _ => product(g, Matrix::new(slices[1], out_dim, in_dim), true),
            })??;
            Ok(Tensor::from_vec(dx, shape, device)?)
        };
        let dw = with_slices(&[g, x], |slices| {
            let rows = slices[0].len() / out_dim.max(1);
            let mut dw = vec![0f32; out_dim * in_dim];
            let (g, x) = (Mat::new(slices[0], rows, out_dim, out_dim), Mat::new(slices[1], rows, in_dim, in_dim));
            matmul_by(way, &mut dw, in_dim, g.t(), x, 1.0, false);
            dw
        })?;
        let mut gradients =
            vec![x.track_op().then(dx).transpose()?, Some(Tensor::from_vec(dw, weight.shape(), device)?)];
        if let Some(bias) = given.get(2) {
            let db = || with_slice(g, |g| Tensor::from_vec(column_sums(g, out_dim), bias.shape(), device));
            gradients.push(bias.track_op().then(db).transpose()?.transpose()?);
        }
        Ok(gradients)
    }
}

/// `x w` of each row, for a layer with one output (the value head), summed in f64, which costs little compared with other
/// layers.
fn dots(x: &Tensor, w: &[f32]) -> Result<(Vec<f32>, Shape)> {
    let shape = resized(x, w.len(), 1)?;
    let dot = |row: &[f32]| row.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32;
    let y = with_slice(x, |x| x.chunks_exact(w.len().max(1)).map(dot).collect())?;
    Ok((y, shape))
}

/// `g w` for a layer with one output, in f32: g (..., 1), w (1, in) → (..., in).
fn outer(rows: &[f32], w: &[f32], g: &Tensor) -> Result<(Vec<f32>, Shape)> {
    let (m, width, shape) = (rows.len(), w.len(), resized(g, 1, w.len())?);
    let mut dx = vec![0f32; m * width];
    matmul_by(kernel(), &mut dx, width, Mat::new(rows, m, 1, 1), Mat::new(w, 1, width, width), 1.0, false);
    Ok((dx, shape))
}

/// Σ over rows, in f64 because there may be thousands.
fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.into_iter().map(|x| x as f32).collect()
}
