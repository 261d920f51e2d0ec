//! RMS norm (T5) and layer norm (RoBERTa) over the last dimension, differentiable. The models have the weights and their names.
//!
//! Both are one operation that keeps only its input: the backward pass computes the row's statistics again.

use super::storage::with_slices;
use super::tape::{self, InputGradients, Op};
use crate::error::{Error, Result};
use crate::kernels::math::{dot, sum};
use crate::kernels::pool::new_rows;
use candle_core::{DType, Device, Shape, Tensor};

/// `w * x / sqrt(mean(x²) + eps)`: no mean, no bias (T5; Zhang & Sennrich 2019, docs/ppo.md 1.1).
///
/// `x` (..., D) f32 with any strides, `w` (D); the result has `x`'s shape. There are gradients for `x`, and for `w` if it is
/// tracked.
///
/// # Errors
/// A `w` that does not have `x`'s last dimension, or a type other than f32.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
    check(x, &[("w", w)])?;
    tape::apply(&[x, w], Norm { eps, centred: false })
}

/// `w * (x - mean(x)) / sqrt(var(x) + eps) + b`, var the biased variance (Ba et al. 2016; torch's `LayerNorm`).
///
/// `x` (..., D) f32 with any strides, `w` and `b` (D); the result has `x`'s shape. There are gradients for `x`, and for `w` and
/// `b` if they are tracked.
///
/// # Errors
/// A `w` or `b` that does not have `x`'s last dimension, or a type other than f32.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f32) -> Result<Tensor> {
    check(x, &[("w", w), ("b", b)])?;
    tape::apply(&[x, w, b], Norm { eps, centred: true })
}

fn check(x: &Tensor, weights: &[(&str, &Tensor)]) -> Result<()> {
    let width = x.dims().last().copied().unwrap_or(0);
    if width == 0 {
        return Err(Error::input(
            format!("a norm needs rows of at least one number, got shape {:?}", x.dims()),
            "give a tensor (..., D) with D > 0",
        ));
    }
    for (name, w) in weights {
        if w.dims() != [width] {
            return Err(Error::shape(
                format!("norm weight {name}"),
                w.dims(),
                &[width],
                format!("the weight must be as wide as the input {:?}", x.dims()),
            ));
        }
    }
    let kinds = || std::iter::once(x).chain(weights.iter().map(|(_, w)| *w));
    match kinds().find(|t| t.dtype() != DType::F32) {
        None => Ok(()),
        Some(t) => Err(Error::input(format!("a norm computes in f32, got {:?}", t.dtype()), "convert with to_dtype")),
    }
}

/// Both norms: layer norm subtracts the mean and has a bias.
struct Norm {
    eps: f32,
    centred: bool,
}

impl Norm {
    /// Writes x̂ = (x - mean) * scale of one row to `out`; returns the scale, 1 / sqrt(mean square + eps).
    #[inline(always)]
    fn normalise(&self, x: &[f32], out: &mut [f32]) -> f32 {
        let n = x.len() as f32;
        let mean = if self.centred { sum(x) / n } else { 0.0 };
        for (out, x) in out.iter_mut().zip(x) {
            *out = x - mean;
        }
        let scale = 1.0 / (dot(out, out) / n + self.eps).sqrt();
        for out in out.iter_mut() {
            *out *= scale;
        }
        scale
    }

    /// `w * x̂ (+ b)`.
    fn normed(&self, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Vec<f32> {
        let width = w.len();
        new_rows(
            x.len(),
            width,
            #[inline(always)]
            |first, rows| {
                for (y, x) in rows.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width)) {
                    self.normalise(x, y);
                    y.iter_mut().zip(w).for_each(|(y, w)| *y *= w);
                    y.iter_mut().zip(b.unwrap_or_default()).for_each(|(y, b)| *y += b);
                }
            },
        )
    }

    /// With d = g w: dx = scale (d - mean(d) - x̂ mean(d x̂)), mean(d) only if the mean was subtracted.
    fn input_gradient(&self, x: &[f32], w: &[f32], g: &[f32]) -> Vec<f32> {
        let width = w.len();
        let n = width as f32;
        new_rows(
            x.len(),
            width,
            #[inline(always)]
            |first, rows| {
                let mut hat = vec![0.0; width];
                let (x, g) = (x[first * width..].chunks_exact(width), g[first * width..].chunks_exact(width));
                for ((d, x), g) in rows.chunks_exact_mut(width).zip(x).zip(g) {
                    let scale = self.normalise(x, &mut hat);
                    for ((d, g), w) in d.iter_mut().zip(g).zip(w) {
                        *d = g * w;
                    }
                    let mean = if self.centred { sum(d) / n } else { 0.0 };
                    let along = dot(d, &hat) / n;
                    d.iter_mut().zip(&hat).for_each(|(d, hat)| *d = scale * (*d - mean - hat * along));
                }
            },
        )
    }

    /// dw = Σ_rows g x̂, db = Σ_rows g, summed in f64 because there may be thousands of rows.
    fn weight_gradients(&self, x: &[f32], g: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
        let (mut dw, mut db) = (vec![0f64; width], vec![0f64; width]);
        let mut hat = vec![0.0; width];
        for (x, g) in x.chunks_exact(width).zip(g.chunks_exact(width)) {
            self.normalise(x, &mut hat);
            for (((dw, db), g), hat) in dw.iter_mut().zip(&mut db).zip(g).zip(&hat) {
                *dw += f64::from(g * hat);
                *db += f64::from(*g);
            }
        }
        let narrow = |sums: Vec<f64>| sums.into_iter().map(|v| v as f32).collect();
        (narrow(dw), narrow(db))
    }
}

impl Op for Norm {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let y = with_slices(given, |slices| self.normed(slices[0], slices[1], slices.get(2).copied()))?;
        Ok((y, given[0].shape().clone()))
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (x, w, b) = (given[0], given[1], given.get(2));
        let b_tracked = b.is_some_and(|b| b.track_op());
        let width = w.elem_count();
        let (dx, weights) = with_slices(&[x, w, g], |slices| {
            let (xs, ws, gs) = (slices[0], slices[1], slices[2]);
            let dx = x.track_op().then(|| self.input_gradient(xs, ws, gs));
            (dx, (w.track_op() || b_tracked).then(|| self.weight_gradients(xs, gs, width)))
        })?;
        let (dw, db) = weights.unzip();
        let tensor = |numbers: Option<Vec<f32>>, like: &Tensor| {
            numbers.map(|numbers| Tensor::from_vec(numbers, like.shape(), &Device::Cpu)).transpose()
        };
        let mut gradients = vec![tensor(dx, x)?, tensor(dw.filter(|_| w.track_op()), w)?];
        if b.is_some() {
            gradients.push(tensor(db.filter(|_| b_tracked), w)?);
        }
        Ok(gradients)
    }
}
