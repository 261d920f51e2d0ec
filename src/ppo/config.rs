//! Every setting of PPO and of the rollout before it, with its unit and default, and what makes no sense.
//! The two presets are `presets`'s, reading a JSON file over one is `merge`'s.

use crate::error::{Error, Result};
use crate::ppo::kl::KlEstimator;
pub use crate::ppo::presets::{Difference, Preset};
use serde::{Deserialize, Serialize};

/// Settings of a PPO run; flat in JSON. Defaults are the corrected lab's; TRL's names are accepted (see `merge`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PpoConfig {
    // ---- optimizer
    /// Adam's learning rate, per update. Default 1.41e-5.
    pub learning_rate: f64,
    /// How the learning rate moves from step to step. Default constant.
    pub lr_schedule: Schedule,
    /// PPO steps over which the learning rate rises from 0 (not for `constant`). Default 0.
    pub warmup_steps: u64,
    /// PPO steps until the learning rate reaches 0; needed by linear and cosine. Default none.
    pub total_steps: Option<u64>,
    /// Decay of Adam's first moment, in [0, 1). Default 0.9.
    pub adam_beta1: f64,
    /// Decay of Adam's second moment, in [0, 1). Default 0.999.
    pub adam_beta2: f64,
    /// Added to the root of Adam's second moment. Default 1e-8.
    pub adam_eps: f64,
    /// Largest global gradient norm of an update; a larger one is scaled down to it. Default none.
    pub max_grad_norm: Option<f64>,
    // ---- batches
    /// Rows of a step (B). Default 16.
    pub batch_size: usize,
    /// Rows of a forward and backward pass (M). Default 4.
    pub mini_batch_size: usize,
    /// Mini-batches whose gradients are averaged into one update. Default 1.
    pub gradient_accumulation_steps: usize,
    /// Passes over the batch. Default 1 (TRL: 4).
    pub ppo_epochs: usize,
    // ---- KL
    /// Per-token KL estimator in the rewards: k1, k2, k3, abs. Default k1.
    pub kl_estimator: KlEstimator,
    /// Initial KL coefficient, reward per nat. Default 0.2.
    pub kl_coef: f64,
    /// Whether the coefficient follows the KL (else it stays). Default true.
    pub adaptive_kl: bool,
    /// KL that the adaptive coefficient aims at, nats a response. Default 6.
    pub kl_target: f64,
    /// Rows over which the coefficient may double (the smaller, the faster). Default 10000.
    pub kl_horizon: f64,
    // ---- rewards and advantages
    /// Discount per token, in [0, 1]. Default 1.
    pub gamma: f64,
    /// Decay of the advantage estimate per token, in [0, 1]. Default 0.95.
    pub lambda: f64,
    /// Divide scores by their running deviation. Default false.
    pub score_scaling: bool,
    /// Subtract their running mean first (only with score_scaling). Default false.
    pub score_norm: bool,
    /// Cut scores to ± this. Default none.
    pub score_clip: Option<f64>,
    /// Whiten per-token rewards over the batch, keeping their mean. Default false.
    pub whiten_rewards: bool,
    // ---- losses
    /// Range of the probability ratio around 1 inside which it earns gradient. Default 0.2.
    pub clip_range: f64,
    /// Range of new values around old ones inside which they earn gradient, in reward units. Default 0.2.
    pub clip_range_value: f64,
    /// Weight of the value loss. Default 0.1.
    pub vf_coef: f64,
    /// A mini-batch with a larger mean ratio trains nothing. Default none (25fa1bd has no guard; TRL 0.11.4: 10).
    pub ratio_threshold: Option<f64>,
    /// Start no further epoch once the last mini-batch's policy KL is above 1.5 · target_kl. Default false.
    pub early_stopping: bool,
    /// See early_stopping, nats a token. Default 0.1.
    pub target_kl: f64,
    // ---- published or corrected: see `differences`
    /// What of the reward model's logits is the score. Default nothate_logit.
    pub reward_read: RewardRead,
    /// What the KL is measured against. Default initial.
    pub kl_reference: KlReference,
    /// Train the response's first token too. Default true.
    pub train_first_token: bool,
    /// Put the decoder's start token back in front of a response that lost it. Default true.
    pub keep_start_token: bool,
    /// Dropout of the value head in the old and training passes, in [0, 1). Default 0.
    pub value_head_dropout: f64,
    /// The set over which advantages are whitened. Default batch.
    pub whiten_over: WhitenOver,
    /// Fewest decoder ids of a response, start token included; the end token is barred before. 0: none. Default 0.
    pub min_length: usize,
    /// Evaluate on one sample more than asked for. Default false.
    pub eval_samples_plus_one: bool,
    /// The text that is scored. Default response.
    pub scored_text: ScoredText,
    /// Cut texts to the reward model's longest input (else a longer one is an error). Default true.
    pub truncate_reward_input: bool,
    /// Report before, after, their paired difference with interval, and ROUGE (else improvement in percent only). Default true.
    pub report_paired: bool,
    /// Compute every mini-batch at the batch's width, so that masked padding columns equal TRL's arrays. Default false.
    pub pad_to_batch: bool,
    /// With whiten_rewards: keep the non-zero numbers that whitening leaves in padding columns. Default false.
    pub whiten_rewards_padding: bool,
    // ---- everything else
    /// Seed of every random stream. Default 0.
    pub seed: u64,
    /// How responses are sampled.
    #[serde(flatten)]
    pub rollout: RolloutConfig,
}

/// How responses are sampled. The lab's: the plain softmax, 100 to 399 new tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutConfig {
    /// Logits are divided by this before sampling, > 0. Default 1.
    pub temperature: f64,
    /// Sample among this many most probable tokens; 0: all. Default 0.
    pub top_k: usize,
    /// Sample among the fewest tokens that hold this probability, in (0, 1]. Default 1.
    pub top_p: f64,
    /// Smallest draw of a row's new-token limit. Default 100.
    pub output_min_length: usize,
    /// The draw stays below this (TRL's LengthSampler never draws its upper end). Default 400.
    pub output_max_length: usize,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, output_min_length: 100, output_max_length: 400 }
    }
}

/// Learning-rate schedules, as transformers' `get_scheduler` names and computes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    ConstantWithWarmup,
    Linear,
    Cosine,
}

/// What of the reward model's logits is the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardRead {
    /// The larger logit, whichever label it has.
    MaxLogit,
    /// The logit labelled "nothate".
    NothateLogit,
}

/// What the KL is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlReference {
    /// The base model, adapter off.
    Base,
    /// The policy's adapter as it was at step 0.
    Initial,
}

/// The set over which advantages are whitened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhitenOver {
    MiniBatch,
    Batch,
}

/// The text that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoredText {
    /// Query and response, special tokens spelled out.
    QueryAndResponse,
    /// The response, special tokens removed.
    Response,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self::preset(Preset::Corrected)
    }
}

impl PpoConfig {
    /// The learning rate of step `step` (counted from 0). Source: transformers optimization.py, `get_scheduler`.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let (step, warmup) = (step as f64, self.warmup_steps as f64);
        if self.lr_schedule != Schedule::Constant && step < warmup {
            return self.learning_rate * step / warmup.max(1.0);
        }
        let total = self.total_steps.unwrap_or(0) as f64;
        let length = (total - warmup).max(1.0);
        self.learning_rate
            * match self.lr_schedule {
                Schedule::Constant | Schedule::ConstantWithWarmup => 1.0,
                Schedule::Linear => ((total - step) / length).max(0.0),
                Schedule::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * (step - warmup) / length).cos())).max(0.0),
            }
    }

    /// Mini-batches that go into one update, in rows.
    pub fn rows_per_update(&self) -> usize {
        self.mini_batch_size.saturating_mul(self.gradient_accumulation_steps)
    }

    /// Refuses settings that make no sense, naming the setting.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("learning_rate", self.learning_rate, 0.0, f64::MAX),
            ("adam_beta1", self.adam_beta1, 0.0, BELOW_ONE),
            ("adam_beta2", self.adam_beta2, 0.0, BELOW_ONE),
            ("adam_eps", self.adam_eps, 0.0, f64::MAX),
            ("max_grad_norm", self.max_grad_norm.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX),
            ("batch_size", self.batch_size as f64, 1.0, MOST),
            ("mini_batch_size", self.mini_batch_size as f64, 1.0, MOST),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as f64, 1.0, MOST),
            ("ppo_epochs", self.ppo_epochs as f64, 1.0, MOST),
            ("kl_coef", self.kl_coef, 0.0, f64::MAX),
            ("kl_target", self.kl_target, f64::MIN_POSITIVE, f64::MAX),
            ("kl_horizon", self.kl_horizon, f64::MIN_POSITIVE, f64::MAX),
            ("gamma", self.gamma, 0.0, 1.0),
            ("lambda", self.lambda, 0.0, 1.0),
            ("score_clip", self.score_clip.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX),
            ("clip_range", self.clip_range, 0.0, f64::MAX),
            ("clip_range_value", self.clip_range_value, 0.0, f64::MAX),
            ("vf_coef", self.vf_coef, 0.0, f64::MAX),
            ("ratio_threshold", self.ratio_threshold.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX),
            ("target_kl", self.target_kl, 0.0, f64::MAX),
            ("value_head_dropout", self.value_head_dropout, 0.0, BELOW_ONE),
            ("temperature", self.rollout.temperature, f64::MIN_POSITIVE, f64::MAX),
            ("top_p", self.rollout.top_p, f64::MIN_POSITIVE, 1.0),
            ("min_length", self.min_length as f64, 0.0, MOST),
            ("output_min_length", self.rollout.output_min_length as f64, 1.0, MOST),
            ("output_max_length", self.rollout.output_max_length as f64, 1.0, MOST),
        ];
        for (name, value, low, high) in checks {
            if !(low..=high).contains(&value) {
                return Err(Error::input(
                    format!("setting {name} = {value} is out of range"),
                    range_hint(name, low, high),
                ));
            }
        }
        self.validate_pairs()
    }

    /// Refuses, beside what [`validate`](Self::validate) does, a run in which every step would fail.
    ///
    /// # Errors
    /// Advantages or scores that are brought to one scale from a single number.
    pub fn validate_run(&self) -> Result<()> {
        self.validate()?;
        let rows = match self.whiten_over {
            WhitenOver::Batch => self.batch_size,
            WhitenOver::MiniBatch => self.mini_batch_size,
        };
        let untrained = usize::from(!self.train_first_token) + usize::from(!self.keep_start_token);
        let longest = (self.rollout.output_max_length - 1).saturating_sub(untrained);
        if rows.saturating_mul(longest) < 2 {
            let set = if self.whiten_over == WhitenOver::Batch { "batch_size" } else { "mini_batch_size" };
            return Err(Error::input(
                format!(
                    "{set} = {rows} with output_max_length = {}: advantages are whitened over at least two response tokens, \
                     and there would be {} at most",
                    self.rollout.output_max_length,
                    rows * longest
                ),
                format!("raise {set}, or output_min_length and output_max_length"),
            ));
        }
        if self.score_scaling && self.batch_size == 1 {
            let what = "score_scaling with batch_size = 1: one score has no standard deviation";
            return Err(Error::input(what, "raise batch_size, or set score_scaling to false"));
        }
        Ok(())
    }

    /// Settings that must fit each other.
    fn validate_pairs(&self) -> Result<()> {
        if !self.batch_size.is_multiple_of(self.rows_per_update()) {
            return Err(Error::input(
                format!(
                    "batch_size = {} is not a multiple of mini_batch_size · gradient_accumulation_steps = {} · {}",
                    self.batch_size, self.mini_batch_size, self.gradient_accumulation_steps
                ),
                "change one of the three",
            ));
        }
        if matches!(self.lr_schedule, Schedule::Linear | Schedule::Cosine) && self.total_steps.is_none() {
            return Err(Error::input(
                "a linear or cosine lr_schedule needs total_steps",
                "set total_steps to the run's steps",
            ));
        }
        if self.rollout.output_min_length >= self.rollout.output_max_length {
            return Err(Error::input(
                "output_min_length must be below output_max_length (a row's limit is drawn from min..max, max excluded)",
                "for a fixed limit of N tokens set them to N and N + 1",
            ));
        }
        if self.score_norm && !self.score_scaling {
            return Err(Error::input(
                "score_norm works only together with score_scaling",
                "set score_scaling to true too",
            ));
        }
        Ok(())
    }
}

/// More rows, passes or tokens than this are a slip of the hand.
const MOST: f64 = 65536.0;

/// The largest f64 below one.
const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

fn range_hint(name: &str, low: f64, high: f64) -> String {
    match (low, high) {
        (f64::MIN_POSITIVE, f64::MAX) => format!("give {name} a number above 0"),
        (low, f64::MAX) => format!("give {name} a finite number of at least {low}"),
        (f64::MIN_POSITIVE, high) => format!("give {name} a number above 0 and at most {high}"),
        (low, BELOW_ONE) => format!("give {name} a number from {low} to below 1"),
        (low, high) => format!("give {name} a number from {low} to {high}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let refuse = |change: &dyn Fn(&mut PpoConfig), name: &str| {
            let mut config = PpoConfig::default();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        };
        refuse(&|c| c.gamma = 1.5, "gamma");
        refuse(&|c| c.learning_rate = f64::NAN, "learning_rate");
        refuse(&|c| c.batch_size = 0, "batch_size");
        refuse(&|c| c.mini_batch_size = 3, "mini_batch_size");
        refuse(&|c| c.adam_beta2 = 1.0, "adam_beta2");
        refuse(&|c| c.max_grad_norm = Some(0.0), "max_grad_norm");
        refuse(&|c| c.lr_schedule = Schedule::Cosine, "total_steps");
        refuse(&|c| c.score_norm = true, "score_scaling");
        refuse(&|c| c.rollout.output_max_length = 100, "output_min_length");
        refuse(&|c| c.rollout.top_p = 0.0, "top_p");
    }

    #[test]
    fn a_run_that_can_never_make_a_step_is_refused() {
        let run = |rows: usize, tokens: usize, change: &dyn Fn(&mut PpoConfig)| {
            let mut config = PpoConfig { batch_size: rows, mini_batch_size: 1, ..PpoConfig::default() };
            (config.rollout.output_min_length, config.rollout.output_max_length) = (tokens, tokens + 1);
            change(&mut config);
            config.validate_run().map_err(|e| e.to_string())
        };
        assert!(run(1, 1, &|_| ()).unwrap_err().contains("batch_size = 1"));
        assert!(run(1, 2, &|_| ()).is_ok() && run(2, 1, &|_| ()).is_ok());
        assert!(run(2, 1, &|c| c.whiten_over = WhitenOver::MiniBatch).unwrap_err().contains("mini_batch_size = 1"));
        assert!(run(2, 1, &|c| c.train_first_token = false).is_err());
        assert!(run(1, 9, &|c| c.score_scaling = true).unwrap_err().contains("score_scaling"));
    }
}
