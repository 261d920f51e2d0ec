//! Generation: batched decoding with caches, greedy or sampled. Each row ends at its end-of-sequence token. A row's tokens
//! depend only on its prompt and its random stream, not on other rows.

use super::policy::{AdapterName, Policy};
use super::t5::{Cache, Packed, Pass};
use crate::error::{Error, Result};
use crate::kernels::choice::vectorized;
use crate::kernels::math::exp_shifted;
use crate::kernels::pool::for_tasks;
use crate::nn::linear::Linear;
use crate::nn::logprobs::LogSoftmax;
use crate::nn::lora::LoraSet;
use crate::nn::rng::Rng;
use crate::nn::storage::with_slice;
use crate::pace::{NonStop, Pace};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// How the next token is chosen; filters in transformers' order: minimum length, temperature, top-k, top-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Take the most likely token.
    pub greedy: bool,
    /// Logits are divided by this; > 0.
    pub temperature: f32,
    /// Keep only the k most likely tokens; 0: all.
    pub top_k: usize,
    /// Keep the most likely tokens that together reach this probability; 1: all.
    pub top_p: f32,
    /// Minimum number of decoder tokens, start token included; the end token is suppressed until then.
    pub min_length: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { greedy: false, temperature: 1.0, top_k: 0, top_p: 1.0, min_length: 0 }
    }
}

impl Sampling {
    /// Always the most likely token.
    pub fn greedy() -> Self {
        Self { greedy: true, ..Self::default() }
    }

    /// # Errors
    /// A temperature that is not above 0, a top-p outside (0, 1].
    pub fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let what = format!("temperature is {}", self.temperature);
            return Err(Error::input(what, "give a number above 0, or decode greedily"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::input(format!("top-p is {}", self.top_p), "give a number above 0 and at most 1"));
        }
        Ok(())
    }

    /// Next-token probabilities after the filters, as with transformers' logits processors. `length` is the number of decoder
    /// tokens so far, start token included.
    pub fn probabilities(&self, logits: &[f32], length: usize, eos: u32) -> Vec<f32> {
        let mut p = logits.to_vec();
        self.filter(&mut p, length, eos);
        let (_, sum) = exp_shifted(&mut p);
        p.iter_mut().for_each(|x| *x /= sum);
        p
    }

    fn filter(&self, z: &mut [f32], length: usize, eos: u32) {
        if length < self.min_length
            && let Some(z) = z.get_mut(eos as usize)
        {
            *z = f32::NEG_INFINITY;
        }
        if self.temperature != 1.0 {
            z.iter_mut().for_each(|z| *z /= self.temperature);
        }
        if self.top_k > 0 && self.top_k < z.len() {
            let mut sorted = z.to_vec();
            let (_, kth, _) = sorted.select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a));
            let bar = *kth; // tokens tied with the k-th are kept
            z.iter_mut().filter(|z| **z < bar).for_each(|z| *z = f32::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            let mut order: Vec<usize> = (0..z.len()).collect();
            order.sort_by(|a, b| z[*a].total_cmp(&z[*b]));
            let mut p = z.to_vec();
            let (_, sum) = exp_shifted(&mut p);
            let mut tail = 0f32;
            for &i in &order[..order.len() - 1] {
                tail += p[i] / sum;
                if tail <= 1.0 - self.top_p {
                    z[i] = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Chooses the next token.
    fn choose(&self, logits: &[f32], length: usize, eos: u32, rng: &mut Rng) -> u32 {
        let mut z = logits.to_vec();
        if self.greedy {
            let greedy = Sampling { min_length: self.min_length, ..Sampling::default() };
            greedy.filter(&mut z, length, eos);
            let best = |best: usize, i: usize| if z[i] > z[best] { i } else { best };
            return (1..z.len()).fold(0, best) as u32;
        }
        self.filter(&mut z, length, eos);
        vectorized(|| exp_shifted(&mut z));
        // With E exponentially distributed, the token with the smallest E/p is a sample from p, as in torch.multinomial. A
        // search in the cumulative sum would also be a sample, but rounding can change its result at thousands of edges, so
        // that two machines write different texts; here only if the two smallest E/p are nearly equal.
        let mut first = (0.0, 0);
        for (i, p) in z.iter().enumerate() {
            let (p, u) = (f64::from(*p), rng.open());
            // −ln u > 1 − u, so most tokens need no logarithm.
            if p > first.0 * (1.0 - u) && p / -u.ln() > first.0 {
                first = (p / -u.ln(), i);
            }
        }
        first.1 as u32
    }
}

/// A row to generate a response for.
pub struct Prompt<'a> {
    /// Query ids.
    pub ids: &'a [u32],
    /// Maximum number of tokens after the start token; at least 1.
    pub max_new_tokens: usize,
    /// The row's random stream; not used by greedy decoding.
    pub rng: Rng,
}

/// The generated response of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Decoder ids: the start token, then the chosen ones, including the end-of-sequence token if it was reached.
    pub ids: Vec<u32>,
    /// Log-prob of each chosen token in the unfiltered distribution (ids.len() − 1 numbers).
    pub logprobs: Vec<f32>,
    /// The value head's estimate at each chosen token.
    pub values: Vec<f32>,
    /// Entropy of each unfiltered distribution, in nats.
    pub entropy: Vec<f32>,
    /// Whether the row reached its end-of-sequence token.
    pub ended: bool,
}

/// A token that was just chosen.
#[derive(Debug)]
pub struct Choice<'a> {
    pub row: usize,
    pub id: u32,
    /// The unfiltered logits (V).
    pub logits: &'a [f32],
}

/// Number of prompt tokens that are encoded between two pause points.
pub const ENCODE_TOKENS: usize = 1024;

/// Receives the tokens of a generation, and can stop it at pause points.
pub trait Listener: Pace {
    /// A token was chosen.
    fn token(&mut self, _: Choice<'_>) {}
}

impl Listener for NonStop {}

/// Generates for all prompts together; results are in the order of the prompts.
///
/// # Errors
/// An empty prompt, an invalid [`Sampling`], NaN logits (names the row); `Stopped` if the listener stops the work.
pub async fn generate(
    policy: &Policy,
    adapter: AdapterName<'_>,
    prompts: Vec<Prompt<'_>>,
    sampling: &Sampling,
    listener: &mut impl Listener,
) -> Result<Vec<Generated>> {
    sampling.check()?;
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let lora = policy.adapter(adapter)?;
    let pass = Pass { lora, dropout: None };
    let encoded = encode(policy, &prompts, pass, listener).await?;
    let mut decoding = Decoding::new(policy, lora, &encoded, prompts)?;
    while !decoding.active.is_empty() {
        listener.pause().await?;
        decoding.step(sampling, listener)?;
    }
    Ok(decoding.rows.into_iter().map(|r| r.out).collect())
}

/// Encodes the prompts a few at a time.
async fn encode(policy: &Policy, prompts: &[Prompt<'_>], pass: Pass<'_>, pace: &mut impl Pace) -> Result<Packed> {
    let (mut parts, mut spans, mut at) = (Vec::new(), Vec::new(), 0);
    let mut rest = prompts;
    while !rest.is_empty() {
        pace.pause().await?;
        let mut n = 1;
        while n < rest.len() && rest[..n + 1].iter().map(|p| p.ids.len()).sum::<usize>() <= ENCODE_TOKENS {
            n += 1;
        }
        let ids: Vec<&[u32]> = rest[..n].iter().map(|p| p.ids).collect();
        let part = policy.t5.encode(&ids, pass)?;
        spans.extend(part.spans.iter().map(|(start, len)| (at + start, *len)));
        at += part.hidden.dims()[0];
        parts.push(part.hidden);
        rest = &rest[n..];
    }
    Ok(Packed { hidden: Tensor::cat(&parts, 0)?, spans })
}

struct RowState {
    out: Generated,
    rng: Rng,
    max_new_tokens: usize,
}

/// A batch while it is decoded.
struct Decoding<'a> {
    policy: &'a Policy,
    lora: Option<&'a LoraSet>,
    head: Linear,
    cache: Cache,
    rows: Vec<RowState>,
    /// Rows that have not ended.
    active: Vec<usize>,
}

impl<'a> Decoding<'a> {
    fn new(policy: &'a Policy, lora: Option<&'a LoraSet>, encoded: &Packed, prompts: Vec<Prompt<'_>>) -> Result<Self> {
        let capacity = prompts.iter().map(|p| p.max_new_tokens).max().unwrap_or(0);
        if let Some(i) = prompts.iter().position(|p| p.max_new_tokens == 0) {
            return Err(Error::input(format!("row {} may have 0 new tokens", i + 1), "give at least 1 new token"));
        }
        let start = policy.t5.config.decoder_start_token_id;
        let empty = || Generated {
            ids: vec![start],
            logprobs: Vec::new(),
            values: Vec::new(),
            entropy: Vec::new(),
            ended: false,
        };
        let row = |p: Prompt<'_>| RowState { out: empty(), rng: p.rng, max_new_tokens: p.max_new_tokens };
        Ok(Self {
            policy,
            lora,
            head: Linear::from_weight(policy.t5.head().clone()),
            cache: policy.t5.cache(encoded, capacity, Pass { lora, dropout: None })?,
            active: (0..prompts.len()).collect(),
            rows: prompts.into_iter().map(row).collect(),
        })
    }

    /// Generates one token for every active row.
    fn step(&mut self, sampling: &Sampling, listener: &mut impl Listener) -> Result<()> {
        let pass = Pass { lora: self.lora, dropout: None };
        let t5 = &self.policy.t5;
        let eos = t5.config.eos_token_id;
        let last = |row: &usize| self.rows[*row].out.ids.last().copied().unwrap_or(t5.config.decoder_start_token_id);
        let ids: Vec<u32> = self.active.iter().map(last).collect();
        let hidden = t5.decode_next(&ids, &self.active, &mut self.cache, pass)?; // (active, D)
        let values = self.policy.values(&hidden)?;
        let logits = self.head.forward(&t5.head_input(&hidden)?)?; // (active, V)
        let (rows, active, vocab) = (&self.rows, &self.active, t5.config.vocab_size);
        let chosen = with_slice(&logits, |logits| {
            for_tasks(active.len(), |i| {
                let (logits, state) = (&logits[i * vocab..(i + 1) * vocab], &rows[active[i]]);
                let stats = vectorized(|| LogSoftmax::of(logits));
                let mut rng = state.rng.clone();
                let id = sampling.choose(logits, state.out.ids.len(), eos, &mut rng);
                (id, rng, stats.logprob(logits[id as usize]), stats)
            })
        })?;
        for ((row, value), (id, rng, logprob, stats)) in self.active.iter().zip(values).zip(chosen) {
            let state = &mut self.rows[*row];
            if !stats.is_finite() {
                return Err(Error::not_finite(
                    format!("a logit of row {}, token {}", row + 1, state.out.ids.len()),
                    "check the model's weights for NaN; if they were trained here, use a lower learning rate",
                )
                .in_row(*row));
            }
            state.rng = rng;
            state.out.ids.push(id);
            state.out.logprobs.push(logprob);
            state.out.entropy.push(stats.entropy());
            state.out.values.push(value);
            state.out.ended = id == eos;
        }
        with_slice(&logits, |logits| {
            for (row, logits) in self.active.iter().zip(logits.chunks_exact(vocab)) {
                let id = self.rows[*row].out.ids.last().copied().unwrap_or_default();
                listener.token(Choice { row: *row, id, logits });
            }
        })?;
        let rows = &self.rows;
        self.active.retain(|row| !rows[*row].out.ended && rows[*row].out.ids.len() <= rows[*row].max_new_tokens);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng::Purpose;

    /// 1024 logits with a long tail, similar to a trained model's.
    fn logits() -> Vec<f32> {
        let mut rng = Rng::new(1, Purpose::Init, 0, 0);
        (0..1024).map(|_| 2.5 * rng.normal()).collect()
    }

    #[test]
    fn tokens_are_sampled_as_often_as_they_are_probable() {
        let (sampling, z, n) = (Sampling { temperature: 1.5, ..Sampling::default() }, logits(), 20_000);
        let p = sampling.probabilities(&z, 1, 1);
        let mut rng = Rng::new(2, Purpose::Sampling, 0, 0);
        let mut drawn = vec![0f64; z.len()];
        (0..n).for_each(|_| drawn[sampling.choose(&z, 1, 1, &mut rng) as usize] += 1.0);
        let expected = |i: usize| f64::from(p[i]) * f64::from(n);
        let off = |i: &usize| (drawn[*i] - expected(*i)).powi(2) / expected(*i);
        let often: Vec<usize> = (0..z.len()).filter(|i| expected(*i) >= 10.0).collect();
        let chi: f64 = often.iter().map(off).sum();
        let freedom = often.len() as f64;
        assert!(freedom > 100.0);
        // five standard deviations of a chi square
        assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "chi square {chi:.0} at {freedom:.0}");
    }

    #[test]
    fn rounding_of_the_logits_changes_no_sample() {
        let (sampling, z) = (Sampling::default(), logits());
        let mut noise = Rng::new(3, Purpose::Init, 0, 0);
        // the difference between fused and separate multiply-adds
        let near: Vec<f32> = z.iter().map(|z| z + 2e-6 * (noise.uniform() - 0.5)).collect();
        let mut streams = [Rng::new(4, Purpose::Sampling, 0, 0), Rng::new(4, Purpose::Sampling, 0, 0)];
        let [one, other] = &mut streams;
        for _ in 0..20_000 {
            assert_eq!(sampling.choose(&z, 1, 1, one), sampling.choose(&near, 1, 1, other));
        }
    }

    #[test]
    fn filtered_tokens_are_never_sampled() {
        let sampling = Sampling { top_k: 3, ..Sampling::default() };
        let mut rng = Rng::new(5, Purpose::Sampling, 0, 0);
        let z = [0.0, 5.0, 4.9, 4.8, 4.7];
        assert!((0..2000).all(|_| [1, 2, 3].contains(&sampling.choose(&z, 1, 9, &mut rng))));
    }
}
