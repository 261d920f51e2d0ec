//! The two labs as settings: as published with TRL 25fa1bd, faults included, and corrected; and the table of what differs.

use crate::ppo::config::{KlReference, PpoConfig, RewardRead, RolloutConfig, Schedule, ScoredText, WhitenOver};
use crate::ppo::kl::KlEstimator;
use serde::{Deserialize, Serialize};

/// Which lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// As the notebook with TRL 25fa1bd behaves, faults included.
    Published,
    /// The faults put right.
    Corrected,
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
}
