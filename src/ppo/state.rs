//! The state of a PPO run between steps: Adam's moments, the KL coefficient, score moments, the step count, the seed. It is
//! saved and loaded as JSON and named tensors.

use crate::error::{Error, Result};
use crate::nn::adam::{Adam, Named};
use crate::ppo::kl::KlController;
use crate::ppo::rewards::RunningMoments;
use crate::settings::PpoConfig;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The trainer's state between steps, without the policy's weights.
#[derive(Debug, Clone)]
pub struct PpoState {
    pub adam: Adam,
    pub kl: KlController,
    pub score_moments: RunningMoments,
    /// Number of PPO steps done.
    pub step: u64,
    /// For mini-batch orders and dropout.
    pub seed: u64,
}

/// Maximum number of updates, so that the counter cannot overflow.
const MOST_UPDATES: u64 = 1 << 48;

/// The part of the state that is not tensors.
#[derive(Serialize, Deserialize)]
struct SavedState {
    step: u64,
    seed: u64,
    adam_updates: u64,
    kl: KlController,
    score_moments: RunningMoments,
}

impl PpoState {
    /// The state before the first step.
    pub fn new(config: &PpoConfig) -> Self {
        Self {
            adam: Adam::new(config.adam_beta1, config.adam_beta2, config.adam_eps),
            kl: KlController::new(config),
            score_moments: RunningMoments::default(),
            step: 0,
            seed: config.seed,
        }
    }

    /// Everything that a resumed run needs besides the weights of `vars`; moments are named as in [`Adam::export`].
    pub fn save(&self, vars: &Named) -> Result<(serde_json::Value, Vec<(String, Tensor)>)> {
        let saved = SavedState {
            step: self.step,
            seed: self.seed,
            adam_updates: self.adam.steps(),
            kl: self.kl.clone(),
            score_moments: self.score_moments,
        };
        let json =
            serde_json::to_value(saved).map_err(|e| Error::input(e, "check that the KL coefficient is finite"))?;
        Ok((json, self.adam.export(vars)?))
    }

    /// The state that [`save`](PpoState::save) wrote, for the same trainable variables.
    ///
    /// Errors: JSON with another form; an absurd number of updates; moments that are missing or have another shape.
    pub fn load(
        config: &PpoConfig,
        vars: &Named,
        json: &serde_json::Value,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let saved: SavedState = serde_json::from_value(json.clone()).map_err(|e| {
            Error::input(
                format!("the trainer state cannot be read: {e}"),
                "resume from an earlier checkpoint of the run",
            )
        })?;
        if saved.adam_updates > MOST_UPDATES {
            let what = format!("the trainer state says {} updates of Adam", saved.adam_updates);
            return Err(Error::input(what, "resume from an earlier checkpoint of the run"));
        }
        let mut state = Self {
            kl: saved.kl,
            score_moments: saved.score_moments,
            step: saved.step,
            seed: saved.seed,
            ..Self::new(config)
        };
        state.adam.import(vars, saved.adam_updates, tensors)?;
        Ok(state)
    }
}
