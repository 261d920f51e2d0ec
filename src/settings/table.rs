//! The settings table. An entry has the field's name and type, the corrected default, the published value and why it differs,
//! unit, range, other names that `--config` accepts, and the first part of a step that it changes (`recomputed`: *what if*
//! shows the change without a model). `settings!` explains the form of an entry.

use super::choices::{KlEstimator, KlReference, Preset, RewardRead, Schedule, ScoredText, WhitenOver};
use super::define::{Part, Range, Setting, Type, settings};

settings! {
    /// Settings of a PPO run; a flat object in JSON. The default is the corrected preset.
    PpoConfig

    "Optimizer": "How the weights are updated" {
        /// Adam's learning rate
        learning_rate: f64 = 1.41e-5, unit "per update", range AT_LEAST_0, alias ["lr"], changes Update;
        /// How the learning rate changes from step to step
        lr_schedule: Schedule = Schedule::Constant, alias ["lr_scheduler_type"], changes Update;
        /// Steps over which the learning rate rises from 0 (not with the schedule constant)
        warmup_steps: u64 = 0, unit "PPO steps", changes Update;
        /// Steps until a linear or cosine learning rate reaches 0
        total_steps: Option<u64> = None, unit "PPO steps", changes Update;
        /// Decay rate of Adam's mean of gradients
        adam_beta1: f64 = 0.9, range BELOW_1, changes Update;
        /// Decay rate of Adam's mean of squared gradients
        adam_beta2: f64 = 0.999, range BELOW_1, changes Update;
        /// Added to Adam's denominator, so that it is never 0
        adam_eps: f64 = 1e-8, range AT_LEAST_0, alias ["adam_epsilon"], changes Update;
        /// Maximum global norm of an update's gradient; a larger gradient is scaled down to it
        max_grad_norm: Option<f64> = None, range ABOVE_0, changes Update;
    }

    "Batches": "How many responses make a step, and how they are split" {
        /// Responses in one PPO step
        batch_size: usize = 16, unit "rows", range COUNT, changes Responses;
        /// Responses in one forward and backward pass
        mini_batch_size: usize = 4, unit "rows", range COUNT, alias ["forward_batch_size"], changes Update;
        /// Mini-batches whose gradients are averaged into one update
        gradient_accumulation_steps: usize = 1, unit "mini-batches", range COUNT, changes Update;
        /// Passes over the batch in each step (TRL's default is 4)
        ppo_epochs: usize = 1, unit "passes", range COUNT, changes Update;
    }

    "KL": "The penalty for moving away from the reference" {
        /// How a token's KL is estimated from the two log-probabilities
        kl_estimator: KlEstimator = KlEstimator::K1, alias ["kl_penalty"], changes Rewards recomputed;
        /// The KL coefficient at the first step: the penalty for one nat of KL
        kl_coef: f64 = 0.2, unit "reward per nat", range AT_LEAST_0, alias ["init_kl_coef"], changes Rewards recomputed;
        /// Adjust the coefficient after each step so that the KL approaches kl_target; otherwise it stays the same
        adaptive_kl: bool = true, alias ["adap_kl_ctrl"], changes Update;
        /// The KL that the adaptive coefficient aims at
        kl_target: f64 = 6.0, unit "nats per response", range ABOVE_0, alias ["target"], changes Update;
        /// How slowly the coefficient adapts: it changes by at most 20 % · batch_size / kl_horizon per step
        kl_horizon: f64 = 10000.0, unit "rows", range ABOVE_0, alias ["horizon"], changes Update;
    }

    "Rewards and advantages": "How a response's score becomes an advantage for each token" {
        /// Discount: a reward counts this much less one token earlier
        gamma: f64 = 1.0, unit "per token", range SHARE, changes Advantages recomputed;
        /// Decay of the advantage estimate (GAE): 0 trusts the value head, 1 the rewards that followed
        lambda: f64 = 0.95, unit "per token", range SHARE, alias ["lam"], changes Advantages recomputed;
        /// Divide scores by their running standard deviation
        score_scaling: bool = false, alias ["use_score_scaling"], changes Rewards;
        /// Subtract the running mean from scores first; needs score_scaling
        score_norm: bool = false, alias ["use_score_norm"], changes Rewards;
        /// Clip scores to plus or minus this
        score_clip: Option<f64> = None, unit "score", range ABOVE_0, changes Rewards recomputed;
        /// Scale the batch's per-token rewards to a standard deviation of 1, keeping their mean
        whiten_rewards: bool = false, changes Advantages recomputed;
    }

    "Losses": "How strongly, and how far, a step can move the policy" {
        /// PPO's clip range: a ratio further than this from 1, in the direction of the advantage, gets no gradient
        clip_range: f64 = 0.2, range AT_LEAST_0, alias ["cliprange"], changes Loss recomputed;
        /// A value further than this from the old value gets no gradient
        clip_range_value: f64 = 0.2, unit "reward", range AT_LEAST_0, alias ["cliprange_value"], changes Loss recomputed;
        /// Weight of the value loss in the total loss
        vf_coef: f64 = 0.1, range AT_LEAST_0, changes Loss recomputed;
        /// Skip a mini-batch whose mean ratio is above this (TRL 25fa1bd: no limit; TRL 0.11.4: 10)
        ratio_threshold: Option<f64> = None, range ABOVE_0, changes Loss recomputed;
        /// Start no further pass once the policy has moved more than 1.5 · target_kl from the start of the step
        early_stopping: bool = false, changes Update;
        /// The limit that early_stopping uses
        target_kl: f64 = 0.1, unit "nats per token", range AT_LEAST_0, changes Update;
    }

    "Published or corrected": "Where the published lab and the corrected lab differ" {
        /// Which of the reward model's numbers is the score
        reward_read: RewardRead = RewardRead::NothateLogit, published RewardRead::MaxLogit
            => "the notebook takes the first entry of a list that is sorted by score, max(nothate, hate): a hateful text can get a high score",
            changes Scores recomputed;
        /// What the KL is measured against
        kl_reference: KlReference = KlReference::Initial, published KlReference::Base
            => "TRL ignores ref_model for a PEFT policy and switches the adapter off: with the lab's models the KL is about 30 at the first step instead of 0",
            changes Forward;
        /// Train the first token of a response too
        train_first_token: bool = true, published false
            => "TRL's mask starts at column 1: the first token of a response is never trained",
            changes Rewards;
        /// Put the decoder's start token back in front of a response that lost it
        keep_start_token: bool = true, published false
            => "the notebook's slice cuts the start token off a response that reached the length limit: the decoder's input is shifted by one position",
            changes Forward;
        /// Dropout of the value head's input in the old and the training passes
        value_head_dropout: f64 = 0.0, published 0.1
            => "the value head stays in training mode: old and new values have different dropout noise",
            range BELOW_1, alias ["summary_dropout_prob"], changes Forward;
        /// The set of tokens over which advantages are whitened
        whiten_over: WhitenOver = WhitenOver::Batch, published WhitenOver::MiniBatch
            => "TRL 25fa1bd whitens advantages over each mini-batch of 4 rows: a row is compared only with the other 3",
            changes Loss recomputed;
        /// Minimum length of a response in decoder ids, start token included; the end token is suppressed until then
        min_length: usize = 0, published 5
            => "the end token is suppressed for the first 5 ids, even where the policy prefers it: the sampled distribution is not the one that is scored, and the KL can be negative",
            unit "ids", range LENGTH, changes Responses;
        /// Evaluate one dialogue more than asked for
        eval_samples_plus_one: bool = false, published true
            => "the loop ends after i > num_samples: 11 samples are evaluated instead of 10, and the sampling has no seed",
            changes Evaluation;
        /// The text that the reward model reads
        scored_text: ScoredText = ScoredText::Response, published ScoredText::QueryAndResponse
            => "the query and the literal texts </s> and <pad> are scored with the response: the reward depends on the dialogue's own toxicity",
            changes Scores;
        /// Cut texts at the reward model's maximum input length; otherwise a longer text ends the run with an error
        truncate_reward_input: bool = true, published false
            => "a text with more than the reward model's 512 tokens ends the run with an error",
            changes Scores;
        /// Report before, after, their paired difference with its interval, and ROUGE; otherwise one percentage
        report_paired: bool = true, published false
            => "the improvement is one percentage, without its spread and without the loss in quality",
            changes Evaluation;
        /// Compute every mini-batch at the batch's width, so that masked padding columns equal TRL's arrays
        pad_to_batch: bool = false, published true
            => "TRL computes padding columns too; the numbers used for training are the same without them, and are computed faster",
            changes Forward;
        /// With whiten_rewards: keep the non-zero numbers that whitening leaves in padding columns
        whiten_rewards_padding: bool = false, published true
            => "TRL does not mask rewards again after whitening them (an option that the lab does not use): padding changes the advantages of shorter responses",
            changes Advantages;
    }

    "Seed and sampling": "How responses are sampled" {
        /// Seed of every random choice; the same seed gives the same numbers, in the browser and natively
        seed: u64 = 0, changes Responses;
        /// Divide the logits by this before sampling: above 1 makes rare tokens more likely, below 1 less
        temperature: f64 = 1.0, range ABOVE_0, changes Responses;
        /// Sample only among this many of the most likely tokens; 0 means all
        top_k: usize = 0, unit "tokens", changes Responses;
        /// Sample only among the most likely tokens that together reach this probability
        top_p: f64 = 1.0, range PROBABILITY, changes Responses;
        /// Each row's maximum number of new tokens is sampled at random: this is the smallest one
        output_min_length: usize = 100, unit "new tokens", range COUNT, changes Responses;
        /// The sampled maximum number of new tokens is below this (TRL's LengthSampler excludes its upper end)
        output_max_length: usize = 400, unit "new tokens", range COUNT, changes Responses;
    }
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self::preset(Preset::Corrected)
    }
}

/// The setting with this name (as in `config.json`).
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What a setting does, for help texts; empty for an unknown name.
pub fn does(name: &str) -> &'static str {
    find(name).map_or("", |setting| setting.does)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::settings::define::Kind;
    use serde_json::{Value, json};

    fn defaults() -> serde_json::Map<String, Value> {
        serde_json::to_value(PpoConfig::default()).unwrap().as_object().unwrap().clone()
    }

    #[test]
    fn the_table_has_every_setting_once_and_in_order() {
        let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names, defaults().keys().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn kinds_fit_the_values() {
        let defaults = defaults();
        for setting in SETTINGS {
            let value = &defaults[setting.name];
            let fits = match setting.kind {
                Kind::Number => value.is_f64(),
                Kind::Whole => value.is_u64(),
                Kind::OptionalNumber | Kind::OptionalWhole => value.is_null(),
                Kind::Switch => value.is_boolean(),
                Kind::Choice(choices) => choices.iter().any(|choice| *value == choice.name),
            };
            assert!(fits, "{} = {value}", setting.name);
            assert!(GROUPS.iter().any(|group| group.0 == setting.group), "{}", setting.name);
            assert!(!setting.does.ends_with('.'), "{}", setting.does);
        }
    }

    #[test]
    fn every_choice_is_accepted() {
        for setting in SETTINGS {
            let Kind::Choice(choices) = setting.kind else { continue };
            for name in choices.iter().map(|choice| choice.name) {
                let change = json!({setting.name: name, "total_steps": 10});
                assert!(PpoConfig::from_json(PpoConfig::default(), &change).is_ok(), "{} = {name}", setting.name);
            }
        }
    }

    #[test]
    fn only_numbers_have_a_range_and_names_are_unique() {
        let mut names: Vec<&str> = SETTINGS.iter().flat_map(|s| s.aliases.iter().copied().chain([s.name])).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for setting in SETTINGS {
            assert!(
                setting.range.is_none() || !matches!(setting.kind, Kind::Switch | Kind::Choice(_)),
                "{}",
                setting.name
            );
        }
        assert_eq!(find("lambda").unwrap().aliases, ["lam"]);
    }

    #[test]
    fn the_documentation_is_generated_from_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert!(file == super::super::markdown::page(), "docs/settings.md is outdated: run `make settings`");
    }
}
