//! Log-probabilities of chosen tokens directly from hidden states: only a few rows of the (N, V) logits exist at a time,
//! forward and backward (one copy of flan-t5's logits for a 4 × 400 batch has 206 MB, and a plain log-softmax makes five).

use super::storage::with_slice;
use super::tape::{self, InputGradients, Op};
use super::weight::Weight;
use crate::error::Result;
use crate::kernels::choice::vectorized;
use crate::kernels::gemm::{Mat, matmul};
use crate::kernels::math::{exp, exp_sums, max};
use crate::kernels::matrix::Matrix;
use crate::kernels::pool::{for_rows, for_tasks};
use candle_core::{Device, Shape, Tensor};

/// Number of logits that exist at a time: 16 MB, 130 rows of FLAN-T5's vocabulary. The matrix is read once per chunk.
const CHUNK: usize = 1 << 22;

/// For hidden states h (N, D), an output matrix W (V, D) and one chosen token id per row, with z = h Wᵀ:
/// column 0 `log softmax(z)[id]`, column 1 the entropy `lse(z) − Σ softmax(z) z`. Result (N, 2).
/// Differentiable in h, and in W if W is trained.
pub fn chosen_logprobs(hidden: &Tensor, weight: &Weight, chosen: &[u32]) -> Result<Tensor> {
    let op = Chosen { ids: chosen.to_vec(), weight: weight.clone() };
    let given: Vec<&Tensor> = [hidden].into_iter().chain(weight.trained()).collect(); // a trained W is recorded on the tape
    tape::apply(&given, op)
}

struct Chosen {
    ids: Vec<u32>,
    weight: Weight,
}

/// Calls `work(first_row, logits)` for each chunk of logits (rows, V) = h Wᵀ: h (N, D) for N ids of rows, which must lie in
/// the vocabulary, W (V, D).
pub(super) fn for_logits(
    h: &[f32],
    w: Matrix<'_>,
    ids: &[u32],
    mut work: impl FnMut(usize, &mut [f32]),
) -> candle_core::Result<()> {
    let (rows, (vocab, width)) = (ids.len(), w.dims());
    if h.len() != rows * width {
        candle_core::bail!("{rows} token ids for hidden states of {} numbers, width {width}", h.len());
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        candle_core::bail!("token id {id} is outside the vocabulary of {vocab}");
    }
    let chunk = (CHUNK / vocab).clamp(1, rows.max(1));
    let mut logits = vec![0f32; chunk * vocab];
    for first in (0..rows).step_by(chunk) {
        let n = chunk.min(rows - first);
        let z = &mut logits[..n * vocab];
        w.forward(z, &h[first * width..(first + n) * width], n);
        work(first, z);
    }
    Ok(())
}

impl Op for Chosen {
    /// Log-probs and entropies (N, 2) of h (N, D).
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let mut out = vec![0f32; self.ids.len() * 2];
        with_slice(given[0], |h| {
            self.weight.with(|w| {
                let vocab = w.dims().0;
                for_logits(h, w, &self.ids, |first, logits| {
                    let rows = for_tasks(logits.len() / vocab, |i| {
                        let z = &logits[i * vocab..(i + 1) * vocab];
                        let stats = vectorized(|| LogSoftmax::of(z));
                        [stats.logprob(z[self.ids[first + i] as usize]), stats.entropy()]
                    });
                    out[first * 2..(first + rows.len()) * 2].copy_from_slice(rows.as_flattened());
                })
            })
        })???;
        Ok((out, (self.ids.len(), 2).into()))
    }

    /// dH (N, D), and dW (V, D) if W is trained.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let hidden = given[0];
        let trained = self.weight.trained().is_some();
        let g: Vec<f32> = g.flatten_all()?.to_vec1()?;
        let mut dh = vec![0f32; hidden.elem_count()];
        let mut dw = vec![0f32; if trained { self.weight.elem_count() } else { 0 }];
        with_slice(hidden, |h| {
            self.weight.with(|w| {
                let (vocab, width) = w.dims();
                for_logits(h, w, &self.ids, |first, logits| {
                    // dz = g₀ (onehot − p) + g₁ ∂H/∂z, with ∂H/∂z = p (Σ p z − z)
                    let rows = logits.len() / vocab;
                    for_rows(
                        logits,
                        vocab,
                        #[inline(always)]
                        |row, logits| {
                            for (i, z) in logits.chunks_exact_mut(vocab).enumerate() {
                                let at = first + row + i;
                                let stats = LogSoftmax::of(z);
                                let (g_logprob, g_entropy) = (g[at * 2], g[at * 2 + 1]);
                                for z in z.iter_mut() {
                                    let shifted = *z - stats.max;
                                    let p = exp(shifted) / stats.sum;
                                    *z = g_entropy * p * (stats.mean_shifted - shifted) - g_logprob * p;
                                }
                                z[self.ids[at] as usize] += g_logprob;
                            }
                        },
                    );
                    let span = first * width..(first + rows) * width;
                    w.backward(&mut dh[span.clone()], logits, rows);
                    if trained {
                        let dz = Mat::new(logits, rows, vocab, vocab);
                        matmul(&mut dw, width, dz.t(), Mat::new(&h[span], rows, width, width), 1.0, true);
                    }
                })
            })
        })???;
        let mut gradients = vec![Some(Tensor::from_vec(dh, hidden.shape(), &Device::Cpu)?)];
        if trained {
            gradients.push(Some(Tensor::from_vec(dw, self.weight.dims(), &Device::Cpu)?));
        }
        Ok(gradients)
    }
}

/// Sums over a row of logits z: the largest m, Σ eᶻ⁻ᵐ, its logarithm, and Σ p (z − m). All but m are of the shifted logits: z
/// may be in the hundreds, so that sums of z would lose the digits of the entropy. The few operations after the sums are done
/// in f64.
pub struct LogSoftmax {
    pub max: f32,
    pub sum: f32,
    log_sum: f64,
    pub mean_shifted: f32,
}

impl LogSoftmax {
    /// Reads z twice.
    #[inline(always)]
    pub fn of(z: &[f32]) -> Self {
        let max = max(z);
        let (sum, weighted) = exp_sums(z, max);
        Self { max, sum, log_sum: f64::from(sum).ln(), mean_shifted: weighted / sum }
    }

    /// log p of the token whose logit is z.
    pub fn logprob(&self, z: f32) -> f32 {
        (f64::from(z) - f64::from(self.max) - self.log_sum) as f32
    }

    /// −Σ p log p, in nats: a sum of two numbers that are not below 0.
    pub fn entropy(&self) -> f32 {
        (self.log_sum - f64::from(self.mean_shifted)) as f32
    }

    /// False if a logit is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        (f64::from(self.max) + self.log_sum).is_finite()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nn::rng::{Purpose, Rng};
    use candle_core::{Device, Var};

    /// Log-prob of token `id`, entropy, and the entropy's gradient, of logits in f64.
    fn plain(z: &[f32], id: usize) -> (f64, f64, Vec<f64>) {
        let z: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = max + z.iter().map(|z| (z - max).exp()).sum::<f64>().ln();
        let logp: Vec<f64> = z.iter().map(|z| z - log_sum).collect();
        let entropy = -logp.iter().map(|l| l.exp() * l).sum::<f64>();
        let gradient = logp.iter().map(|l| -l.exp() * (l + entropy)).collect();
        (logp[id], entropy, gradient)
    }

    #[test]
    fn entropies_are_close_to_f64_also_for_large_logits() {
        // as T5 v1.1's: not scaled, in the hundreds, and all far from 0
        for (middle, spread) in [(0.0, 2.0), (-40.0, 8.0), (300.0, 12.0), (-700.0, 1.0)] {
            let mut rng = Rng::new(8, Purpose::Init, 0, 0);
            let z: Vec<f32> = (0..4097).map(|_| middle + spread * rng.normal()).collect();
            // hidden (1, 1) = 1 makes the weights (V, 1) the logits
            let hidden = Var::new(&[[1f32]], &Device::Cpu).unwrap();
            let weight = Tensor::from_slice(&z, (z.len(), 1), &Device::Cpu).unwrap();
            let work = || chosen_logprobs(hidden.as_tensor(), &weight.into(), &[17]);
            let (out, tape) = tape::record(work).unwrap();
            let numbers = out.to_vec2::<f32>().unwrap().remove(0);
            let (logprob, entropy, gradient) = plain(&z, 17);
            assert!((f64::from(numbers[1]) - entropy).abs() < 5e-6, "entropy {} and {entropy}", numbers[1]);
            assert!((f64::from(numbers[0]) - logprob).abs() < 2e-6, "log-prob {} and {logprob}", numbers[0]);
            // dH/dhidden = Σ dH/dz z, which is largest where z is: the rounding of its terms counts
            let by_entropy = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
            let got = tape.backward([(out, by_entropy)]).unwrap();
            let got = got.get(hidden.as_tensor()).unwrap().to_vec2::<f32>().unwrap()[0][0];
            let want: f64 = gradient.iter().zip(&z).map(|(g, z)| g * f64::from(*z)).sum();
            let terms: f64 = gradient.iter().zip(&z).map(|(g, z)| (g * f64::from(*z)).abs()).sum();
            assert!((f64::from(got) - want).abs() < 1e-6 * terms.max(1.0), "gradient {got} and {want}");
        }
    }
}
