//! The stages of a PPO step with their numbers, which a [`StepObserver`] receives.

use crate::pace::{NonStop, Pace};
use crate::ppo::batch::{Batch, Forward, Grid};
use crate::ppo::gae::Advantages;
use crate::ppo::loss::MiniBatch;
use crate::ppo::rewards::TokenRewards;
use crate::ppo::stats::StepStats;
use crate::protocol::Phase;

/// A stage that was just computed.
#[derive(Debug)]
pub enum StepStage<'a> {
    /// `done` of `of` mini-batches of a pass are finished (old policy, reference or training).
    Progress { phase: Phase, done: usize, of: usize },
    /// Stage 6.
    Forward { batch: &'a Batch<'a>, forward: &'a Forward },
    /// Stage 7: scores after scaling and clipping (B), KL and rewards (B, R).
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

/// Receives a step's stages, and can stop it at pause points.
pub trait StepObserver: Pace {
    /// Called at each stage, with the numbers that it computed.
    fn stage(&mut self, _: &StepStage<'_>) {}
}

impl StepObserver for NonStop {}
