//! PPO's clipped losses on plain numbers, with their gradients with respect to log-probs and values, so that a page can
//! recompute them with other settings without a model. `step` computes the gradients of the weights.

use crate::error::{Error, Result};
use crate::ppo::batch::Grid;
use crate::ppo::gae::{mask_count, masked_mean, masked_var};
pub use crate::protocol::MiniBatchStats;
use crate::settings::PpoConfig;

/// The inputs of a mini-batch's loss, (M, R) each. Only `logprobs` and `values` have gradients.
#[derive(Debug, Clone, Copy)]
pub struct LossInput<'a> {
    /// From the current policy.
    pub logprobs: &'a Grid,
    /// From the current value head.
    pub values: &'a Grid,
    /// Of the full distribution at each column, in nats; only logged.
    pub entropy: &'a Grid,
    pub old_logprobs: &'a Grid,
    /// Masked.
    pub old_values: &'a Grid,
    /// Whitened.
    pub advantages: &'a Grid,
    pub returns: &'a Grid,
    pub mask: &'a Grid,
}

/// Losses and their gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub stats: MiniBatchStats,
    /// exp(logprob - old_logprob), (M, R).
    pub ratio: Grid,
    /// d total_loss / d logprobs, (M, R); 0 in masked columns.
    pub grad_logprobs: Grid,
    /// d total_loss / d values, (M, R); 0 in masked columns.
    pub grad_values: Grid,
    /// The mean ratio was above `ratio_threshold`: losses and gradients are 0.
    pub guarded: bool,
}

/// Stage 9: one mini-batch, (M, R) grids.
#[derive(Debug, Clone)]
pub struct MiniBatch {
    /// Counted from 0.
    pub epoch: usize,
    /// Rows of the batch, in this mini-batch's order (M).
    pub indices: Vec<usize>,
    pub logprobs: Grid,
    pub values: Grid,
    /// Whitened.
    pub advantages: Grid,
    /// Losses, ratio, and gradients with respect to `logprobs` and `values`.
    pub loss: Loss,
}

/// policy_loss = mean max(-A ρ, -A clip(ρ, 1 ± ε)), value_loss = ½ mean max((v - R)², (clip(v, V ± ε_v) - R)²), total =
/// policy_loss + vf_coef · value_loss, means over trained columns. If both terms of a max are equal, each gets half of the
/// gradient, as in torch. Source: Schulman et al. 2017 (arXiv 1707.06347) eq. 7; docs/ppo.md section 3.6.
///
/// Error: a mini-batch without a trained column.
pub fn ppo_loss(x: &LossInput, config: &PpoConfig) -> Result<Loss> {
    let n = mask_count(x.mask);
    if n == 0.0 {
        return Err(Error::input("a mini-batch has no trained response token", "raise mini_batch_size"));
    }
    let ratio = x.logprobs.zip(x.old_logprobs, |lp, old| (lp - old).exp()); // (M, R)
    let (rows, cols) = (x.mask.rows, x.mask.cols);
    let (mut grad_logprobs, mut grad_values) = (Grid::zeros(rows, cols), Grid::zeros(rows, cols)); // (M, R)
    let (mut policy, mut value, mut clipped, mut value_clipped) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for k in (0..x.mask.data.len()).filter(|&k| x.mask.data[k] > 0.0) {
        let term = policy_term(ratio.data[k], x.advantages.data[k], config.clip_range);
        policy += f64::from(term.loss);
        clipped += f64::from(u8::from(term.clipped));
        grad_logprobs.data[k] = (f64::from(term.gradient) / n) as f32;
        let term = value_term(x.values.data[k], x.old_values.data[k], x.returns.data[k], config.clip_range_value);
        value += 0.5 * f64::from(term.loss);
        value_clipped += f64::from(u8::from(term.clipped));
        grad_values.data[k] = (config.vf_coef * 0.5 * f64::from(term.gradient) / n) as f32;
    }
    let ratio_mean = masked_mean(&ratio, x.mask);
    let guarded = config.ratio_threshold.is_some_and(|threshold| ratio_mean > threshold);
    if guarded {
        (policy, value) = (0.0, 0.0);
        grad_logprobs.data.fill(0.0);
        grad_values.data.fill(0.0);
    }
    let log_ratio = x.logprobs.zip(x.old_logprobs, |lp, old| lp - old); // (M, R)
    let stats = MiniBatchStats {
        policy_loss: policy / n,
        value_loss: value / n,
        total_loss: (policy + config.vf_coef * value) / n,
        entropy: masked_mean(x.entropy, x.mask),
        approx_kl: 0.5 * masked_mean(&log_ratio.map(|d| d * d), x.mask),
        policy_kl: -masked_mean(&log_ratio, x.mask),
        clip_fraction: clipped / n,
        advantages_mean: masked_mean(x.advantages, x.mask),
        returns_mean: masked_mean(x.returns, x.mask),
        returns_var: masked_var(x.returns, x.mask),
        value_mean: masked_mean(x.values, x.mask),
        value_error: masked_mean(&x.values.zip(x.returns, |v, r| (v - r) * (v - r)), x.mask),
        value_clip_fraction: value_clipped / n,
        old_value_mean: masked_mean(x.old_values, x.mask),
        old_value_var: masked_var(x.old_values, x.mask),
        ratio_mean,
    };
    Ok(Loss { stats, ratio, grad_logprobs, grad_values, guarded })
}

/// One column of a clipped loss.
struct ClippedTerm {
    /// max of the two terms.
    loss: f32,
    /// d loss / d (log-prob or value).
    gradient: f32,
    /// The clipped term is strictly the larger one.
    clipped: bool,
}

/// max(-A ρ, -A clip(ρ, 1 ± ε)) and its derivative by log ρ.
fn policy_term(ratio: f32, advantage: f32, clip_range: f64) -> ClippedTerm {
    let (low, high) = ((1.0 - clip_range) as f32, (1.0 + clip_range) as f32);
    let (plain, clip) = (-advantage * ratio, -advantage * ratio.clamp(low, high));
    let (plain_share, clip_share) = shares(plain, clip);
    let inside = f32::from(u8::from((low..=high).contains(&ratio))); // torch.clamp: bounds included
    ClippedTerm {
        loss: larger(plain, clip),
        gradient: -advantage * ratio * (plain_share + clip_share * inside),
        clipped: clip > plain,
    }
}

/// max((v - R)², (clip(v, V ± ε) - R)²) and its derivative by v. TRL clips with max(min(v, high), low).
fn value_term(value: f32, old: f32, target: f32, clip_range: f64) -> ClippedTerm {
    let (low, high) = (old - clip_range as f32, old + clip_range as f32);
    let clip_value = value.min(high).max(low);
    let (plain, clip) = ((value - target) * (value - target), (clip_value - target) * (clip_value - target));
    let (plain_share, clip_share) = shares(plain, clip);
    let through = shares(high, value).0 * shares(value.min(high), low).0; // d clip(v) / d v
    ClippedTerm {
        loss: larger(plain, clip),
        gradient: 2.0 * (plain_share * (value - target) + clip_share * (clip_value - target) * through),
        clipped: clip > plain,
    }
}

/// max(plain, clip), keeping a NaN (f32::max drops it).
fn larger(plain: f32, clip: f32) -> f32 {
    if clip > plain { clip } else { plain }
}

/// torch's shares of the gradient of max(a, b): all to the larger, half to each if they are equal.
fn shares(a: f32, b: f32) -> (f32, f32) {
    match a.partial_cmp(&b) {
        Some(std::cmp::Ordering::Greater) => (1.0, 0.0),
        Some(std::cmp::Ordering::Less) => (0.0, 1.0),
        Some(std::cmp::Ordering::Equal) => (0.5, 0.5),
        None => (f32::NAN, f32::NAN), // a NaN must reach the check of the weights
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grid(data: &[f32]) -> Grid {
        Grid::from_vec(1, data.len(), data.to_vec()).unwrap()
    }

    struct Numbers {
        logprobs: Grid,
        values: Grid,
        rest: [Grid; 6],
    }

    impl Numbers {
        /// All cases: ratio inside, above and below with advantages of both signs; values inside and outside.
        fn new() -> Self {
            Self {
                logprobs: grid(&[-1.0, -0.5, -2.0, -0.5, -2.0, -1.1, -3.0]),
                values: grid(&[0.1, 0.9, -0.8, 0.05, 0.3, 2.0, 5.0]),
                rest: [
                    grid(&[0.5; 7]),
                    grid(&[-1.05, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]),
                    grid(&[0.0; 7]),
                    grid(&[0.7, 1.5, 1.5, -1.2, -1.2, -0.3, 9.0]),
                    grid(&[1.0, -1.0, 1.0, 0.02, 0.28, 1.0, 9.0]),
                    grid(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
                ],
            }
        }

        fn loss(&self, config: &PpoConfig) -> Loss {
            let [entropy, old_logprobs, old_values, advantages, returns, mask] = &self.rest;
            let (logprobs, values) = (&self.logprobs, &self.values);
            let x = LossInput { logprobs, values, entropy, old_logprobs, old_values, advantages, returns, mask };
            ppo_loss(&x, config).unwrap()
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let config = PpoConfig::default();
        let loss = Numbers::new().loss(&config);
        let h = 1e-3f32;
        let slope = |bump: &dyn Fn(&mut Numbers, f32)| {
            let at = |h: f32| {
                let mut x = Numbers::new();
                bump(&mut x, h);
                x.loss(&config).stats.total_loss
            };
            (at(h) - at(-h)) / f64::from(2.0 * h)
        };
        for k in 0..7 {
            let by_logprob = slope(&|x, h| x.logprobs.data[k] += h);
            assert!((by_logprob - f64::from(loss.grad_logprobs.data[k])).abs() < 2e-4, "logprob {k}: {by_logprob}");
            let by_value = slope(&|x, h| x.values.data[k] += h);
            assert!((by_value - f64::from(loss.grad_values.data[k])).abs() < 2e-4, "value {k}: {by_value}");
        }
        assert_eq!((loss.grad_logprobs.data[6], loss.grad_values.data[6]), (0.0, 0.0), "masked");
    }

    #[test]
    fn clip_fractions_count_strictly_larger_clipped_terms() {
        let stats = Numbers::new().loss(&PpoConfig::default()).stats;
        // policy: columns 1 (A > 0, ratio above) and 4 (A < 0, ratio below); value: columns 0..=5 by hand
        assert!((stats.clip_fraction - 2.0 / 6.0).abs() < 1e-12);
        assert!((stats.value_clip_fraction - 1.0 / 6.0).abs() < 1e-12, "{}", stats.value_clip_fraction);
    }

    #[test]
    fn equal_terms_share_the_gradient_as_in_torch() {
        assert_eq!(policy_term(1.0, 2.0, 0.2).gradient, -2.0, "inside the range the halves add up to one");
        // at v = V + ε torch.min halves the clipped term's share: ½ + ½ · ½ of 2 (v - R)
        assert_eq!(value_term(0.25, 0.0, 1.25, 0.25).gradient, -2.0 * 0.75);
    }

    #[test]
    fn ratio_threshold_sets_losses_and_gradients_to_zero() {
        let config = PpoConfig { ratio_threshold: Some(0.5), ..PpoConfig::default() };
        let loss = Numbers::new().loss(&config);
        assert!(loss.guarded && loss.stats.total_loss == 0.0 && loss.stats.clip_fraction > 0.0);
        assert!(loss.grad_logprobs.data.iter().chain(&loss.grad_values.data).all(|g| *g == 0.0));
    }

    #[test]
    fn an_empty_mask_is_an_error() {
        let mut x = Numbers::new();
        x.rest[5] = grid(&[0.0; 7]);
        let [entropy, old_logprobs, old_values, advantages, returns, mask] = &x.rest;
        let (logprobs, values) = (&x.logprobs, &x.values);
        let input = LossInput { logprobs, values, entropy, old_logprobs, old_values, advantages, returns, mask };
        assert!(ppo_loss(&input, &PpoConfig::default()).is_err());
    }
}
