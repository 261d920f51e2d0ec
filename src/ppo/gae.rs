//! Advantages and returns by generalized advantage estimation, and whitening over a mask.
//! `step` chooses the whitening set (batch or mini-batch).

use crate::error::{Error, Result};
use crate::ppo::batch::Grid;

/// The results of the recursion, (B, R) each.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// Old values with masked columns zeroed.
    pub values: Grid,
    /// Raw, before whitening. Masked columns left of the trained ones also have a number, which is never used.
    pub advantages: Grid,
    /// advantages + values: the target of the value head.
    pub returns: Grid,
}

/// δ_k = r_k + γ V_{k+1} - V_k and A_k = δ_k + γ λ A_{k+1}, from the last column to the first, on masked values; `rewards` must
/// be masked before ([`zero_masked`]). Source: Schulman et al. 2016 (arXiv 1506.02438) eq. 16; docs/ppo.md section 3.5. All
/// grids (B, R).
pub fn advantages(values: &Grid, rewards: &Grid, mask: &Grid, gamma: f64, lambda: f64) -> Advantages {
    let (gamma, decay) = (gamma as f32, (gamma * lambda) as f32);
    let values = zero_masked(values, mask); // (B, R)
    let mut advantages = Grid::zeros(values.rows, values.cols); // (B, R)
    for i in 0..values.rows {
        let (mut next_value, mut next_advantage) = (0.0, 0.0);
        for k in (0..values.cols).rev() {
            let (value, reward) = (values.row(i)[k], rewards.row(i)[k]);
            let delta = reward + gamma * next_value - value;
            next_advantage = delta + decay * next_advantage;
            advantages.row_mut(i)[k] = next_advantage;
            next_value = value;
        }
    }
    let returns = advantages.zip(&values, |a, v| a + v); // (B, R)
    Advantages { values, advantages, returns }
}

/// x where the mask is set, else 0, even if x is not finite: (B, R).
pub fn zero_masked(x: &Grid, mask: &Grid) -> Grid {
    x.zip(mask, |x, m| if m > 0.0 { x } else { 0.0 })
}

/// Sum of f(x) over trained columns, in f64.
fn masked_sum(x: &Grid, mask: &Grid, f: impl Fn(f64) -> f64) -> f64 {
    x.data.iter().zip(&mask.data).filter(|(_, m)| **m > 0.0).map(|(&x, _)| f(f64::from(x))).sum()
}

/// Number of trained columns.
pub fn mask_count(mask: &Grid) -> f64 {
    mask.data.iter().filter(|m| **m > 0.0).count() as f64
}

/// Mean over trained columns; NaN if there are none.
pub fn masked_mean(x: &Grid, mask: &Grid) -> f64 {
    masked_sum(x, mask, |x| x) / mask_count(mask)
}

/// Unbiased variance over trained columns (mean square · n / (n-1)); NaN for fewer than two. Source: TRL core.py `masked_var`.
pub fn masked_var(x: &Grid, mask: &Grid) -> f64 {
    let (mean, n) = (masked_mean(x, mask), mask_count(mask));
    masked_sum(x, mask, |x| (x - mean) * (x - mean)) / (n - 1.0)
}

/// (x - mean) / sqrt(var + 1e-8) with the trained columns' mean and variance; the mean is added back unless `shift_mean`.
/// Applied to all columns; masked ones get meaningless numbers. Source: TRL core.py `masked_whiten`.
///
/// Error: fewer than two trained columns have no variance.
pub fn whiten(x: &Grid, mask: &Grid, shift_mean: bool) -> Result<Grid> {
    if mask_count(mask) < 2.0 {
        return Err(Error::input(
            "whitening needs at least two trained response tokens in its set",
            "raise batch_size, mini_batch_size or min_length, or set whiten_over to \"batch\"",
        ));
    }
    let (mean, var) = (masked_mean(x, mask), masked_var(x, mask));
    let (scale, back) = (1.0 / (var + 1e-8).sqrt(), if shift_mean { 0.0 } else { mean });
    Ok(x.map(|x| ((f64::from(x) - mean) * scale + back) as f32))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The definition, written as the double sum A_k = Σ_j (γλ)^j δ_{k+j}.
    #[test]
    fn the_recursion_is_the_sum() {
        let (gamma, lambda) = (0.9f64, 0.8f64);
        let values = Grid::from_vec(1, 4, vec![0.3, -0.2, 0.7, 0.1]).unwrap();
        let rewards = Grid::from_vec(1, 4, vec![0.0, 0.5, -0.25, 2.0]).unwrap();
        let mask = Grid::from_vec(1, 4, vec![1.0; 4]).unwrap();
        let out = advantages(&values, &rewards, &mask, gamma, lambda);
        let v = |k: usize| values.data.get(k).copied().map_or(0.0, f64::from);
        let delta = |k: usize| f64::from(rewards.data[k]) + gamma * v(k + 1) - v(k);
        for k in 0..4 {
            let sum: f64 = (k..4).map(|j| (gamma * lambda).powi((j - k) as i32) * delta(j)).sum();
            assert!((f64::from(out.advantages.data[k]) - sum).abs() < 1e-6);
            assert!((f64::from(out.returns.data[k]) - sum - v(k)).abs() < 1e-6);
        }
    }

    #[test]
    fn masked_columns_do_not_count_even_when_not_finite() {
        let mask = Grid::from_vec(1, 4, vec![0.0, 1.0, 1.0, 0.0]).unwrap();
        let rewards = Grid::from_vec(1, 4, vec![9.0, 0.0, 1.0, f32::NAN]).unwrap();
        let values = Grid::from_vec(1, 4, vec![5.0, 0.0, 0.0, f32::INFINITY]).unwrap();
        let out = advantages(&values, &zero_masked(&rewards, &mask), &mask, 1.0, 1.0);
        assert_eq!(out.advantages.data, [1.0, 1.0, 1.0, 0.0]);
        assert_eq!(out.returns.data[3], 0.0);
    }

    #[test]
    fn whitened_numbers_have_mean_zero_and_variance_one() {
        let x = Grid::from_vec(2, 3, vec![1.0, 2.0, 4.0, -3.0, 0.5, 100.0]).unwrap();
        let mask = Grid::from_vec(2, 3, vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.0]).unwrap();
        let white = whiten(&x, &mask, true).unwrap();
        assert!(masked_mean(&white, &mask).abs() < 1e-6);
        assert!((masked_var(&white, &mask) - 1.0).abs() < 1e-6);
        let kept = whiten(&x, &mask, false).unwrap();
        assert!((masked_mean(&kept, &mask) - masked_mean(&x, &mask)).abs() < 1e-6);
        let one = Grid::from_vec(2, 3, vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        assert!(whiten(&x, &one, true).is_err());
    }
}
