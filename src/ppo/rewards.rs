//! Computes one reward per token from one score per response, after scaling, normalizing and clipping the scores.

use crate::error::{Error, Result};
use crate::ppo::batch::{Batch, Grid};
use crate::settings::PpoConfig;
use serde::{Deserialize, Serialize};

/// Per-token rewards of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRewards {
    /// -kl_coef · kl, in every column: (B, R).
    pub non_score: Grid,
    /// The same with the score added in each row's last trained column: (B, R).
    pub rewards: Grid,
}

/// rewards = -kl_coef · kl, plus the score at the response's last token. Source: docs/ppo.md section 3.4.
/// `kl` (B, R), `scores` (B) → (B, R) each.
pub fn token_rewards(kl: &Grid, scores: &[f32], kl_coef: f64, batch: &Batch) -> TokenRewards {
    let coef = -kl_coef as f32;
    let non_score = kl.map(|kl| coef * kl); // (B, R)
    let mut rewards = non_score.clone(); // (B, R)
    for (i, (score, columns)) in scores.iter().zip(&batch.columns).enumerate() {
        rewards.row_mut(i)[columns.end - 1] += score;
    }
    TokenRewards { non_score, rewards }
}

/// Mean and standard deviation of all scores so far; kept between steps and serialized for resume.
/// Source: TRL 0.11.4 trainer/utils.py `RunningMoments` (including its f32 rounding).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunningMoments {
    pub mean: f64,
    /// ddof 1.
    pub std: f64,
    /// ddof 0.
    pub var: f64,
    pub count: f64,
}

impl Default for RunningMoments {
    fn default() -> Self {
        Self { mean: 0.0, std: 1.0, var: 1.0, count: 1e-24 }
    }
}

impl RunningMoments {
    /// Adds a batch of scores (B).
    pub fn update(&mut self, scores: &[f32]) {
        let n = scores.len() as f64;
        let mean = scores.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = scores.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let (delta, total) = (mean - self.mean, self.count + n);
        let sum = self.var * self.count + delta * delta * self.count * n / total + var * n;
        self.mean += f64::from((delta * n / total) as f32);
        self.var = f64::from((sum / total) as f32);
        self.std = f64::from((sum / (total - 1.0)).sqrt() as f32);
        self.count = total;
    }
}

/// The scores (B) for the rewards: scaled by the running standard deviation, shifted by the running mean, and clipped, if the
/// settings say so. Source: TRL 0.11.4 ppo_trainer.py `step`.
///
/// Errors: a running standard deviation that is not finite (a single score has none).
pub fn prepare_scores(scores: &[f32], config: &PpoConfig, moments: &mut RunningMoments) -> Result<Vec<f32>> {
    let mut scores = scores.to_vec();
    if config.score_scaling {
        let mut next = *moments;
        next.update(&scores);
        if !next.std.is_finite() {
            return Err(Error::not_finite(
                "the running standard deviation of the scores",
                "use a batch of at least two rows, or switch score_scaling off",
            ));
        }
        *moments = next;
        let shift = if config.score_norm { moments.mean as f32 } else { 0.0 };
        let scale = moments.std as f32 + f32::EPSILON;
        scores.iter_mut().for_each(|score| *score = (*score - shift) / scale);
    }
    if let Some(clip) = config.score_clip {
        scores.iter_mut().for_each(|score| *score = score.clamp(-clip as f32, clip as f32));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ppo::batch::Row;
    use crate::settings::Preset;

    #[test]
    fn the_score_is_added_to_the_last_trained_column() {
        let row = |ids: &[u32], score| Row { query_ids: vec![1], decoder_ids: ids.to_vec(), score, generated: None };
        let rows = [row(&[0, 5, 6, 7, 1], 2.0), row(&[5, 6, 7, 8], -1.0)];
        let config = PpoConfig { batch_size: 2, mini_batch_size: 1, ..PpoConfig::preset(Preset::Published) };
        let batch = Batch::new(&rows, &config).unwrap();
        let kl = Grid::from_vec(2, 4, vec![1.0; 8]).unwrap();
        let out = token_rewards(&kl, &[2.0, -1.0], 0.5, &batch);
        assert_eq!(out.non_score.data, [-0.5; 8]);
        assert_eq!(out.rewards.to_rows(), [[-0.5, -0.5, -0.5, 1.5], [-0.5, -0.5, -1.5, -0.5]]);
    }

    #[test]
    fn one_score_has_no_standard_deviation() {
        let config = PpoConfig { score_scaling: true, ..PpoConfig::default() };
        assert!(prepare_scores(&[1.0], &config, &mut RunningMoments::default()).is_err());
    }
}
