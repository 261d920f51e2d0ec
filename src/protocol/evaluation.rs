//! The numbers of an evaluation before and after: `evaluation.json`. `lab::evaluate` and `lab::statistics` compute them.

use serde::{Deserialize, Serialize};

/// Options of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluateOptions {
    /// Number of dialogues; with the published settings, one more is evaluated.
    pub n: usize,
    pub max_new_tokens: usize,
    pub greedy: bool,
    /// For sampling and for the bootstrap.
    pub seed: u64,
    /// Rows generated and scored together.
    pub batch_size: usize,
}

/// The numbers before or after training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedSide {
    pub toxicity: Toxicity,
    pub score: Spread,
    /// Mean F1 over dialogues (and over a dialogue's human summaries).
    pub rouge1: f64,
    pub rouge2: f64,
    pub rouge_l: f64,
    pub distinct1: f64,
    pub distinct2: f64,
    /// Words per response.
    pub mean_length: f64,
    /// Number of responses without words.
    pub empty: usize,
}

/// `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub options: EvaluateOptions,
    /// Number of evaluated dialogues.
    pub n: usize,
    pub before: EvaluatedSide,
    pub after: EvaluatedSide,
    /// Paired differences, after − before, with their 95 % intervals.
    pub toxicity_difference: Difference,
    pub score_difference: Difference,
    pub rouge1_difference: Difference,
    /// (before − after) / before of the mean and of the standard deviation, as the lab prints it; positive if toxicity fell.
    pub toxicity_mean_improvement: Option<f64>,
    pub toxicity_std_improvement: Option<f64>,
    /// Mean over responses of `Σ log p_after − log p_before`, in nats.
    pub kl: f64,
}

/// Mean and population standard deviation (divided by n, as in numpy and the lab).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub n: usize,
    pub mean: f64,
    pub std: f64,
}

/// P("hate") of a set of texts under each of `evaluate`'s toxicity aggregations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Toxicity {
    #[serde(flatten)]
    pub spread: Spread,
    /// Aggregation `maximum`: of the worst text.
    pub maximum: f64,
    /// Aggregation `ratio`: the fraction of texts at or above the threshold.
    pub ratio: f64,
    /// Aggregation `all`: of each text, in order.
    pub all: Vec<f64>,
}

/// The conclusion from a paired difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    TooFewPairs,
    NoDifference,
    Higher,
    Lower,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooFewPairs => "too few pairs to tell a difference from noise",
            Self::NoDifference => "no difference beyond noise",
            Self::Higher => "higher after than before, beyond noise",
            Self::Lower => "lower after than before, beyond noise",
        })
    }
}

/// The mean of after - before over pairs, with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub n: usize,
    /// Mean of after - before.
    pub mean: f64,
    /// Limits of the 95 % interval.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
}
