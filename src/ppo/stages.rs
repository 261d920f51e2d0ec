//! What a PPO step shows while it runs ([`StepObserver`]): its stages, each with the numbers that it computed.

use crate::pace::{NonStop, Pace};
use crate::ppo::batch::{Batch, Forward, Grid};
use crate::ppo::gae::Advantages;
use crate::ppo::loss::MiniBatch;
use crate::ppo::rewards::TokenRewards;
use crate::ppo::stats::StepStats;
use crate::protocol::Phase;

/// What just happened, with its numbers.
#[derive(Debug)]
pub enum StepStage<'a> {
    /// `done` of `of` mini-batches of a pass are through: of the old policy's, of the reference's, or of training.
    Progress { phase: Phase, done: usize, of: usize },
    /// Stage 6.
    Forward { batch: &'a Batch<'a>, forward: &'a Forward },
    /// Stage 7: scores as they enter (B), KL and rewards (B, R).
    Rewards { scores: &'a [f32], kl: &'a Grid, kl_coef: f64, rewards: &'a TokenRewards },
    /// Stage 8.
    Advantages(&'a Advantages),
    /// Stage 9.
    MiniBatch(&'a MiniBatch),
    /// Stage 10: an update was made, with this gradient norm (before clipping) and learning rate.
    Optimizer { updates: u64, grad_norm: f64, learning_rate: f64 },
    /// Stage 11.
    Stats(&'a StepStats),
}

/// Who watches a step; it is also asked at every pause point whether to go on.
pub trait StepObserver: Pace {
    /// Called at each stage, with the numbers that it computed.
    fn stage(&mut self, _: &StepStage<'_>) {}
}

impl StepObserver for NonStop {}
