//! Recomputes stages 7 to 9 of a recorded step with other settings, without a model. Changes that need a model (other weights,
//! other samples, another reference) are listed as not shown.

use super::rollout::Sample;
use crate::error::Result;
use crate::ppo::batch::{Batch, Grid, Row};
use crate::ppo::gae;
use crate::ppo::loss::{LossInput, MiniBatch, MiniBatchStats, ppo_loss};
use crate::ppo::rewards::{RunningMoments, TokenRewards, prepare_scores, token_rewards};
use crate::ppo::stats::mean_stats;
use crate::ppo::step::{StepOutcome, rewards_for_gae};
use crate::settings::{PpoConfig, RewardRead, SETTINGS, WhitenOver};

/// The recomputed numbers, (B, R) each.
pub struct Recomputed {
    /// What each response's score would be (B).
    pub scores: Vec<f32>,
    pub kl: Grid,
    pub rewards: TokenRewards,
    pub advantages: gae::Advantages,
    pub advantages_whitened: Grid,
    /// Means over the mini-batches, with the log-probs and values of each mini-batch.
    pub stats: MiniBatchStats,
    /// Changed settings that cannot be shown, by name.
    pub not_shown: Vec<String>,
}

/// Recomputes stages 7 to 9 of a step that was made with `was`, using `config`; `rows` and `samples` are those of the step.
///
/// # Errors
/// Invalid settings, by name.
pub fn what_if(
    rows: &[Row],
    samples: &[Sample],
    outcome: &StepOutcome,
    was: &PpoConfig,
    config: &PpoConfig,
) -> Result<Recomputed> {
    config.validate()?;
    let batch = Batch::new(rows, was)?; // B rows, mask (B, R)
    let read = |sample: &Sample| match config.reward_read {
        RewardRead::NothateLogit => sample.scored.score,
        RewardRead::MaxLogit => sample.scored.lab_reward(),
    };
    let given: Vec<f32> = samples.iter().map(read).collect(); // (B)
    let unscaled = PpoConfig { score_scaling: false, score_norm: false, ..config.clone() };
    let scores = prepare_scores(&given, &unscaled, &mut RunningMoments::default())?; // (B)
    let forward = &outcome.forward;
    let kl = config.kl_estimator.grid(&forward.old_logprobs, &forward.ref_logprobs); // (B, R)
    // The step's coefficient had adapted to the KL of earlier steps; a changed kl_coef is used as given.
    let kl_coef = if config.kl_coef == was.kl_coef { outcome.stats.line.kl_coef } else { config.kl_coef };
    let rewards = token_rewards(&kl, &scores, kl_coef, &batch); // (B, R)
    let discounted = rewards_for_gae(&rewards.rewards, &batch.mask, config)?; // (B, R)
    let advantages = gae::advantages(&forward.old_values, &discounted, &batch.mask, config.gamma, config.lambda);
    let mut whitened = match config.whiten_over {
        WhitenOver::Nothing => advantages.advantages.clone(), // (B, R)
        WhitenOver::Batch | WhitenOver::MiniBatch => gae::whiten(&advantages.advantages, &batch.mask, true)?, // (B, R)
    };
    let mut stats = Vec::new();
    for mini in &outcome.mini_batches {
        let mask = batch.mask.select(&mini.indices); // (M, R)
        if config.whiten_over == WhitenOver::MiniBatch {
            let raw = advantages.advantages.select(&mini.indices);
            whitened.scatter(&mini.indices, &gae::whiten(&raw, &mask, true)?);
        }
        stats.push(loss(mini, outcome, &advantages, &whitened, &mask, config)?);
    }
    Ok(Recomputed {
        scores,
        kl,
        rewards,
        advantages,
        advantages_whitened: whitened,
        stats: mean_stats(&stats),
        not_shown: not_shown(was, config)?,
    })
}

/// A mini-batch's losses with `config`; the entropy does not change.
fn loss(
    mini: &MiniBatch,
    outcome: &StepOutcome,
    advantages: &gae::Advantages,
    whitened: &Grid,
    mask: &Grid,
    config: &PpoConfig,
) -> Result<MiniBatchStats> {
    let x = LossInput {
        logprobs: &mini.logprobs,
        values: &mini.values,
        entropy: &Grid::zeros(mask.rows, mask.cols),
        old_logprobs: &outcome.forward.old_logprobs.select(&mini.indices),
        old_values: &advantages.values.select(&mini.indices),
        advantages: &whitened.select(&mini.indices),
        returns: &advantages.returns.select(&mini.indices),
        mask,
    };
    Ok(MiniBatchStats { entropy: mini.loss.stats.entropy, ..ppo_loss(&x, config)?.stats })
}

fn not_shown(was: &PpoConfig, config: &PpoConfig) -> Result<Vec<String>> {
    let json = |config: &PpoConfig| serde_json::to_value(config).map_err(crate::error::Error::bug);
    let (was, now) = (json(was)?, json(config)?);
    let hidden = SETTINGS.iter().filter(|setting| !setting.recomputed && was[setting.name] != now[setting.name]);
    Ok(hidden.map(|setting| setting.name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The settings that the function above reads are those that the table marks as recomputed.
    #[test]
    fn the_table_marks_what_is_recomputed() {
        let recomputed: Vec<&str> = SETTINGS.iter().filter(|s| s.recomputed).map(|s| s.name).collect();
        assert_eq!(
            recomputed,
            [
                "kl_estimator",
                "kl_coef",
                "gamma",
                "lambda",
                "score_clip",
                "whiten_rewards",
                "clip_range",
                "clip_range_value",
                "vf_coef",
                "ratio_threshold",
                "reward_read",
                "whiten_over",
            ]
        );
    }

    #[test]
    fn what_needs_the_model_is_named() {
        let was = PpoConfig::default();
        let now = PpoConfig { gamma: 0.9, top_k: 5, seed: 1, ..was.clone() };
        assert_eq!(not_shown(&was, &now).unwrap(), ["seed", "top_k"]);
    }
}
