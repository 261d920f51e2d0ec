//! Numbers of a PPO step: grids, scores, losses, and the line of `metrics.jsonl`. `ppo`, `model` and `lab` compute them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Numbers (rows, cols), row-major. Grids of responses are (B, R): column k is for token k + 1 of the decoder ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f32>,
}

impl Grid {
    /// Zeros (rows, cols).
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// Row `i` (cols).
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Row `i` (cols), mutable.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Applies `f` to each number.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        Self { rows: self.rows, cols: self.cols, data: self.data.iter().map(|&x| f(x)).collect() }
    }
}

/// One number for each label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByLabel {
    pub nothate: f32,
    pub hate: f32,
}

/// The reward model's output for a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub logits: ByLabel,
    /// Softmax of the logits.
    pub probabilities: ByLabel,
    /// The `nothate` logit: PPO's reward for the row.
    pub score: f32,
    /// P(hate), in 0..1.
    pub toxicity: f32,
}

/// Scalars of one mini-batch, means over its trained columns: TRL's `train_stats` (docs/ppo.md section 3.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MiniBatchStats {
    pub policy_loss: f64,
    /// Before vf_coef.
    pub value_loss: f64,
    /// policy_loss + vf_coef · value_loss.
    pub total_loss: f64,
    pub entropy: f64,
    /// mean (logprob - old_logprob)² / 2.
    pub approx_kl: f64,
    /// mean (old_logprob - logprob), which early stopping uses.
    pub policy_kl: f64,
    /// Fraction of columns where the clipped term is the larger one.
    pub clip_fraction: f64,
    pub advantages_mean: f64,
    pub returns_mean: f64,
    pub returns_var: f64,
    pub value_mean: f64,
    /// mean (value - return)².
    pub value_error: f64,
    pub value_clip_fraction: f64,
    pub old_value_mean: f64,
    pub old_value_var: f64,
    /// mean exp(logprob - old_logprob), which ratio_threshold limits. Not logged by TRL.
    pub ratio_mean: f64,
}

/// The seconds of a step's parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    pub generate: f64,
    pub score: f64,
    pub ppo: f64,
    pub total: f64,
}

/// Makes [`Statistics`] and the list of its names: `/// meaning`, then `field: "TRL's key"`.
macro_rules! statistics {
    ($( #[doc = $means:literal] $field:ident: $type:ident = $key:literal; )+) => {
        /// A step's statistics with TRL's keys: a line of `metrics.jsonl`. Numbers that are not finite are null in JSON.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Statistics {
            /// The step, counted from 1.
            pub step: u64,
            $(
                #[doc = $means]
                #[serde(rename = $key, deserialize_with = "StatisticValue::read")]
                pub $field: $type,
            )+
        }

        impl Statistics {
            /// From the value of each of TRL's keys, which `value` returns; the page reads steps by this.
            ///
            /// # Errors
            /// Those of `value`, or a value that is neither a number nor null, by its key.
            pub fn from_numbers<E: serde::de::Error>(value: &mut dyn FnMut(&str) -> Result<Value, E>) -> Result<Self, E> {
                let step = value("step")?.as_u64().ok_or_else(|| E::custom("step is not a whole number"))?;
                Ok(Self { step, $($field: StatisticValue::of(value($key)?).ok_or_else(|| not_numbers($key))?),+ })
            }

            /// All numbers with their keys, without lists of numbers.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, f64)> {
                [$( ($key, StatisticValue::number(&self.$field)) ),+].into_iter().filter_map(|(key, x)| Some((key, x?)))
            }
        }
    };
}

statistics! {
    /// Mean over rows of the sum over trained columns, in nats per response. Can be negative with k1.
    kl: f64 = "objective/kl";
    /// This sum for each row (B).
    kl_per_row: Numbers = "objective/kl_dist";
    /// The coefficient used in this step, before its update.
    kl_coef: f64 = "objective/kl_coef";
    /// Mean over rows of the sum of -old_logprob, in nats per response.
    entropy: f64 = "objective/entropy";
    /// Mean of -kl_coef · kl over trained columns.
    non_score_reward: f64 = "ppo/mean_non_score_reward";
    /// Mean of the scores after scaling and clipping.
    score: f64 = "ppo/mean_scores";
    /// Their standard deviation (ddof 1).
    score_std: f64 = "ppo/std_scores";
    /// Mean number of tokens of a query.
    query_length: f64 = "tokens/queries_len_mean";
    /// Standard deviation (ddof 1) of the number of tokens of a query.
    query_length_std: f64 = "tokens/queries_len_std";
    /// Tokens of each query (B).
    query_lengths: Numbers = "tokens/queries_dist";
    /// Mean number of decoder ids of a response, start token included.
    response_length: f64 = "tokens/responses_len_mean";
    /// Standard deviation (ddof 1) of the number of decoder ids.
    response_length_std: f64 = "tokens/responses_len_std";
    /// Decoder ids of each response (B).
    response_lengths: Numbers = "tokens/responses_dist";
    /// Mean over all mini-batches of all epochs, as the following numbers.
    policy_loss: f64 = "ppo/loss/policy";
    /// Before vf_coef.
    value_loss: f64 = "ppo/loss/value";
    /// policy_loss + vf_coef · value_loss.
    total_loss: f64 = "ppo/loss/total";
    /// In nats per token.
    token_entropy: f64 = "ppo/policy/entropy";
    /// mean (logprob - old_logprob)² / 2.
    approx_kl: f64 = "ppo/policy/approxkl";
    /// mean (old_logprob - logprob).
    policy_kl: f64 = "ppo/policy/policykl";
    /// Fraction of columns where the clipped term is the larger one.
    clip_fraction: f64 = "ppo/policy/clipfrac";
    /// Mean of the whitened advantages.
    advantages_mean: f64 = "ppo/policy/advantages_mean";
    /// Mean of the returns.
    returns_mean: f64 = "ppo/returns/mean";
    /// Variance of the returns.
    returns_var: f64 = "ppo/returns/var";
    /// Mean of the new values.
    value_mean: f64 = "ppo/val/vpred";
    /// mean (value - return)².
    value_error: f64 = "ppo/val/error";
    /// Fraction of columns where the clipped value term is the larger one.
    value_clip_fraction: f64 = "ppo/val/clipfrac";
    /// Mean of the old values.
    old_value_mean: f64 = "ppo/val/mean";
    /// Variance of the old values.
    old_value_var: f64 = "ppo/val/var";
    /// 1 - mean value error / mean return variance.
    var_explained: f64 = "ppo/val/var_explained";
    /// Used in this step.
    learning_rate: f64 = "ppo/learning_rate";
    /// Mean of the scores before scaling and clipping.
    env_reward: f64 = "env/reward_mean";
    /// Their standard deviation (ddof 1).
    env_reward_std: f64 = "env/reward_std";
    /// Each response's score before scaling and clipping (B).
    env_rewards: Numbers = "env/reward_dist";
}

impl Statistics {
    /// The means over mini-batches; the caller gives `ratio_mean`, which TRL does not log.
    pub fn mini_batches(&self, ratio_mean: f64) -> MiniBatchStats {
        MiniBatchStats {
            policy_loss: self.policy_loss,
            value_loss: self.value_loss,
            total_loss: self.total_loss,
            entropy: self.token_entropy,
            approx_kl: self.approx_kl,
            policy_kl: self.policy_kl,
            clip_fraction: self.clip_fraction,
            advantages_mean: self.advantages_mean,
            returns_mean: self.returns_mean,
            returns_var: self.returns_var,
            value_mean: self.value_mean,
            value_error: self.value_error,
            value_clip_fraction: self.value_clip_fraction,
            old_value_mean: self.old_value_mean,
            old_value_var: self.old_value_var,
            ratio_mean,
        }
    }
}

/// One number per row.
pub type Numbers = Vec<f32>;

/// A type of statistics; null is read as NaN.
trait StatisticValue: Sized {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;

    /// From a JSON value; none if it is of another kind.
    fn of(value: Value) -> Option<Self>;

    fn number(&self) -> Option<f64>;
}

/// A number, NaN for null.
fn or_nan(value: &Value) -> Option<f64> {
    if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
}

#[cold]
fn not_numbers<E: serde::de::Error>(key: &str) -> E {
    E::custom(format!("{key} is not a number"))
}

impl StatisticValue for f64 {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
    }

    fn of(value: Value) -> Option<Self> {
        or_nan(&value)
    }

    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl StatisticValue for Numbers {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let numbers = Vec::<Option<f32>>::deserialize(from)?;
        Ok(numbers.into_iter().map(|x| x.unwrap_or(f32::NAN)).collect())
    }

    fn of(value: Value) -> Option<Self> {
        value.as_array()?.iter().map(|x| or_nan(x).map(|x| x as f32)).collect()
    }

    fn number(&self) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_written_and_read_with_trl_s_keys() {
        let line =
            Statistics { step: 3, kl: 0.5, score_std: f64::NAN, kl_per_row: vec![0.25], ..Statistics::default() };
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!((&json["objective/kl"], &json["objective/kl_dist"][0]), (&0.5.into(), &0.25.into()));
        assert!(json["ppo/std_scores"].is_null());
        let back: Statistics = serde_json::from_value(json.clone()).unwrap();
        assert!(back.score_std.is_nan() && back.kl == 0.5);
        let mut renamed = json;
        let kl = renamed.as_object_mut().unwrap().shift_remove("objective/kl").unwrap();
        renamed["objective/kls"] = kl;
        assert!(serde_json::from_value::<Statistics>(renamed).unwrap_err().to_string().contains("objective/kl"));
    }
}
