//! Log-probabilities of chosen tokens straight from hidden states: the (N, V) logits exist a few rows at a time only,
//! forward and backward (flan-t5's logits for a 4 × 400 batch are 206 MB a copy, and a plain log-softmax makes five).

use super::cpu::{Mat, for_rows, for_tasks, matmul, slice, stored, vectorized, with_slice};
use super::math::{exp, exp_sums, max};
use super::weight::{Matrix, Weight};
use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::sync::Arc;

/// Logits that exist at one time: 16 MB, 130 rows of FLAN-T5's vocabulary. The matrix is read once a chunk.
const CHUNK: usize = 1 << 22;

/// For hidden states h (N, D), an output matrix W (V, D) and one chosen token id a row, with z = h Wᵀ:
/// column 0 `log softmax(z)[id]`, column 1 the entropy `lse(z) − Σ softmax(z) z`. Result (N, 2).
/// Differentiable in h, and in W where W is trained.
pub fn chosen_logprobs(hidden: &Tensor, weight: &Weight, chosen: &[u32]) -> Result<Tensor> {
    let (op, hidden) = (Chosen { ids: chosen.into(), weight: weight.clone() }, hidden.contiguous()?);
    Ok(match weight {
        Weight::F32(weight) if weight.track_op() => hidden.apply_op2(weight, op)?,
        _ => hidden.apply_op1(op)?,
    })
}

struct Chosen {
    ids: Arc<[u32]>,
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

impl Chosen {
    /// Log-probs and entropies (N, 2) of h (N, D).
    fn forward(&self, h: &[f32]) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = vec![0f32; self.ids.len() * 2];
        self.weight.with(|w| {
            let vocab = w.dims().0;
            for_logits(h, w, &self.ids, |first, logits| {
                let rows = for_tasks(logits.len() / vocab, |i| {
                    let z = &logits[i * vocab..(i + 1) * vocab];
                    let stats = vectorized(|| LogSoftmax::of(z));
                    [z[self.ids[first + i] as usize] - stats.log_sum, stats.entropy()]
                });
                out[first * 2..(first + rows.len()) * 2].copy_from_slice(rows.as_flattened());
            })
        })??;
        Ok(stored(out, (self.ids.len(), 2)))
    }

    /// dH (N, D), and dW (V, D) where W is trained.
    fn backward(&self, hidden: &Tensor, g: &Tensor) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let trained = self.weight.track_op();
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
                                    let p = exp(*z - stats.max) / stats.sum;
                                    *z = g_entropy * p * (stats.mean_logit - *z) - g_logprob * p;
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
        let dw = trained.then(|| Tensor::from_vec(dw, self.weight.dims(), hidden.device())).transpose()?;
        Ok((Some(Tensor::from_vec(dh, hidden.shape(), hidden.device())?), dw))
    }
}

impl CustomOp1 for Chosen {
    fn name(&self) -> &'static str {
        "chosen-logprobs"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward(slice(storage, layout)?)
    }

    fn bwd(&self, hidden: &Tensor, _out: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(self.backward(hidden, g)?.0)
    }
}

/// Where W is trained: the second operand puts it into the graph.
impl CustomOp2 for Chosen {
    fn name(&self) -> &'static str {
        "chosen-logprobs"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        layout: &Layout,
        _w: &CpuStorage,
        _w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward(slice(hidden, layout)?)
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        _w: &Tensor,
        _out: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(hidden, g)
    }
}

/// What a row of logits z says: its largest, log Σ eᶻ, Σ eᶻ⁻ᵐ, Σ p z.
pub struct LogSoftmax {
    pub max: f32,
    pub log_sum: f32,
    pub sum: f32,
    pub mean_logit: f32,
}

impl LogSoftmax {
    /// Reads z twice and writes nothing.
    #[inline(always)]
    pub fn of(z: &[f32]) -> Self {
        let max = max(z);
        let (sum, weighted) = exp_sums(z, max);
        Self { max, log_sum: max + sum.ln(), sum, mean_logit: weighted / sum }
    }

    /// −Σ p log p, in nats.
    pub fn entropy(&self) -> f32 {
        self.log_sum - self.mean_logit
    }
}
