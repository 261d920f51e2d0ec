//! Label-smoothed cross-entropy straight from hidden states, for supervised training. As in `logprobs`, only a few rows of the
//! (N, V) logits exist at a time. They are computed once: if gradients will be needed, the forward pass computes them from the
//! same chunk of logits, and the backward pass scales them.

use super::logprobs::for_logits;
use super::storage::with_slice;
use super::tape::{self, InputGradients, Op};
use super::weight::Weight;
use crate::error::{Error, Result};
use crate::kernels::gemm::{Mat, matmul};
use crate::kernels::math::{exp_shifted, sum};
use crate::kernels::matrix::Matrix;
use crate::kernels::pool::for_row_pairs;
use candle_core::{Device, Shape, Tensor};
use std::sync::Mutex;

/// The loss of each token, `(1 − ε)·nll + ε·mean over the vocabulary of −log p`, in nats: (N). This is torch's
/// `F.cross_entropy(label_smoothing=ε)` and, summed and divided by N, transformers' `LabelSmoother`
/// (trainer_pt_utils.py).
///
/// hidden h (N, D), output matrix W (V, D), logits z = h Wᵀ, one target id per row. Differentiable in h, and in W if W is
/// trained; fastest if all losses have the same weight, as in a sum or a mean.
///
/// # Errors
/// A smoothing outside 0..1, another number of targets than rows, a target outside the vocabulary.
pub fn smoothed_cross_entropy(hidden: &Tensor, weight: &Weight, targets: &[u32], smoothing: f32) -> Result<Tensor> {
    if !(0.0..1.0).contains(&smoothing) {
        let what = format!("label smoothing is {smoothing}");
        return Err(Error::input(what, "give a number from 0 (none) to below 1; 0.1 is usual"));
    }
    let op = CrossEntropy {
        targets: targets.to_vec(),
        smoothing,
        weight: weight.clone(),
        wanted: [hidden.track_op(), weight.trained().is_some()].map(|tracked| tracked && tape::is_recording()),
        ready: Mutex::new(None),
    };
    let given: Vec<&Tensor> = [hidden].into_iter().chain(weight.trained()).collect(); // a trained W is recorded on the tape
    tape::apply(&given, op)
}

struct CrossEntropy {
    targets: Vec<u32>,
    smoothing: f32,
    weight: Weight,
    /// Whether the gradients of h and of W are needed.
    wanted: [bool; 2],
    /// From the forward pass, for the backward pass: gradients of the sum of all losses.
    ready: Mutex<Option<LossGradients>>,
}

/// Gradients of a weighted sum of the losses; empty if not needed.
struct LossGradients {
    /// (N, D)
    hidden: Vec<f32>,
    /// (V, D)
    weight: Vec<f32>,
}

impl CrossEntropy {
    /// The losses (N), and the gradients of their sum weighted by `g` (N); no `g`: all weights 1.
    fn pass(&self, h: &[f32], w: Matrix<'_>, g: Option<&[f32]>) -> candle_core::Result<(Vec<f32>, LossGradients)> {
        let (vocab, width) = w.dims();
        let [for_hidden, for_weight] = self.wanted;
        let mut losses = vec![0f32; self.targets.len()];
        let mut gradients = LossGradients {
            hidden: vec![0f32; if for_hidden { h.len() } else { 0 }],
            weight: vec![0f32; if for_weight { vocab * width } else { 0 }],
        };
        for_logits(h, w, &self.targets, |first, logits| {
            let rows = logits.len() / vocab;
            let losses = &mut losses[first..first + rows];
            for_row_pairs(
                (logits, vocab),
                (losses, 1),
                #[inline(always)]
                |row, logits, losses| {
                    for (i, (z, loss)) in logits.chunks_exact_mut(vocab).zip(losses).enumerate() {
                        let at = first + row + i;
                        *loss = self.token(z, self.targets[at] as usize, g.map_or(1.0, |g| g[at]));
                    }
                },
            );
            let span = first * width..(first + rows) * width;
            if for_hidden {
                w.backward(&mut gradients.hidden[span.clone()], logits, rows);
            }
            if for_weight {
                let dz = Mat::new(logits, rows, vocab, vocab);
                matmul(&mut gradients.weight, width, dz.t(), Mat::new(&h[span], rows, width, width), 1.0, true);
            }
        })?;
        Ok((losses, gradients))
    }

    /// The loss of a token with logits z; if a gradient is needed, z becomes the gradient of `g` times the loss:
    /// g (p − (1 − ε) onehot − ε/V).
    fn token(&self, z: &mut [f32], target: usize, g: f32) -> f32 {
        let smoothing = self.smoothing;
        let (chosen, mean) = (z[target], sum(z) / z.len() as f32);
        let (max, total) = exp_shifted(z);
        if self.wanted != [false; 2] {
            let (scale, floor) = (g / total, g * smoothing / z.len() as f32);
            z.iter_mut().for_each(|z| *z = *z * scale - floor);
            z[target] -= g * (1.0 - smoothing);
        }
        // in this order: a max of millions cancels before anything small is added
        (max - chosen) * (1.0 - smoothing) + (max - mean) * smoothing + total.ln()
    }

    /// Gradients of the losses weighted by `g`, from those of the forward pass if possible.
    fn gradients(&self, h: &[f32], w: Matrix<'_>, g: &[f32]) -> candle_core::Result<LossGradients> {
        let ready = self.ready.lock().ok().and_then(|mut ready| ready.take());
        let even = g.windows(2).all(|pair| pair[0] == pair[1]);
        let Some(mut ready) = ready.filter(|_| even) else { return Ok(self.pass(h, w, Some(g))?.1) };
        let scale = g.first().copied().unwrap_or(1.0);
        if scale != 1.0 {
            for part in [&mut ready.hidden, &mut ready.weight] {
                part.iter_mut().for_each(|x| *x *= scale);
            }
        }
        Ok(ready)
    }
}

impl Op for CrossEntropy {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let (losses, gradients) = with_slice(given[0], |h| self.weight.with(|w| self.pass(h, w, None)))???;
        if let Ok(mut ready) = self.ready.lock() {
            *ready = Some(gradients);
        }
        Ok((losses, self.targets.len().into()))
    }

    /// dH (N, D) and dW (V, D), if needed.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let hidden = given[0];
        let g: Vec<f32> = g.to_vec1()?;
        let found = with_slice(hidden, |h| self.weight.with(|w| self.gradients(h, w, &g)))???;
        let tensor = |wanted: bool, numbers: Vec<f32>, dims: &[usize]| {
            wanted.then(|| Tensor::from_vec(numbers, dims, &Device::Cpu)).transpose()
        };
        let [for_hidden, for_weight] = self.wanted;
        let mut gradients = vec![tensor(for_hidden, found.hidden, hidden.dims())?];
        if given.len() > 1 {
            gradients.push(tensor(for_weight, found.weight, &self.weight.dims())?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nn::rng::{Purpose, Rng};
    use candle_core::{DType, Device, Var};

    fn numbers(rng: &mut Rng, dims: (usize, usize), scale: f32) -> Tensor {
        let data = (0..dims.0 * dims.1).map(|_| rng.normal() * scale).collect::<Vec<f32>>();
        Tensor::from_vec(data, dims, &Device::Cpu).unwrap()
    }

    fn weight(w: &Var) -> Weight {
        w.as_tensor().clone().into()
    }

    /// Hidden states and weights as variables, and targets.
    fn case(rows: usize, vocab: usize, width: usize) -> (Var, Var, Vec<u32>) {
        let mut rng = Rng::new(4, Purpose::Init, 0, 0);
        let h = Var::from_tensor(&numbers(&mut rng, (rows, width), 1.0)).unwrap();
        let w = Var::from_tensor(&numbers(&mut rng, (vocab, width), 0.5)).unwrap();
        let targets = (0..rows).map(|_| rng.below(0, vocab as u64) as u32).collect();
        (h, w, targets)
    }

    /// The same from candle's own operations, all logits at once, in f64.
    fn plain(h: &Tensor, w: &Tensor, targets: &[u32], smoothing: f64) -> Tensor {
        let [h, w] = [h, w].map(|t| t.to_dtype(DType::F64).unwrap());
        let logp = candle_nn::ops::log_softmax(&h.matmul(&w.t().unwrap()).unwrap(), 1).unwrap();
        let ids = Tensor::new(targets, &Device::Cpu).unwrap().unsqueeze(1).unwrap();
        let nll = logp.gather(&ids, 1).unwrap().squeeze(1).unwrap();
        ((nll * (smoothing - 1.0)).unwrap() - (logp.mean(1).unwrap() * smoothing).unwrap())
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap()
    }

    /// The gradient of a variable.
    fn of<'a>(gradients: &'a tape::VarGradients, var: &Var) -> &'a Tensor {
        gradients.get(var.as_tensor()).unwrap()
    }

    fn largest(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn losses_and_gradients_equal_a_plain_log_softmax() {
        // 300 rows of 4,096 logits: two chunks; weights equal (a mean), and not
        for (rows, vocab, smoothing, even) in [(7, 11, 0.0, true), (300, 4096, 0.1, true), (300, 4096, 0.1, false)] {
            let (h, w, targets) = case(rows, vocab, 8);
            let weights: Vec<f32> = (0..rows).map(|i| if even { 0.5 } else { (i % 3) as f32 }).collect();
            let weights = Tensor::new(weights, &Device::Cpu).unwrap();
            let work = || smoothed_cross_entropy(h.as_tensor(), &weight(&w), &targets, smoothing);
            let (ours, tape) = tape::record(work).unwrap();
            let theirs = plain(h.as_tensor(), w.as_tensor(), &targets, f64::from(smoothing));
            assert!(largest(&ours, &theirs) < 2e-6, "loss: {}", largest(&ours, &theirs));
            let ours = tape.backward([(ours, weights.clone())]).unwrap();
            let theirs = (theirs * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            for var in [&h, &w] {
                let (ours, theirs) = (of(&ours, var), theirs.get(var.as_tensor()).unwrap());
                assert!(largest(ours, theirs) < 4e-6, "gradient: {}", largest(ours, theirs));
            }
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        let (h, w, targets) = case(3, 9, 5);
        let total = |h: &Tensor, w: &Tensor| {
            let losses = smoothed_cross_entropy(h, &w.clone().into(), &targets, 0.2).unwrap().to_vec1::<f32>().unwrap();
            losses.into_iter().map(f64::from).sum::<f64>()
        };
        let (loss, tape) = tape::record(|| smoothed_cross_entropy(h.as_tensor(), &weight(&w), &targets, 0.2)).unwrap();
        let gradients = tape.backward([(loss.clone(), loss.ones_like().unwrap())]).unwrap();
        for (which, var) in [&h, &w].into_iter().enumerate() {
            let gradient = of(&gradients, var).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (i, gradient) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut data = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    data[i] += by;
                    let moved = Tensor::from_vec(data, var.shape(), &Device::Cpu).unwrap();
                    if which == 0 { total(&moved, w.as_tensor()) } else { total(h.as_tensor(), &moved) }
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((slope - f64::from(*gradient)).abs() < 3e-4, "{which} {i}: {slope} and {gradient}");
            }
        }
    }

    #[test]
    fn frozen_weights_get_no_gradient() {
        let (h, w, targets) = case(4, 6, 3);
        let work = || smoothed_cross_entropy(h.as_tensor(), &w.as_detached_tensor().into(), &targets, 0.1);
        let (loss, tape) = tape::record(work).unwrap();
        let gradients = tape.backward([(loss.clone(), loss.ones_like().unwrap())]).unwrap();
        assert_eq!(gradients.len(), 1);
        of(&gradients, &h);
    }

    #[test]
    fn huge_logits_stay_finite_and_bad_input_is_named() {
        let h = Tensor::new(&[[3e4f32]], &Device::Cpu).unwrap();
        let w = Tensor::new(&[[1f32], [-1.0]], &Device::Cpu).unwrap();
        let loss = |target, smoothing| smoothed_cross_entropy(&h, &w.clone().into(), &[target], smoothing);
        assert_eq!(loss(0, 0.0).unwrap().to_vec1::<f32>().unwrap(), [0.0]);
        assert_eq!(loss(1, 0.0).unwrap().to_vec1::<f32>().unwrap(), [6e4]);
        assert!(loss(2, 0.0).unwrap_err().to_string().contains("outside the vocabulary"));
        assert!(loss(0, 1.0).unwrap_err().to_string().contains("smoothing"));
    }
}
