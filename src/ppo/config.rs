//! Every setting of PPO and of the rollout before it, with its unit and default, and the two presets: the lab as
//! published and the lab corrected. Reading a JSON file over a preset is `merge`'s.

use crate::error::{Error, Result};
use crate::ppo::kl::KlEstimator;
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

/// Which lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// As the notebook with TRL 25fa1bd behaves, faults included.
    Published,
    /// The faults put right.
    Corrected,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self::preset(Preset::Corrected)
    }
}

impl PpoConfig {
    /// All settings of a preset. The two differ only in what [`PpoConfig::differences`] lists.
    pub fn preset(preset: Preset) -> Self {
        let published = preset == Preset::Published;
        Self {
            learning_rate: 1.41e-5,
            lr_schedule: Schedule::Constant,
            warmup_steps: 0,
            total_steps: None,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_eps: 1e-8,
            max_grad_norm: None,
            batch_size: 16,
            mini_batch_size: 4,
            gradient_accumulation_steps: 1,
            ppo_epochs: 1,
            kl_estimator: KlEstimator::K1,
            kl_coef: 0.2,
            adaptive_kl: true,
            kl_target: 6.0,
            kl_horizon: 10000.0,
            gamma: 1.0,
            lambda: 0.95,
            score_scaling: false,
            score_norm: false,
            score_clip: None,
            whiten_rewards: false,
            clip_range: 0.2,
            clip_range_value: 0.2,
            vf_coef: 0.1,
            ratio_threshold: None,
            early_stopping: false,
            target_kl: 0.1,
            reward_read: if published { RewardRead::MaxLogit } else { RewardRead::NothateLogit },
            kl_reference: if published { KlReference::Base } else { KlReference::Initial },
            train_first_token: !published,
            keep_start_token: !published,
            value_head_dropout: if published { 0.1 } else { 0.0 },
            whiten_over: if published { WhitenOver::MiniBatch } else { WhitenOver::Batch },
            min_length: if published { 5 } else { 0 },
            eval_samples_plus_one: published,
            scored_text: if published { ScoredText::QueryAndResponse } else { ScoredText::Response },
            truncate_reward_input: !published,
            report_paired: !published,
            pad_to_batch: published,
            whiten_rewards_padding: published,
            seed: 0,
            rollout: RolloutConfig::default(),
        }
    }

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
        self.mini_batch_size * self.gradient_accumulation_steps
    }

    /// Refuses settings that make no sense, naming the setting.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("learning_rate", self.learning_rate, 0.0, f64::MAX),
            ("adam_beta1", self.adam_beta1, 0.0, BELOW_ONE),
            ("adam_beta2", self.adam_beta2, 0.0, BELOW_ONE),
            ("adam_eps", self.adam_eps, 0.0, f64::MAX),
            ("max_grad_norm", self.max_grad_norm.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX),
            ("batch_size", self.batch_size as f64, 1.0, f64::MAX),
            ("mini_batch_size", self.mini_batch_size as f64, 1.0, f64::MAX),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as f64, 1.0, f64::MAX),
            ("ppo_epochs", self.ppo_epochs as f64, 1.0, f64::MAX),
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
            ("output_min_length", self.rollout.output_min_length as f64, 1.0, f64::MAX),
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

    /// What the published lab does otherwise than the corrected one: one named setting each.
    pub fn differences() -> Vec<Difference> {
        let value = |preset| serde_json::to_value(Self::preset(preset)).unwrap_or_default();
        let (published, corrected) = (value(Preset::Published), value(Preset::Corrected));
        let difference = |&(setting, why): &(&'static str, &'static str)| Difference {
            setting,
            published: published[setting].clone(),
            corrected: corrected[setting].clone(),
            why,
        };
        WHY.iter().map(difference).collect()
    }
}

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

/// One row of the table "the lab as published, and the lab corrected".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The setting's name.
    pub setting: &'static str,
    pub published: serde_json::Value,
    pub corrected: serde_json::Value,
    /// What the published behaviour does to the numbers.
    pub why: &'static str,
}

const WHY: [(&str, &str); 13] = [
    (
        "reward_read",
        "the notebook takes the first entry of a list that is sorted by score: max(nothate, hate), so a hateful text can score high",
    ),
    (
        "kl_reference",
        "TRL ignores ref_model for a PEFT policy and switches the adapter off: the KL is about 30 at the first step instead of 0",
    ),
    ("train_first_token", "TRL's mask starts at column 1: the first token of a response is never trained"),
    (
        "keep_start_token",
        "the notebook's slice cuts the start token off a response that reached the length limit: the decoder is fed one position off",
    ),
    ("value_head_dropout", "the value head stays in train mode: old and new values carry different dropout noise"),
    (
        "whiten_over",
        "TRL 25fa1bd whitens advantages over each mini-batch of 4 rows: row quality is compared within the 4 only",
    ),
    (
        "min_length",
        "min_length 5 bars the end token that the policy may want: its probability and the sampling disagree, and the KL can go negative",
    ),
    (
        "eval_samples_plus_one",
        "the loop breaks after i > num_samples: 11 samples are evaluated where 10 were asked for, and the sampling is not seeded",
    ),
    (
        "scored_text",
        "the query and literal </s> and <pad> are scored with the response: the reward depends on the dialogue's own toxicity",
    ),
    ("truncate_reward_input", "a text above the reward model's 512 tokens crashes the run"),
    (
        "report_paired",
        "improvement is one percentage without its sign's meaning, its spread, or what it cost in quality",
    ),
    (
        "pad_to_batch",
        "TRL computes padding columns too; the numbers trained on are the same without them, and come faster",
    ),
    (
        "whiten_rewards_padding",
        "TRL does not mask rewards again after whitening them (an option the lab leaves off): padding changes the advantages of shorter responses",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn presets_differ_exactly_in_the_listed_settings() {
        let value = |preset| serde_json::to_value(PpoConfig::preset(preset)).unwrap();
        let (published, corrected) = (value(Preset::Published), value(Preset::Corrected));
        let differing: Vec<&String> = published
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, value)| corrected[key.as_str()] != **value)
            .map(|(key, _)| key)
            .collect();
        let listed = PpoConfig::differences();
        assert_eq!(differing, listed.iter().map(|d| d.setting).collect::<Vec<_>>());
        assert!(listed.iter().all(|d| d.published != d.corrected && !d.why.is_empty()));
        PpoConfig::preset(Preset::Published).validate().unwrap();
        PpoConfig::default().validate().unwrap();
    }

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
}
