//! Every setting of a run with its unit and what it does, in the order and groups of `ppo::config`. Editing them is
//! `settings`', what makes no sense together `PpoConfig::validate`'s.

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Whole,
    /// A number, or empty for none.
    OptionalNumber,
    OptionalWhole,
    Switch,
    /// One of these names.
    Choice(&'static [&'static str]),
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// As in config.json.
    pub name: &'static str,
    /// Empty for a bare number.
    pub unit: &'static str,
    pub group: &'static str,
    /// In a sentence.
    pub does: &'static str,
    pub kind: Kind,
}

const OPTIMIZER: &str = "Optimizer";
const BATCHES: &str = "Batches";
const KL: &str = "KL";
const REWARDS: &str = "Rewards and advantages";
const LOSSES: &str = "Losses";
const LABS: &str = "Published or corrected";
const ROLLOUT: &str = "Seed and sampling";

/// The groups in order, with what each is about.
pub const GROUPS: [(&str, &str); 7] = [
    (OPTIMIZER, "How far the weights move for a gradient"),
    (BATCHES, "How many responses make a step, and how they are cut up"),
    (KL, "What moving away from the reference costs"),
    (REWARDS, "How a score becomes a verdict on each token"),
    (LOSSES, "How hard, and how far, the policy is pushed"),
    (LABS, "Where the published lab and the corrected one differ"),
    (ROLLOUT, "How responses are drawn"),
];

const fn set(name: &'static str, unit: &'static str, group: &'static str, does: &'static str, kind: Kind) -> Setting {
    Setting { name, unit, group, does, kind }
}

/// All settings, in config.json's order.
pub const SETTINGS: &[Setting] = &[
    set("learning_rate", "per update", OPTIMIZER, "Adam's step size", Kind::Number),
    set(
        "lr_schedule",
        "",
        OPTIMIZER,
        "How the learning rate moves from step to step",
        Kind::Choice(&["constant", "constant_with_warmup", "linear", "cosine"]),
    ),
    set("warmup_steps", "PPO steps", OPTIMIZER, "Steps over which the learning rate rises from 0", Kind::Whole),
    set("total_steps", "PPO steps", OPTIMIZER, "Steps until a linear or cosine rate reaches 0", Kind::OptionalWhole),
    set("adam_beta1", "", OPTIMIZER, "How long Adam remembers the gradient's direction", Kind::Number),
    set("adam_beta2", "", OPTIMIZER, "How long Adam remembers the gradient's size", Kind::Number),
    set("adam_eps", "", OPTIMIZER, "Keeps Adam from dividing by almost nothing", Kind::Number),
    set("max_grad_norm", "", OPTIMIZER, "A longer gradient is cut to this length", Kind::OptionalNumber),
    set("batch_size", "rows", BATCHES, "Responses that make one PPO step", Kind::Whole),
    set("mini_batch_size", "rows", BATCHES, "Responses that go through the model together", Kind::Whole),
    set(
        "gradient_accumulation_steps",
        "mini-batches",
        BATCHES,
        "Mini-batches whose gradients are averaged into one update",
        Kind::Whole,
    ),
    set("ppo_epochs", "passes", BATCHES, "How often a batch is gone through", Kind::Whole),
    set(
        "kl_estimator",
        "",
        KL,
        "How a token's KL is estimated from the two log-probabilities",
        Kind::Choice(&["k1", "k2", "k3", "abs"]),
    ),
    set("kl_coef", "reward per nat", KL, "What a nat of KL costs at the first step", Kind::Number),
    set("adaptive_kl", "", KL, "Lets the coefficient follow the KL, else it stays", Kind::Switch),
    set("kl_target", "nats a response", KL, "The KL that the adaptive coefficient aims at", Kind::Number),
    set("kl_horizon", "rows", KL, "The fewer, the faster the coefficient follows", Kind::Number),
    set("gamma", "per token", REWARDS, "How much a reward counts one token earlier", Kind::Number),
    set(
        "lambda",
        "per token",
        REWARDS,
        "How far an advantage looks ahead before it trusts the value head",
        Kind::Number,
    ),
    set("score_scaling", "", REWARDS, "Divides scores by their running deviation", Kind::Switch),
    set("score_norm", "", REWARDS, "Also takes their running mean off first", Kind::Switch),
    set("score_clip", "score", REWARDS, "Cuts scores to plus or minus this", Kind::OptionalNumber),
    set("whiten_rewards", "", REWARDS, "Gives the batch's token rewards a deviation of 1", Kind::Switch),
    set("clip_range", "", LOSSES, "How far from 1 a ratio still earns gradient", Kind::Number),
    set(
        "clip_range_value",
        "reward",
        LOSSES,
        "How far from the old value a new one still earns gradient",
        Kind::Number,
    ),
    set("vf_coef", "", LOSSES, "Weight of the value loss in the whole", Kind::Number),
    set("ratio_threshold", "", LOSSES, "A mini-batch with a larger mean ratio trains nothing", Kind::OptionalNumber),
    set("early_stopping", "", LOSSES, "Starts no further pass once the policy's KL is too large", Kind::Switch),
    set("target_kl", "nats a token", LOSSES, "Early stopping acts above one and a half times this", Kind::Number),
    set(
        "reward_read",
        "",
        LABS,
        "Which of the reward model's logits is the score",
        Kind::Choice(&["nothate_logit", "max_logit"]),
    ),
    set("kl_reference", "", LABS, "What the KL is measured against", Kind::Choice(&["initial", "base"])),
    set("train_first_token", "", LABS, "Trains a response's first token too", Kind::Switch),
    set("keep_start_token", "", LABS, "Puts the start token back before a response that lost it", Kind::Switch),
    set("value_head_dropout", "", LABS, "Share of the value head's inputs dropped by lot", Kind::Number),
    set("whiten_over", "", LABS, "Which tokens an advantage is compared with", Kind::Choice(&["batch", "mini_batch"])),
    set("min_length", "ids", LABS, "Bars the end of a response before so many ids", Kind::Whole),
    set("eval_samples_plus_one", "", LABS, "Evaluates one dialogue more than asked for", Kind::Switch),
    set(
        "scored_text",
        "",
        LABS,
        "Which text the reward model reads",
        Kind::Choice(&["response", "query_and_response"]),
    ),
    set("truncate_reward_input", "", LABS, "Cuts texts too long for the reward model, else the run ends", Kind::Switch),
    set(
        "report_paired",
        "",
        LABS,
        "Reports the paired difference with its interval, else one percentage",
        Kind::Switch,
    ),
    set("pad_to_batch", "", LABS, "Computes padding too; the numbers trained on stay the same", Kind::Switch),
    set("whiten_rewards_padding", "", LABS, "Lets whitened rewards leak from the padding", Kind::Switch),
    set("seed", "", ROLLOUT, "The same seed gives the same numbers, here and natively", Kind::Whole),
    set("temperature", "", ROLLOUT, "Above 1 flattens the odds of the next token, below 1 sharpens them", Kind::Number),
    set("top_k", "tokens", ROLLOUT, "Draws among so many of the likeliest; 0 for all", Kind::Whole),
    set("top_p", "", ROLLOUT, "Draws among the fewest tokens that hold this probability", Kind::Number),
    set("output_min_length", "new tokens", ROLLOUT, "The shortest length limit that a row can draw", Kind::Whole),
    set("output_max_length", "new tokens", ROLLOUT, "The limit drawn stays below this", Kind::Whole),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::protocol::PpoConfig;
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
                Kind::Choice(names) => names.contains(&value.as_str().unwrap()),
            };
            assert!(fits, "{} = {value}", setting.name);
            assert!(GROUPS.iter().any(|group| group.0 == setting.group), "{}", setting.name);
            assert!(!setting.does.ends_with('.'), "{}", setting.does);
        }
    }

    #[test]
    fn every_choice_is_accepted() {
        for setting in SETTINGS {
            let Kind::Choice(names) = setting.kind else { continue };
            for name in names {
                let change = json!({setting.name: name, "total_steps": 10});
                assert!(PpoConfig::from_json(PpoConfig::default(), &change).is_ok(), "{} = {name}", setting.name);
            }
        }
    }
}
