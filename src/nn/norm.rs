//! RMS norm (T5) and layer norm (RoBERTa) over the last dimension, differentiable. Weights and their names belong to the
//! models.
//!
//! candle's own fused norms have no backward and say nothing about it; built from primitives, a norm makes about eight
//! passes over memory and keeps every intermediate for the backward. Here both are one op that keeps nothing: the
//! backward computes the row's statistics again.

use super::storage::{slice, stored, with_slice};
use super::tape::{self, Reads};
use crate::error::{Error, Result};
use crate::kernels::math::{dot, sum};
use crate::kernels::pool::new_rows;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Shape, Tensor};

/// `w * x / sqrt(mean(x²) + eps)`: no mean, no bias (T5; Zhang & Sennrich 2019, docs/ppo.md 1.1).
///
/// `x` (..., D) f32 of any strides, `w` (D); the result has `x`'s shape. A gradient goes to `x`, and to `w` when it is
/// tracked; frozen weights get none.
///
/// # Errors
/// A `w` that is not of `x`'s last dimension, or another type than f32.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
    check(x, &[("w", w)])?;
    Ok(tape::op2([x, w], Reads::Numbers, Norm { eps, centred: false })?)
}

/// `w * (x - mean(x)) / sqrt(var(x) + eps) + b`, var the biased variance (Ba et al. 2016; torch's `LayerNorm`).
///
/// `x` (..., D) f32 of any strides, `w` and `b` (D); the result has `x`'s shape. A gradient goes to `x`, and to `w` and
/// `b` where they are tracked; frozen weights get none.
///
/// # Errors
/// A `w` or `b` that is not of `x`'s last dimension, or another type than f32.
pub fn layer_norm(x: &Tensor, w: &Tensor, b: &Tensor, eps: f32) -> Result<Tensor> {
    check(x, &[("w", w), ("b", b)])?;
    Ok(tape::op3([x, w, b], Norm { eps, centred: true })?)
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

/// Both norms: layer norm is the centred one with a bias.
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
    fn forward(&self, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Vec<f32> {
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

    /// With d = g w: dx = scale (d - mean(d) - x̂ mean(d x̂)), mean(d) only where the mean was taken off.
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

    /// dw = Σ_rows g x̂, db = Σ_rows g, summed in f64 since there may be thousands of rows.
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

    /// Gradients of (x, w, b): of each that is tracked.
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        grad: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let b = b.filter(|b| b.track_op());
        let w_tracked = w.track_op();
        let (grad, width) = (grad.contiguous()?, w.elem_count());
        let (dx, weights) = with_slice(x, |xs| {
            with_slice(&grad, |gs| {
                let dx = x.track_op().then(|| with_slice(w, |ws| self.input_gradient(xs, ws, gs))).transpose()?;
                Ok::<_, candle_core::Error>((
                    dx,
                    (w_tracked || b.is_some()).then(|| self.weight_gradients(xs, gs, width)),
                ))
            })
        })???;
        let (dw, db) = weights.unzip();
        let tensor = |numbers: Option<Vec<f32>>, like: &Tensor| {
            numbers.map(|numbers| Tensor::from_vec(numbers, like.shape(), like.device())).transpose()
        };
        Ok([tensor(dx, x)?, tensor(dw.filter(|_| w_tracked), w)?, tensor(db.filter(|_| b.is_some()), w)?])
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = self.forward(slice(x, x_layout)?, slice(w, w_layout)?, None);
        Ok(stored(y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, w, None, grad)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
        let y = self.forward(slice(x, x_layout)?, slice(w, w_layout)?, Some(slice(b, b_layout)?));
        Ok(stored(y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, w, Some(b), grad)?;
        Ok((dx, dw, db))
    }
}
