//! A recorded step under other settings (stages 7 to 9 again): what its numbers would have been, computed without a model. What
//! only a model can tell (other weights, other samples, another reference) is listed, not guessed.

use super::rollout::Sample;
use crate::error::Result;
use crate::ppo::batch::{Batch, Grid, Row};
use crate::ppo::gae;
use crate::ppo::loss::{LossInput, MiniBatch, MiniBatchStats, ppo_loss};
use crate::ppo::rewards::{RunningMoments, TokenRewards, prepare_scores, token_rewards};
use crate::ppo::stats::mean_stats;
use crate::ppo::step::{StepOutcome, rewards_for_gae};
use crate::settings::{PpoConfig, RewardRead, SETTINGS, WhitenOver};

/// The numbers of the stages that settings alone can change, (B, R) each.
pub struct Recomputed {
    /// What each response's score would be (B).
    pub scores: Vec<f32>,
    pub kl: Grid,
    pub rewards: TokenRewards,
    pub advantages: gae::Advantages,
    pub advantages_whitened: Grid,
    /// Means over the mini-batches, with the log-probs and values that each of them saw.
    pub stats: MiniBatchStats,
    /// Changed settings that this cannot show, by name.
    pub not_shown: Vec<String>,
}

/// Stages 7 to 9 of a step that was made with `was`, under `config`; `rows` and `samples` are the step's own.
///
/// # Errors
/// Settings that make no sense, named.
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
    // The coefficient of this step had moved with the KL of the steps before it; another start is taken as it stands.
    let kl_coef = if config.kl_coef == was.kl_coef { outcome.stats.line.kl_coef } else { config.kl_coef };
    let rewards = token_rewards(&kl, &scores, kl_coef, &batch); // (B, R)
    let discounted = rewards_for_gae(&rewards.rewards, &batch.mask, config)?; // (B, R)
    let advantages = gae::advantages(&forward.old_values, &discounted, &batch.mask, config.gamma, config.lambda);
    let mut whitened = gae::whiten(&advantages.advantages, &batch.mask, true)?; // (B, R)
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

/// A mini-batch's losses under `config`; entropy, which no setting here moves, as it was.
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

    /// The table says which settings [`what_if`] recomputes; this is what the function above reads.
    #[test]
    fn the_table_names_what_is_recomputed() {
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
