//! The statistics of a step: all that TRL logs, with its keys.

use crate::ppo::batch::{Batch, Forward, Grid};
use crate::ppo::gae::masked_mean;
use crate::ppo::loss::{MiniBatch, MiniBatchStats};
use crate::ppo::rewards::TokenRewards;
use crate::protocol::Statistics;
use serde_json::{Map, Value, json};

/// Everything that TRL logs about a step, and more. Source: docs/ppo.md section 3.7.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepStats {
    /// The line of metrics.jsonl.
    pub line: Statistics,
    /// Plain means over all mini-batches of all epochs.
    pub mean: MiniBatchStats,
    /// objective/logprobs: old log-probs (B, R), padded columns included.
    pub logprobs: Vec<Vec<f32>>,
    /// objective/ref_logprobs (B, R).
    pub ref_logprobs: Vec<Vec<f32>>,
    /// ppo/policy/advantages: whitened, flat over mini-batches, masked columns included.
    pub advantages: Vec<f32>,
    /// ppo/policy/ratio: flat over mini-batches, masked columns included.
    pub ratio: Vec<f32>,
    /// Global gradient norm of each update, before clipping. Not in TRL.
    pub grad_norms: Vec<f64>,
    /// Number of epochs run (fewer after an early stop). Not in TRL.
    pub epochs: usize,
    /// Warnings in words. Not in TRL.
    pub warnings: Vec<String>,
}

/// Numbers of the whole batch, for the statistics.
#[derive(Debug, Clone, Copy)]
pub struct BatchNumbers<'a> {
    pub batch: &'a Batch<'a>,
    pub forward: &'a Forward,
    /// (B, R).
    pub kl: &'a Grid,
    pub rewards: &'a TokenRewards,
    /// After scaling and clipping (B).
    pub scores: &'a [f32],
    pub kl_coef: f64,
    pub learning_rate: f64,
}

impl StepStats {
    /// Statistics of the step `step`, counted from 1, from its batch and its mini-batches in order; the caller adds those of
    /// the optimizer.
    pub fn new(step: u64, x: &BatchNumbers, mini_batches: &[MiniBatch]) -> Self {
        let mask = &x.batch.mask;
        let kl_per_row = row_sums(x.kl, mask); // (B)
        let surprisal = row_sums(&x.forward.old_logprobs.map(|lp| -lp), mask); // (B)
        let env_rewards: Vec<f32> = x.batch.rows.iter().map(|row| row.score).collect();
        let query_lengths: Vec<f32> = x.batch.rows.iter().map(|row| row.query_ids.len() as f32).collect();
        let response_lengths: Vec<f32> = x.batch.decoder_ids.iter().map(|ids| ids.len() as f32).collect();
        let mean = mean_stats(&mini_batches.iter().map(|mini| mini.loss.stats).collect::<Vec<_>>());
        let kl = mean_of(&kl_per_row);
        let line = Statistics {
            step,
            kl,
            kl_per_row,
            kl_coef: x.kl_coef,
            entropy: mean_of(&surprisal),
            non_score_reward: masked_mean(&x.rewards.non_score, mask),
            score: mean_of(x.scores),
            score_std: std_of(x.scores),
            query_length: mean_of(&query_lengths),
            query_length_std: std_of(&query_lengths),
            query_lengths,
            response_length: mean_of(&response_lengths),
            response_length_std: std_of(&response_lengths),
            response_lengths,
            policy_loss: mean.policy_loss,
            value_loss: mean.value_loss,
            total_loss: mean.total_loss,
            token_entropy: mean.entropy,
            approx_kl: mean.approx_kl,
            policy_kl: mean.policy_kl,
            clip_fraction: mean.clip_fraction,
            advantages_mean: mean.advantages_mean,
            returns_mean: mean.returns_mean,
            returns_var: mean.returns_var,
            value_mean: mean.value_mean,
            value_error: mean.value_error,
            value_clip_fraction: mean.value_clip_fraction,
            old_value_mean: mean.old_value_mean,
            old_value_var: mean.old_value_var,
            var_explained: 1.0 - mean.value_error / mean.returns_var,
            learning_rate: x.learning_rate,
            env_reward: mean_of(&env_rewards),
            env_reward_std: std_of(&env_rewards),
            env_rewards,
        };
        Self {
            line,
            mean,
            logprobs: x.forward.old_logprobs.to_rows(),
            ref_logprobs: x.forward.ref_logprobs.to_rows(),
            advantages: mini_batches.iter().flat_map(|m| &m.advantages.data).map(|&a| nan_to_num(a)).collect(),
            ratio: mini_batches.iter().flat_map(|m| &m.loss.ratio.data).copied().collect(),
            warnings: warnings(kl, mini_batches),
            ..Self::default()
        }
    }

    /// A step's statistics with TRL's keys and shapes, without the step number: scalars as numbers, arrays as (nested) lists,
    /// NaN as null; the arrays with one number per token are last.
    pub fn to_json(&self) -> Map<String, Value> {
        let Value::Object(mut out) = json!(self.line) else { return Map::new() };
        out.shift_remove("step");
        let arrays = [
            ("objective/logprobs", json!(self.logprobs)),
            ("objective/ref_logprobs", json!(self.ref_logprobs)),
            ("ppo/policy/advantages", json!(self.advantages)),
            ("ppo/policy/ratio", json!(self.ratio)),
        ];
        out.extend(arrays.map(|(key, value)| (key.to_string(), value)));
        out
    }
}

/// Sum over each row's trained columns: (B, R) → (B).
fn row_sums(x: &Grid, mask: &Grid) -> Vec<f32> {
    let sum = |i: usize| -> f64 {
        let columns = x.row(i).iter().zip(mask.row(i));
        columns.filter(|(_, m)| **m > 0.0).map(|(&x, _)| f64::from(x)).sum()
    };
    (0..x.rows).map(|i| sum(i) as f32).collect()
}

fn mean_of(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64
}

/// Standard deviation (ddof 1); NaN for one number.
fn std_of(values: &[f32]) -> f64 {
    let mean = mean_of(values);
    let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// torch.nan_to_num with TRL's filler -1 (core.py `WANDB_PADDING`).
fn nan_to_num(x: f32) -> f32 {
    if x.is_nan() { -1.0 } else { x.clamp(f32::MIN, f32::MAX) }
}

/// TRL's warnings: a KL below -1, and mini-batches that ratio_threshold skipped.
fn warnings(kl: f64, mini_batches: &[MiniBatch]) -> Vec<String> {
    let negative = (kl < -1.0).then(|| {
        format!(
            "the KL is negative ({kl:.2} nats per response): responses were not sampled from the scored distribution; \
             check min_length, temperature, top_k and top_p"
        )
    });
    let guarded = mini_batches.iter().enumerate().filter(|(_, mini)| mini.loss.guarded).map(|(k, mini)| {
        let mean = mini.loss.stats.ratio_mean;
        format!(
            "mini-batch {k} (epoch {}): mean ratio {mean:.2} is above ratio_threshold, so it was skipped",
            mini.epoch
        )
    });
    negative.into_iter().chain(guarded).collect()
}

/// The plain average over mini-batches, field by field.
pub fn mean_stats(all: &[MiniBatchStats]) -> MiniBatchStats {
    let mean = |field: fn(&MiniBatchStats) -> f64| all.iter().map(field).sum::<f64>() / all.len() as f64;
    MiniBatchStats {
        policy_loss: mean(|s| s.policy_loss),
        value_loss: mean(|s| s.value_loss),
        total_loss: mean(|s| s.total_loss),
        entropy: mean(|s| s.entropy),
        approx_kl: mean(|s| s.approx_kl),
        policy_kl: mean(|s| s.policy_kl),
        clip_fraction: mean(|s| s.clip_fraction),
        advantages_mean: mean(|s| s.advantages_mean),
        returns_mean: mean(|s| s.returns_mean),
        returns_var: mean(|s| s.returns_var),
        value_mean: mean(|s| s.value_mean),
        value_error: mean(|s| s.value_error),
        value_clip_fraction: mean(|s| s.value_clip_fraction),
        old_value_mean: mean(|s| s.old_value_mean),
        old_value_var: mean(|s| s.old_value_var),
        ratio_mean: mean(|s| s.ratio_mean),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn standard_deviations_are_of_the_sample() {
        assert_eq!((mean_of(&[4.0, 6.0]), std_of(&[4.0, 6.0])), (5.0, 2.0f64.sqrt()));
        assert!(std_of(&[1.0]).is_nan());
    }

    #[test]
    fn json_has_null_for_nan_and_trl_s_arrays() {
        let line = Statistics { score_std: f64::NAN, kl: 2.0, ..Statistics::default() };
        let json = StepStats { line, ..StepStats::default() }.to_json();
        assert!(json["ppo/std_scores"].is_null() && json.contains_key("objective/logprobs"));
        assert_eq!(json["objective/kl"], 2.0);
        assert!(!json.contains_key("step"));
    }
}
