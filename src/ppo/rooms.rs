//! What a PPO step needs from a model ([`Actor`]) and what it shows on its way ([`Rooms`]): the real numbers of each
//! room, handed to whoever watches.

use crate::error::Result;
use crate::model::policy::{AdapterName, Policy, TokenScores};
use crate::nn::rng::Rng;
use crate::pace::{NonStop, Pace};
use crate::ppo::batch::{Batch, Grid};
use crate::ppo::gae::Advantages;
use crate::ppo::loss::Loss;
use crate::ppo::rewards::TokenRewards;
use crate::ppo::stats::StepStats;
use candle_core::Var;

/// A model that PPO can train: scores given responses, and names what is trained.
pub trait Actor {
    /// Log-probs, values and entropy of given responses, (B, width - 1) each: column k is about decoder id k + 1. Columns
    /// past a row's end are computed from padding if `padded`, else 0. `grad` keeps what [`TokenScores::backward`] needs (of
    /// the policy's adapter), `dropout` turns the value head's dropout on; see [`Policy::evaluate`].
    fn evaluate(
        &self,
        rows: &[(&[u32], &[u32])],
        width: usize,
        padded: bool,
        adapter: AdapterName<'_>,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores>;

    /// Trainable variables by checkpoint name, always in the same order.
    fn trainable(&self) -> Vec<(String, Var)>;
}

impl Actor for Policy {
    fn evaluate(
        &self,
        rows: &[(&[u32], &[u32])],
        width: usize,
        padded: bool,
        adapter: AdapterName<'_>,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        Policy::evaluate(self, rows, width, padded, adapter, grad, dropout)
    }

    fn trainable(&self) -> Vec<(String, Var)> {
        Policy::trainable(self)
    }
}

/// A pass over the batch, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Log-probs and values of the policy before this step.
    Old,
    /// Log-probs of the reference.
    Reference,
    /// Forward and backward, once a PPO epoch.
    Train,
}

/// Room 6: log-probs and values before any update, (B, R) each.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    pub old_logprobs: Grid,
    pub ref_logprobs: Grid,
    pub old_values: Grid,
}

/// Room 9: one mini-batch, (M, R) grids.
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

/// What just happened, with its numbers.
#[derive(Debug)]
pub enum Room<'a> {
    /// `done` of `of` mini-batches of a pass are through.
    Progress { pass: Pass, done: usize, of: usize },
    /// Room 6.
    Forward { batch: &'a Batch<'a>, forward: &'a Forward },
    /// Room 7: scores as they enter (B), KL and rewards (B, R).
    Rewards { scores: &'a [f32], kl: &'a Grid, kl_coef: f64, rewards: &'a TokenRewards },
    /// Room 8.
    Advantages(&'a Advantages),
    /// Room 9.
    MiniBatch(&'a MiniBatch),
    /// Room 10: an update was made, with this gradient norm (before clipping) and learning rate.
    Optimizer { updates: u64, grad_norm: f64, learning_rate: f64 },
    /// Room 11: the step, counted from 1, and its statistics.
    Stats(u64, &'a StepStats),
}

/// Who watches a step; it is also asked at every pause point whether to go on.
pub trait Rooms: Pace {
    /// Called once a room, with the real numbers.
    fn room(&mut self, room: &Room<'_>);
}

impl Rooms for NonStop {
    fn room(&mut self, _: &Room<'_>) {}
}
