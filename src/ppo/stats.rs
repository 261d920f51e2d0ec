//! What a step reports: every statistic that TRL logs, under its keys. Leaves clocks to the doors: timings are handed in.

use crate::ppo::batch::{Batch, Grid};
use crate::ppo::gae::masked_mean;
use crate::ppo::loss::MiniBatchStats;
use crate::ppo::rewards::TokenRewards;
use crate::ppo::rooms::{Forward, MiniBatch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Seconds spent, measured by a door (nothing below has a clock); unset ones are left out of the JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    pub forward_pass: Option<f64>,
    pub compute_rewards: Option<f64>,
    pub compute_advantages: Option<f64>,
    pub optimize_step: Option<f64>,
    pub calc_stats: Option<f64>,
    pub total: Option<f64>,
}

/// Mean, deviation (ddof 1; NaN for one number) and the numbers themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub mean: f64,
    pub std: f64,
    pub values: Vec<f32>,
}

impl Distribution {
    /// Of `values`, at least one.
    pub fn of(values: Vec<f32>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        Self { mean, std: (squares / (n - 1.0)).sqrt(), values }
    }
}

/// Everything TRL logs about a step. Source: docs/ppo.md section 3.7.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepStats {
    /// objective/kl: mean over rows of the sum over trained columns, nats a response. Can be negative with k1.
    pub kl: f64,
    /// objective/kl_dist: that sum per row (B).
    pub kl_per_row: Vec<f32>,
    /// objective/kl_coef: the coefficient used in this step, before its update.
    pub kl_coef: f64,
    /// objective/entropy: mean over rows of the sum of -old_logprob, nats a response.
    pub entropy: f64,
    /// objective/logprobs: old log-probs (B, R), padded columns included.
    pub logprobs: Vec<Vec<f32>>,
    /// objective/ref_logprobs (B, R).
    pub ref_logprobs: Vec<Vec<f32>>,
    /// ppo/mean_non_score_reward: mean of -kl_coef · kl over trained columns.
    pub mean_non_score_reward: f64,
    /// ppo/mean_scores, ppo/std_scores: scores as they entered the rewards (scaled, clipped).
    pub scores: Distribution,
    /// env/reward_mean, _std, _dist: scores as given.
    pub env_rewards: Distribution,
    /// tokens/queries_*.
    pub query_lengths: Distribution,
    /// tokens/responses_*: decoder ids as fed, start token included.
    pub response_lengths: Distribution,
    /// ppo/loss, policy, returns, val: plain means over all mini-batches of all epochs.
    pub mean: MiniBatchStats,
    /// ppo/val/var_explained: 1 - mean value error / mean return variance.
    pub var_explained: f64,
    /// ppo/policy/advantages: whitened, flat over mini-batches, masked columns included.
    pub advantages: Vec<f32>,
    /// ppo/policy/ratio: flat over mini-batches, masked columns included.
    pub ratio: Vec<f32>,
    /// ppo/learning_rate: used in this step.
    pub learning_rate: f64,
    /// Global gradient norm of each update, before clipping. Not TRL's.
    pub grad_norms: Vec<f64>,
    /// Epochs run: fewer than asked for after an early stop. Not TRL's.
    pub epochs: usize,
    /// What deserves a look, in words. Not TRL's.
    pub warnings: Vec<String>,
    /// Filled in by a door with a clock.
    pub time: Timings,
}

/// The whole-batch numbers that statistics are made of.
#[derive(Debug, Clone, Copy)]
pub struct BatchNumbers<'a> {
    pub batch: &'a Batch<'a>,
    pub forward: &'a Forward,
    /// (B, R).
    pub kl: &'a Grid,
    pub rewards: &'a TokenRewards,
    /// As they entered the rewards (B).
    pub scores: &'a [f32],
    pub kl_coef: f64,
}

impl StepStats {
    /// Statistics of a step from its batch and its mini-batches in order; the optimizer's are the caller's to add.
    pub fn new(x: &BatchNumbers, mini_batches: &[MiniBatch]) -> Self {
        let mask = &x.batch.mask;
        let kl_per_row = row_sums(x.kl, mask); // (B)
        let surprisal = row_sums(&x.forward.old_logprobs.map(|lp| -lp), mask); // (B)
        let mean = mean_stats(&mini_batches.iter().map(|mini| mini.loss.stats).collect::<Vec<_>>());
        let mut stats = Self {
            kl: mean_of(&kl_per_row),
            kl_per_row,
            kl_coef: x.kl_coef,
            entropy: mean_of(&surprisal),
            logprobs: x.forward.old_logprobs.to_rows(),
            ref_logprobs: x.forward.ref_logprobs.to_rows(),
            mean_non_score_reward: masked_mean(&x.rewards.non_score, mask),
            scores: Distribution::of(x.scores.to_vec()),
            env_rewards: Distribution::of(x.batch.rows.iter().map(|row| row.score).collect()),
            query_lengths: Distribution::of(x.batch.rows.iter().map(|row| row.query_ids.len() as f32).collect()),
            response_lengths: Distribution::of(x.batch.decoder_ids.iter().map(|ids| ids.len() as f32).collect()),
            var_explained: 1.0 - mean.value_error / mean.returns_var,
            mean,
            advantages: mini_batches.iter().flat_map(|m| &m.advantages.data).map(|&a| nan_to_num(a)).collect(),
            ratio: mini_batches.iter().flat_map(|m| &m.loss.ratio.data).copied().collect(),
            ..Self::default()
        };
        stats.warnings = warnings(stats.kl, mini_batches);
        stats
    }

    /// TRL's keys and shapes: scalars as numbers, arrays as (nested) lists, NaN as null. With `trl_arrays` false the arrays
    /// that grow with the batch's tokens are left out (a line of metrics.jsonl).
    pub fn to_json(&self, trl_arrays: bool) -> Map<String, Value> {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        put("objective/kl", json!(self.kl));
        put("objective/kl_dist", json!(self.kl_per_row));
        if trl_arrays {
            put("objective/logprobs", json!(self.logprobs));
            put("objective/ref_logprobs", json!(self.ref_logprobs));
        }
        put("objective/kl_coef", json!(self.kl_coef));
        put("objective/entropy", json!(self.entropy));
        put("ppo/mean_non_score_reward", json!(self.mean_non_score_reward));
        put("ppo/mean_scores", json!(self.scores.mean));
        put("ppo/std_scores", json!(self.scores.std));
        for (name, lengths) in [("queries", &self.query_lengths), ("responses", &self.response_lengths)] {
            put(&format!("tokens/{name}_len_mean"), json!(lengths.mean));
            put(&format!("tokens/{name}_len_std"), json!(lengths.std));
            put(&format!("tokens/{name}_dist"), json!(lengths.values));
        }
        let m = &self.mean;
        put("ppo/loss/policy", json!(m.policy_loss));
        put("ppo/loss/value", json!(m.value_loss));
        put("ppo/loss/total", json!(m.total_loss));
        put("ppo/policy/entropy", json!(m.entropy));
        put("ppo/policy/approxkl", json!(m.approx_kl));
        put("ppo/policy/policykl", json!(m.policy_kl));
        put("ppo/policy/clipfrac", json!(m.clip_fraction));
        if trl_arrays {
            put("ppo/policy/advantages", json!(self.advantages));
        }
        put("ppo/policy/advantages_mean", json!(m.advantages_mean));
        if trl_arrays {
            put("ppo/policy/ratio", json!(self.ratio));
        }
        put("ppo/returns/mean", json!(m.returns_mean));
        put("ppo/returns/var", json!(m.returns_var));
        put("ppo/val/vpred", json!(m.value_mean));
        put("ppo/val/error", json!(m.value_error));
        put("ppo/val/clipfrac", json!(m.value_clip_fraction));
        put("ppo/val/mean", json!(m.old_value_mean));
        put("ppo/val/var", json!(m.old_value_var));
        put("ppo/val/var_explained", json!(self.var_explained));
        put("ppo/learning_rate", json!(self.learning_rate));
        put("env/reward_mean", json!(self.env_rewards.mean));
        put("env/reward_std", json!(self.env_rewards.std));
        put("env/reward_dist", json!(self.env_rewards.values));
        let t = &self.time;
        let named = [
            ("forward_pass", t.forward_pass),
            ("compute_rewards", t.compute_rewards),
            ("compute_advantages", t.compute_advantages),
            ("optimize_step", t.optimize_step),
            ("calc_stats", t.calc_stats),
            ("total", t.total),
        ];
        for (name, seconds) in named {
            if let Some(seconds) = seconds {
                put(&format!("time/ppo/{name}"), json!(seconds));
            }
        }
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

/// torch.nan_to_num with TRL's filler -1 (core.py `WANDB_PADDING`).
fn nan_to_num(x: f32) -> f32 {
    if x.is_nan() { -1.0 } else { x.clamp(f32::MIN, f32::MAX) }
}

/// What TRL warns of: a KL below -1, and mini-batches that the ratio guard skipped.
fn warnings(kl: f64, mini_batches: &[MiniBatch]) -> Vec<String> {
    let negative = (kl < -1.0).then(|| {
        format!(
            "the KL is negative ({kl:.2} nats a response): responses were not sampled from the policy as it is scored; \
             check min_length, temperature, top_k and top_p"
        )
    });
    let guarded = mini_batches.iter().enumerate().filter(|(_, mini)| mini.loss.guarded).map(|(k, mini)| {
        let mean = mini.loss.stats.ratio_mean;
        format!(
            "mini-batch {k} (epoch {}): mean ratio {mean:.2} is above ratio_threshold; it trained nothing",
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
    fn deviations_are_of_the_sample() {
        let lengths = Distribution::of(vec![4.0, 6.0]);
        assert_eq!((lengths.mean, lengths.std), (5.0, 2.0f64.sqrt()));
        assert!(Distribution::of(vec![1.0]).std.is_nan());
    }

    #[test]
    fn json_has_null_for_nan_and_times_only_where_measured() {
        let stats = StepStats {
            scores: Distribution::of(vec![1.0]),
            time: Timings { total: Some(2.5), ..Timings::default() },
            ..StepStats::default()
        };
        let json = stats.to_json(false);
        assert!(json["ppo/std_scores"].is_null());
        assert_eq!(json["time/ppo/total"], 2.5);
        assert!(!json.contains_key("time/ppo/forward_pass") && !json.contains_key("objective/logprobs"));
    }
}
