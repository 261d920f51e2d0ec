//! The statistics of chapters 2.3 and 3.3: toxicity as Hugging Face `evaluate` aggregates it, mean and spread, and whether a
//! before/after difference is more than noise.

use crate::error::{Error, Result};
use crate::nn::rng::{Purpose, Rng};
pub use crate::protocol::{Difference, Spread, Toxicity, Verdict};
use crate::text::rouge::words;
use std::collections::HashSet;

/// A text counts as toxic if its probability of "hate" is at least this (the default of `evaluate`).
pub const TOXIC_FROM: f64 = 0.5;

/// Bootstrap resamples for an interval.
pub const RESAMPLES: usize = 10_000;

/// Minimum number of pairs for a verdict at 95 %: five differences of pure noise have the same sign in 1 of 16 cases.
const MIN_PAIRS: usize = 6;

impl Spread {
    /// Needs at least one value, and finite values.
    pub fn of(values: &[f64]) -> Result<Self> {
        check(values)?;
        let n = values.len();
        let mean = mean(values);
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        Ok(Self { n, mean, std: variance.sqrt() })
    }
}

impl Toxicity {
    /// `scores`: each text's P("hate") in 0..=1; `threshold` is [`TOXIC_FROM`] in the lab.
    pub fn of(scores: Vec<f64>, threshold: f64) -> Result<Self> {
        let spread = Spread::of(&scores)?;
        let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ratio = scores.iter().filter(|&&s| s >= threshold).count() as f64 / spread.n as f64;
        Ok(Self { spread, maximum, ratio, all: scores })
    }
}

/// The lab's improvement, (before - after) / before: positive when the number fell. `None` when `before` is 0.
pub fn improvement(before: f64, after: f64) -> Option<f64> {
    (before != 0.0).then(|| (before - after) / before)
}

impl Difference {
    /// Percentile bootstrap (Efron 1979) over pairs: [`RESAMPLES`] resamples of n pairs with replacement, the 2.5th and
    /// 97.5th percentile of their means. `before` and `after` hold the same texts in the same order; the same seed
    /// gives the same interval.
    pub fn paired(before: &[f64], after: &[f64], seed: u64) -> Result<Self> {
        if before.len() != after.len() {
            let what = format!("{} values before and {} after are not pairs", before.len(), after.len());
            return Err(Error::input(what, "evaluate both models on the same texts"));
        }
        check(before)?;
        check(after)?;
        let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
        let n = differences.len();
        let mut rng = Rng::new(seed, Purpose::Bootstrap, 0, 0);
        let mut draw = || differences[rng.below(0, n as u64) as usize];
        let mut means: Vec<f64> = (0..RESAMPLES).map(|_| (0..n).map(|_| draw()).sum::<f64>() / n as f64).collect();
        means.sort_by(f64::total_cmp);
        let (low, high) = (percentile(&means, 0.025), percentile(&means, 0.975));
        let verdict = match () {
            () if n < MIN_PAIRS => Verdict::TooFewPairs,
            () if low > 0.0 => Verdict::Higher,
            () if high < 0.0 => Verdict::Lower,
            () => Verdict::NoDifference,
        };
        Ok(Self { n, mean: mean(&differences), low, high, verdict })
    }
}

/// distinct-n (Li et al. 2016): the number of different word n-grams over the number of all n-grams, in 0..=1. It falls when
/// the policy repeats itself. 0 if no text has n words.
pub fn distinct(texts: &[impl AsRef<str>], n: usize) -> f64 {
    let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text.as_ref())).collect();
    let grams = || texts.iter().flat_map(|words| words.windows(n.max(1)));
    let different: HashSet<&[String]> = grams().collect();
    different.len() as f64 / grams().count().max(1) as f64
}

/// Mean number of words per text; 0 without texts.
pub fn mean_words(texts: &[impl AsRef<str>]) -> f64 {
    texts.iter().map(|text| words(text.as_ref()).len()).sum::<usize>() as f64 / texts.len().max(1) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Interpolates between the nearest values of a sorted list, as numpy does by default.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

fn check(values: &[f64]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::input("no values to average", "evaluate at least one text"));
    }
    match values.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::not_finite(format!("score {i} of {}", values.len()), "score this text alone to see why")),
        None => Ok(()),
    }
}
