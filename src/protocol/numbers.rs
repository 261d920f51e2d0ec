//! The contents of messages: plain numbers and texts, no tensors.

use super::evaluation::Evaluation;
use super::real::RealModels;
use super::statistics::{Grid, MiniBatchStats, Scored, Seconds, Statistics};
use crate::settings::{PpoConfig, from_map};
use serde::{Deserialize, Serialize};
use serde_json::Map;

/// What a progress event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Load,
    /// Rows that have ended.
    Generate,
    /// Texts.
    Score,
    /// Mini-batches of a step's pass over the policy as it was before.
    Old,
    /// Mini-batches of the pass over the reference.
    Reference,
    /// Mini-batches trained, once a PPO epoch.
    Train,
    /// Dialogues that are generated and scored before and after.
    Evaluate,
}

/// A chosen token and its alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub id: u32,
    /// The token's text; a space in front starts a word.
    pub text: String,
    /// Natural log of the unfiltered probability.
    pub logprob: f32,
    /// The most probable tokens before any filter, most probable first.
    pub top: Vec<Candidate>,
}

/// A token that could come next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub id: u32,
    pub text: String,
    pub probability: f32,
}

/// A token of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub id: u32,
    pub text: String,
}

/// The numbers of a stage. Grids are (B, R); their numbers count where `mask` is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Stages 1 to 3: the batch's dialogues.
    Queries { rows: Vec<Query> },
    /// Stage 4.
    Responses { rows: Vec<Response> },
    /// Stage 5.
    Scores { rows: Vec<Scored> },
    /// Stage 6.
    Forward { mask: Grid, old_logprobs: Grid, ref_logprobs: Grid, old_values: Grid },
    /// Stage 7.
    Rewards { scores: Vec<f32>, kl: Grid, kl_coef: f64, non_score: Grid, rewards: Grid },
    /// Stage 8.
    Advantages { advantages: Grid, returns: Grid },
    /// Stage 9: one mini-batch, the batch's rows `indices`.
    MiniBatch { indices: Vec<usize>, advantages: Grid, ratio: Grid, stats: MiniBatchStats },
    /// Stage 10.
    Optimizer { updates: u64, grad_norm: f64, learning_rate: f64 },
    /// Stage 11.
    Statistics(Box<Statistics>),
}

impl Stage {
    /// The stage's number, 1 to 12.
    pub fn number(&self) -> u8 {
        match self {
            Self::Queries { .. } => 3,
            Self::Responses { .. } => 4,
            Self::Scores { .. } => 5,
            Self::Forward { .. } => 6,
            Self::Rewards { .. } => 7,
            Self::Advantages { .. } => 8,
            Self::MiniBatch { .. } => 9,
            Self::Optimizer { .. } => 10,
            Self::Statistics(_) => 11,
        }
    }
}

/// A dialogue as the policy's query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The dialogue's id, such as `heated-0007`.
    pub id: String,
    pub dialogue: String,
    pub tokens: usize,
}

/// A response of the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    pub text: String,
    /// The tokens of the grids' columns 0, 1, …
    pub pieces: Vec<Piece>,
}

/// A PPO step, for charts and the token strip. Grids are (B, R).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub step: u64,
    #[serde(rename = "metrics")]
    pub statistics: Statistics,
    pub queries: Vec<Query>,
    pub responses: Vec<Response>,
    pub scored: Vec<Scored>,
    pub rewards: Vec<f32>,
    pub grids: Grids,
    pub seconds: Seconds,
}

/// The per-token numbers of a step, (B, R) each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Grids {
    pub mask: Grid,
    pub old_logprobs: Grid,
    pub ref_logprobs: Grid,
    pub old_values: Grid,
    pub kl: Grid,
    /// −kl_coef · kl.
    pub non_score: Grid,
    pub rewards: Grid,
    /// From GAE; returns = advantages + values.
    pub advantages: Grid,
    /// For the loss.
    pub advantages_whitened: Grid,
    pub returns: Grid,
    /// In the last epoch.
    pub ratio: Grid,
}

/// The loaded models and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Total bytes downloaded.
    pub bytes: u64,
    pub policy: PolicyInfo,
    pub reward: RewardInfo,
    /// The shipped dialogues.
    pub dialogues: Vec<Dialogue>,
    /// The tiny models' settings for each preset.
    #[serde(deserialize_with = "by_value")]
    pub corrected: Box<PpoConfig>,
    #[serde(deserialize_with = "by_value")]
    pub published: Box<PpoConfig>,
    /// Default number of PPO steps.
    pub steps: u64,
    pub seconds: f64,
    /// Which real models these are; none: the shipped ones.
    #[serde(default)]
    pub real: Option<Box<RealModels>>,
    /// A person's own dialogues in words: how many were read, kept and held out; empty: the shipped ones.
    #[serde(default)]
    pub data: String,
}

/// The policy in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyInfo {
    pub base_parameters: usize,
    pub adapter_parameters: usize,
    pub value_head_parameters: usize,
    pub encoder_blocks: usize,
    pub decoder_blocks: usize,
    pub width: usize,
    pub heads: usize,
    pub vocabulary: usize,
    pub lora_r: usize,
    pub lora_alpha: f64,
    /// Names of the layers with an adapter.
    pub lora_layers: Vec<String>,
    pub bytes: u64,
}

/// The reward model in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardInfo {
    pub parameters: usize,
    pub bytes: u64,
}

/// A shipped dialogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dialogue {
    pub id: String,
    pub dialogue: String,
    pub summary: String,
    /// In the test split, so not used for training.
    pub held_out: bool,
}

/// A word and the score without it minus the score with it; below 0, it speaks for `nothate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    pub change: f32,
}

/// Numbers and rows of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    pub numbers: Evaluation,
    pub rows: Vec<EvaluatedRow>,
    /// `comparison.csv`.
    pub csv: String,
}

/// One dialogue before and after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedRow {
    pub id: String,
    pub dialogue: String,
    pub reference: String,
    pub before: String,
    pub after: String,
    pub score_before: f32,
    pub score_after: f32,
    pub toxicity_before: f32,
    pub toxicity_after: f32,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// PPO steps done, and their total number.
    pub step: u64,
    pub steps: u64,
    #[serde(deserialize_with = "by_value")]
    pub config: Box<PpoConfig>,
    /// The lines of metrics.jsonl; empty in the answer to `Train`, whose steps contain them.
    pub metrics: Vec<Statistics>,
    /// The command that continues the saved run on the command line.
    pub command: String,
    /// The names of policy and reward model in the run's `config.json`.
    #[serde(default)]
    pub models: [String; 2],
    /// Their number type, and the reward model's labels as in `KeptModel::labels`; empty: nothate and hate.
    #[serde(default)]
    pub weights: String,
    #[serde(default)]
    pub labels: String,
    /// When the browser saved it, in seconds since 1970; 0 if it is not a saved run.
    #[serde(default)]
    pub saved: f64,
}

/// A rollout, recomputed with other settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// What each response's score would be (B).
    pub scores: Vec<f32>,
    pub grids: Grids,
    /// Means over the mini-batches of the last epoch, with its log-probs and values.
    pub stats: MiniBatchStats,
    /// The same means of the original step.
    pub was: MiniBatchStats,
    /// Changes that cannot be computed without the model, in words.
    pub not_shown: Vec<String>,
}

/// Reads settings through JSON values, as the page does elsewhere; a second parser would add 4 kB to the page.
fn by_value<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Box<PpoConfig>, D::Error> {
    from_map(Map::deserialize(from)?).map(Box::new).map_err(serde::de::Error::custom)
}
