//! RMS norm (T5) and layer norm (RoBERTa) over the last dimension, differentiable. Weights and their names belong to the
//! models.
//!
//! candle's own fused norms have no backward and say nothing about it; built from primitives, a norm makes about eight
//! passes over memory and keeps every intermediate for the backward. Here both are one op that keeps nothing: the
//! backward computes the row's statistics again.

use crate::error::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Shape, Storage, Tensor};

/// `w * x / sqrt(mean(x²) + eps)`: no mean, no bias (T5; Zhang & Sennrich 2019, trl-ppo.md 1.1).
///
/// `x` (..., D) f32 of any strides, `w` (D); the result has `x`'s shape. A gradient goes to `x`, and to `w` when it is
/// tracked; frozen weights get none.
///
/// # Errors
/// A `w` that is not of `x`'s last dimension, or another type than f32.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f32) -> Result<Tensor> {
    check(x, &[("w", w)])?;
    Ok(x.contiguous()?.apply_op2(&w.contiguous()?, Norm { eps, centred: false })?)
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
    Ok(x.contiguous()?.apply_op3(&w.contiguous()?, &b.contiguous()?, Norm { eps, centred: true })?)
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

    /// `w * x̂ (+ b)`, row by row.
    fn forward(&self, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        for (x, y) in x.chunks_exact(w.len()).zip(y.chunks_exact_mut(w.len())) {
            self.normalise(x, y);
            for (y, w) in y.iter_mut().zip(w) {
                *y *= w;
            }
            for (y, b) in y.iter_mut().zip(b.unwrap_or_default()) {
                *y += b;
            }
        }
        y
    }

    /// Gradients of (x, w, b) for those of the three that are tracked.
    ///
    /// With d = g w: dx = scale (d - mean(d) - x̂ mean(d x̂)), mean(d) only where the mean was taken off;
    /// dw = Σ_rows g x̂, db = Σ_rows g, summed in f64 since there may be thousands of rows.
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        grad: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let (x_tracked, w_tracked) = (x.track_op(), w.track_op());
        let b_tracked = b.is_some_and(Tensor::track_op);
        let grad = grad.contiguous()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (w_storage, w_layout) = w.storage_and_layout();
        let (g_storage, g_layout) = grad.storage_and_layout();
        let (xs, gs) = (on_cpu(&x_storage, x_layout)?, on_cpu(&g_storage, g_layout)?);
        let ws = on_cpu(&w_storage, w_layout)?;

        let width = ws.len();
        let n = width as f32;
        let mut dx = Vec::with_capacity(if x_tracked { xs.len() } else { 0 });
        let (mut dw, mut db) = (vec![0f64; width], vec![0f64; width]);
        let (mut hat, mut d) = (vec![0f32; width], vec![0f32; width]);
        for (x, g) in xs.chunks_exact(width).zip(gs.chunks_exact(width)) {
            let scale = self.normalise(x, &mut hat);
            if w_tracked {
                for ((dw, g), hat) in dw.iter_mut().zip(g).zip(&hat) {
                    *dw += f64::from(g * hat);
                }
            }
            if b_tracked {
                for (db, g) in db.iter_mut().zip(g) {
                    *db += f64::from(*g);
                }
            }
            if x_tracked {
                for ((d, g), w) in d.iter_mut().zip(g).zip(ws) {
                    *d = g * w;
                }
                let mean_d = if self.centred { sum(&d) / n } else { 0.0 };
                let mean_d_hat = dot(&d, &hat) / n;
                dx.extend(d.iter().zip(&hat).map(|(d, hat)| scale * (d - mean_d - hat * mean_d_hat)));
            }
        }
        let narrow = |sums: Vec<f64>| sums.into_iter().map(|v| v as f32).collect::<Vec<_>>();
        let dx = x_tracked.then(|| Tensor::from_vec(dx, x.dims(), x.device())).transpose()?;
        let dw = w_tracked.then(|| Tensor::from_vec(narrow(dw), width, w.device())).transpose()?;
        let db = b_tracked.then(|| Tensor::from_vec(narrow(db), width, w.device())).transpose()?;
        Ok([dx, dw, db])
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
        let y = self.forward(floats(x, x_layout)?, floats(w, w_layout)?, None);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
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
        let y = self.forward(floats(x, x_layout)?, floats(w, w_layout)?, Some(floats(b, b_layout)?));
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
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

/// A contiguous tensor's numbers.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("a norm needs contiguous input") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

fn on_cpu<'a>(storage: &'a Storage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => floats(storage, layout),
        _ => candle_core::bail!("a norm's backward runs on the CPU only"),
    }
}

/// Running sums side by side: they fill vector registers, and each is short, so it rounds less than one long sum.
const LANES: usize = 16;

fn sum(a: &[f32]) -> f32 {
    let chunks = a.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().sum();
    let mut lanes = [0f32; LANES];
    for chunk in chunks {
        for (lane, a) in lanes.iter_mut().zip(chunk) {
            *lane += a;
        }
    }
    lanes.iter().sum::<f32>() + tail
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0f32; LANES];
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + tail
}
