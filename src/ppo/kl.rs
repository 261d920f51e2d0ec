//! Per-token estimators of the KL divergence of policy and reference, and the controllers of its coefficient. The KL over the
//! whole distribution is not supported: it needs both (B, R, V) distributions, and a pass returns only chosen log-probs.

use crate::ppo::batch::Grid;
pub use crate::settings::KlEstimator;
use crate::settings::PpoConfig;
use serde::{Deserialize, Serialize};

impl KlEstimator {
    /// The estimate for one token, in nats.
    pub fn token(self, logprob: f32, ref_logprob: f32) -> f32 {
        let d = logprob - ref_logprob;
        match self {
            Self::K1 => d,
            Self::K2 => 0.5 * d * d,
            // exp_m1 keeps digits that exp(-d) - 1 loses for small d
            Self::K3 => (-d).exp_m1() + d,
            Self::Abs => d.abs(),
        }
    }

    /// The estimate for every column, also masked ones: (B, R).
    pub fn grid(self, logprobs: &Grid, ref_logprobs: &Grid) -> Grid {
        logprobs.zip(ref_logprobs, |lp, reference| self.token(lp, reference))
    }
}

/// The KL coefficient (TRL's beta) and how it changes after each step; f64, as Python's floats. Serialized for resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KlController {
    /// A constant coefficient.
    Fixed { value: f64 },
    /// Changes by at most 20 % · n / horizon per step, so that the KL approaches the target (Ziegler et al. 2019, arXiv
    /// 1909.08593, 2.2).
    Adaptive { value: f64, target: f64, horizon: f64 },
}

impl KlController {
    /// The controller for the settings, with its initial coefficient.
    pub fn new(config: &PpoConfig) -> Self {
        match config.adaptive_kl {
            true => Self::Adaptive { value: config.kl_coef, target: config.kl_target, horizon: config.kl_horizon },
            false => Self::Fixed { value: config.kl_coef },
        }
    }

    /// The current coefficient.
    pub fn value(&self) -> f64 {
        match self {
            Self::Fixed { value } | Self::Adaptive { value, .. } => *value,
        }
    }

    /// After a step of `n_steps` rows with mean response KL `current` (objective/kl, in nats):
    /// value ← value · (1 + clip(current / target - 1, ±0.2) · n_steps / horizon). Source: docs/ppo.md section 3.8.
    pub fn update(&mut self, current: f64, n_steps: usize) {
        if let Self::Adaptive { value, target, horizon } = self {
            let error = (current / *target - 1.0).clamp(-0.2, 0.2);
            *value *= 1.0 + error * n_steps as f64 / *horizon;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of facts_era.json and facts_new.json (`kl_controller_16`); its KLs were f32.
    #[test]
    fn adaptive_controller_follows_trls_table() {
        let mut controller = KlController::Adaptive { value: 0.2, target: 6.0, horizon: 10000.0 };
        let table = [
            (29.314f32, 0.200_064_000_000_000_02),
            (3.0, 0.199_999_979_52),
            (5.0, 0.199_946_646_192_128),
            (6.0, 0.199_946_646_192_128),
            (6.6, 0.199_978_637_650_433_86),
            (7.1, 0.200_037_298_045_725_62),
            (-2.0, 0.199_973_286_110_350_98),
        ];
        for (kl, expected) in table {
            controller.update(f64::from(kl), 16);
            assert!((controller.value() - expected).abs() < 1e-16, "{kl}: {} != {expected}", controller.value());
        }
    }

    #[test]
    fn estimators_agree_at_zero_and_k3_is_never_negative() {
        for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::Abs] {
            assert_eq!(estimator.token(-1.5, -1.5), 0.0);
        }
        for d in [-3.0f32, -1e-3, 1e-4, 0.5, 4.0] {
            assert!(KlEstimator::K3.token(d, 0.0) >= 0.0);
        }
    }
}
