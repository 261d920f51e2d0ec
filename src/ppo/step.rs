//! One PPO step, stages 6 to 11: the same as `ppo_trainer.step(queries, responses, scores)`. [`ppo_step`] has the stages in
//! order; their formulas are in separate files. Only this file converts between tensors and plain numbers.

use crate::error::{Error, Result};
use crate::model::policy::{AdapterName, Given, INITIAL, POLICY, TokenScores, TrainablePolicy};
use crate::nn::adam::{Gradients, Named, clip_factor};
use crate::nn::rng::{Purpose, Rng};
use crate::ppo::batch::{Batch, Forward, Grid, Row};
use crate::ppo::gae::{self, Advantages};
use crate::ppo::loss::{Loss, LossInput, MiniBatch, ppo_loss};
use crate::ppo::rewards::{TokenRewards, prepare_scores, token_rewards};
pub use crate::ppo::stages::{StepObserver, StepStage};
pub use crate::ppo::state::PpoState;
use crate::ppo::stats::{BatchNumbers, StepStats};
use crate::protocol::Phase;
use crate::settings::{KlReference, PpoConfig, WhitenOver};
use candle_core::Tensor;

/// The results of a step. Grids are (B, R); their numbers count where `mask` is 1.
#[derive(Debug, Clone)]
pub struct StepOutcome {
    pub stats: StepStats,
    pub mask: Grid,
    pub forward: Forward,
    pub kl: Grid,
    pub rewards: TokenRewards,
    /// Masked values, raw advantages, returns.
    pub advantages: Advantages,
    /// Of the last epoch.
    pub advantages_whitened: Grid,
    /// exp(logprob - old_logprob) in the last epoch.
    pub ratio: Grid,
    /// All mini-batches of all epochs, in order.
    pub mini_batches: Vec<MiniBatch>,
}

/// One PPO step on B = `config.batch_size` rows: updates the policy's trainable variables in place and `state`.
///
/// `orders`: row order of each epoch (E lists of B); if none, a random one from the seed. After a failed or stopped step,
/// weights and state are invalid: return to the last checkpoint.
///
/// Errors: invalid settings or rows (see [`PpoConfig::validate`], [`Batch::new`]); orders that are not permutations; numbers
/// that are not finite; a trainable tensor without gradient; [`Error::Stopped`] from a pause point.
///
/// Source: docs/ppo.md section 3 (TRL 25fa1bd and 0.11.4 ppo_trainer.py `step`).
pub async fn ppo_step<A: TrainablePolicy>(
    policy: &A,
    state: &mut PpoState,
    config: &PpoConfig,
    rows: &[Row],
    orders: Option<&[Vec<usize>]>,
    observer: &mut impl StepObserver,
) -> Result<StepOutcome> {
    config.validate()?;
    let batch = Batch::new(rows, config)?; // B rows, mask (B, R)
    let orders = epoch_orders(orders, state, config)?; // E lists of B
    let vars = policy.trainable(); // LoRA A (r, in), B (out, r); value head (1, D), (1)
    let mut passes = Passes { policy, batch: &batch, config, seed: state.seed, step: state.step, dropouts: 0 };

    // Stage 6: log-probs, reference, values
    let (old_logprobs, old_values) = passes.old(observer).await?; // (B, R) each
    let ref_logprobs = passes.reference(observer).await?; // (B, R)
    let forward = Forward { old_logprobs, ref_logprobs, old_values }; // (B, R) each
    check_finite(&forward, &batch)?;
    observer.stage(&StepStage::Forward { batch: &batch, forward: &forward });
    observer.pause().await?;

    // Stage 7: per-token rewards
    let given: Vec<f32> = rows.iter().map(|row| row.score).collect(); // (B)
    let scores = prepare_scores(&given, config, &mut state.score_moments)?; // (B)
    let kl = config.kl_estimator.grid(&forward.old_logprobs, &forward.ref_logprobs); // (B, R)
    let kl_coef = state.kl.value();
    let rewards = token_rewards(&kl, &scores, kl_coef, &batch); // (B, R)
    observer.stage(&StepStage::Rewards { scores: &scores, kl: &kl, kl_coef, rewards: &rewards });
    observer.pause().await?;

    // Stage 8: advantages
    let discounted = rewards_for_gae(&rewards.rewards, &batch.mask, config)?; // (B, R)
    let advantages = gae::advantages(&forward.old_values, &discounted, &batch.mask, config.gamma, config.lambda); // (B, R)
    let mut whitened = match config.whiten_over {
        WhitenOver::Batch => gae::whiten(&advantages.advantages, &batch.mask, true)?, // (B, R)
        WhitenOver::MiniBatch => Grid::zeros(batch.len(), batch.mask.cols),           // (B, R), filled per mini-batch
        WhitenOver::Nothing => advantages.advantages.clone(),                         // (B, R)
    };
    observer.stage(&StepStage::Advantages(&advantages));
    observer.pause().await?;

    // Stages 9 and 10: losses, backward, optimizer
    let learning_rate = config.learning_rate_at(state.step);
    let (mut mini_batches, mut grad_norms) = (Vec::new(), Vec::new());
    let mut ratio = Grid::zeros(batch.len(), batch.mask.cols); // (B, R)
    let mut gradients = Gradients::default();
    let mut epochs = 0;
    let of = orders.iter().map(Vec::len).sum::<usize>() / config.mini_batch_size;
    let progress = |done| StepStage::Progress { phase: Phase::Train, done, of };
    observer.stage(&progress(0)); // a mini-batch takes long
    for (epoch, order) in orders.iter().enumerate() {
        for indices in order.chunks(config.mini_batch_size) {
            if config.whiten_over == WhitenOver::MiniBatch {
                let mask = batch.mask.select(indices); // (M, R)
                whitened.scatter(indices, &gae::whiten(&advantages.advantages.select(indices), &mask, true)?);
            }
            let fresh = passes.train(indices)?; // (M, R) each, recorded
            let mini = mini_batch(&fresh, epoch, indices, &forward, &advantages, &whitened, &passes)?; // (M, R)
            observer.pause().await?; // the backward pass is the longest part of a step without pauses
            gradients.add(backward(fresh, &mini.loss, &vars, config.gradient_accumulation_steps)?)?;
            ratio.scatter(indices, &mini.loss.ratio);
            observer.stage(&StepStage::MiniBatch(&mini));
            observer.pause().await?;
            mini_batches.push(mini);
            if mini_batches.len().is_multiple_of(config.gradient_accumulation_steps) {
                let grad_norm = gradients.norm(&vars)?;
                state.adam.update(&vars, &gradients, clip_factor(grad_norm, config.max_grad_norm), learning_rate)?;
                gradients = Gradients::default();
                grad_norms.push(grad_norm);
                observer.stage(&StepStage::Optimizer { updates: state.adam.steps(), grad_norm, learning_rate });
            }
            observer.stage(&progress(mini_batches.len()));
            observer.pause().await?;
        }
        epochs = epoch + 1;
        let policy_kl = mini_batches.last().map_or(0.0, |mini| mini.loss.stats.policy_kl);
        if config.early_stopping && policy_kl > 1.5 * config.target_kl {
            break;
        }
    }

    // Stage 11: statistics, next KL coefficient
    let numbers = BatchNumbers {
        batch: &batch,
        forward: &forward,
        kl: &kl,
        rewards: &rewards,
        scores: &scores,
        kl_coef,
        learning_rate,
    };
    let stats = StepStats { grad_norms, epochs, ..StepStats::new(state.step + 1, &numbers, &mini_batches) };
    observer.stage(&StepStage::Stats(&stats));
    observer.pause().await?;
    state.kl.update(stats.line.kl, batch.len());
    state.step += 1;
    let (mask, advantages_whitened) = (batch.mask.clone(), whitened); // (B, R) each
    Ok(StepOutcome { stats, mask, forward, kl, rewards, advantages, advantages_whitened, ratio, mini_batches })
}

/// The model's passes over a batch, one mini-batch at a time.
struct Passes<'a, A> {
    policy: &'a A,
    batch: &'a Batch<'a>,
    config: &'a PpoConfig,
    seed: u64,
    step: u64,
    /// Number of dropout streams used in this step: each pass over a chunk has a separate one.
    dropouts: u64,
}

impl<A: TrainablePolicy> Passes<'_, A> {
    /// Log-probs and values of the current policy, without gradient, (B, R) each. A chunk is not computed again if all rows
    /// have numbers from generation (unless the value head has dropout, which generation does not use).
    async fn old(&mut self, observer: &mut impl StepObserver) -> Result<(Grid, Grid)> {
        let (b, r) = (self.batch.len(), self.batch.mask.cols);
        let (mut logprobs, mut values) = (Grid::zeros(b, r), Grid::zeros(b, r)); // (B, R)
        self.progress(Phase::Old, 0, observer);
        for indices in self.chunks() {
            if self.kept(&indices) {
                for (i, kept) in indices.iter().filter_map(|&i| Some((i, self.batch.rows[i].generated.as_ref()?))) {
                    logprobs.row_mut(i)[..kept.logprobs.len()].copy_from_slice(&kept.logprobs);
                    values.row_mut(i)[..kept.values.len()].copy_from_slice(&kept.values);
                }
            } else {
                let mut dropout = self.dropout();
                let scores = self.evaluate(&indices, Some(POLICY), false, dropout.as_mut())?; // (M, R)
                logprobs.scatter(&indices, &grid(&scores.logprobs)?);
                values.scatter(&indices, &grid(&scores.values)?);
            }
            self.breathe(Phase::Old, &indices, observer).await?;
        }
        Ok((logprobs, values))
    }

    /// Log-probs of the reference, (B, R).
    async fn reference(&mut self, observer: &mut impl StepObserver) -> Result<Grid> {
        let adapter = match self.config.kl_reference {
            KlReference::Base => None,
            KlReference::Initial => Some(INITIAL),
        };
        let mut logprobs = Grid::zeros(self.batch.len(), self.batch.mask.cols); // (B, R)
        self.progress(Phase::Reference, 0, observer);
        for indices in self.chunks() {
            let scores = self.evaluate(&indices, adapter, false, None)?; // (M, R)
            logprobs.scatter(&indices, &grid(&scores.logprobs)?);
            self.breathe(Phase::Reference, &indices, observer).await?;
        }
        Ok(logprobs)
    }

    /// A mini-batch, recorded for its backward pass: (M, R) each.
    fn train(&mut self, indices: &[usize]) -> Result<TokenScores> {
        let mut dropout = self.dropout();
        self.evaluate(indices, Some(POLICY), true, dropout.as_mut())
    }

    fn evaluate(
        &self,
        indices: &[usize],
        adapter: AdapterName<'_>,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        let (rows, padded) = (self.batch.pairs(indices), self.config.pad_to_batch);
        self.policy.evaluate(&Given { rows: &rows, width: self.batch.width(), padded, adapter, grad }, dropout) // (M, R) each
    }

    fn chunks(&self) -> Vec<Vec<usize>> {
        let rows: Vec<usize> = (0..self.batch.len()).collect();
        rows.chunks(self.config.mini_batch_size).map(<[usize]>::to_vec).collect()
    }

    fn kept(&self, indices: &[usize]) -> bool {
        self.config.value_head_dropout == 0.0 && indices.iter().all(|&i| self.batch.rows[i].generated.is_some())
    }

    fn dropout(&mut self) -> Option<Rng> {
        self.dropouts += 1;
        let stream = self.dropouts;
        (self.config.value_head_dropout > 0.0).then(|| Rng::new(self.seed, Purpose::Dropout, self.step, stream))
    }

    async fn breathe(&self, phase: Phase, indices: &[usize], observer: &mut impl StepObserver) -> Result<()> {
        let done = indices.last().map_or(0, |i| i / self.config.mini_batch_size + 1);
        self.progress(phase, done, observer);
        observer.pause().await
    }

    /// Reports the mini-batches done in a phase. At the beginning there are none, because one may take long.
    fn progress(&self, phase: Phase, done: usize, observer: &mut impl StepObserver) {
        observer.stage(&StepStage::Progress { phase, done, of: self.batch.len() / self.config.mini_batch_size });
    }
}

/// A tensor's numbers: (M, R).
fn grid(tensor: &Tensor) -> Result<Grid> {
    let (rows, cols) = tensor.dims2()?;
    Grid::from_vec(rows, cols, tensor.flatten_all()?.to_vec1()?)
}

/// Losses of a mini-batch's new numbers, (M, R) tensors → grids.
fn mini_batch<A: TrainablePolicy>(
    fresh: &TokenScores,
    epoch: usize,
    indices: &[usize],
    forward: &Forward,
    advantages: &Advantages,
    whitened: &Grid,
    passes: &Passes<'_, A>,
) -> Result<MiniBatch> {
    let (logprobs, values) = (grid(&fresh.logprobs)?, grid(&fresh.values)?); // (M, R) each
    check_columns("log-prob", &logprobs, indices, passes.batch)?;
    check_columns("value", &values, indices, passes.batch)?;
    let whitened = whitened.select(indices); // (M, R)
    let x = LossInput {
        logprobs: &logprobs,
        values: &values,
        entropy: &grid(&fresh.entropy)?,
        old_logprobs: &forward.old_logprobs.select(indices),
        old_values: &advantages.values.select(indices),
        advantages: &whitened,
        returns: &advantages.returns.select(indices),
        mask: &passes.batch.mask.select(indices),
    };
    let loss = ppo_loss(&x, passes.config)?;
    Ok(MiniBatch { epoch, indices: indices.to_vec(), logprobs, values, advantages: whitened, loss })
}

/// Gradients of the loss / `share` for every trainable variable. They come from the loss's gradients by log-probs and values
/// with the chain rule: d loss = Σ g_lp · d logprobs + g_v · d values.
fn backward(fresh: TokenScores, loss: &Loss, vars: &Named, share: usize) -> Result<Gradients> {
    if loss.guarded {
        return Gradients::zeros(vars);
    }
    let weight = |gradient: &Grid| {
        let data = gradient.data.iter().map(|g| g / share as f32).collect();
        Tensor::from_vec(data, (gradient.rows, gradient.cols), fresh.logprobs.device())
    };
    let (by_logprobs, by_values) = (weight(&loss.grad_logprobs)?, weight(&loss.grad_values)?); // (M, R) each
    Gradients::of(fresh.backward(&by_logprobs, &by_values)?, vars)
}

/// Rewards for the advantage recursion: masked, and whitened if the setting says so. (B, R) → (B, R).
pub fn rewards_for_gae(rewards: &Grid, mask: &Grid, config: &PpoConfig) -> Result<Grid> {
    let rewards = gae::zero_masked(rewards, mask); // (B, R)
    if !config.whiten_rewards {
        return Ok(rewards);
    }
    let whitened = gae::whiten(&rewards, mask, false)?; // (B, R)
    Ok(if config.whiten_rewards_padding { whitened } else { gae::zero_masked(&whitened, mask) })
}

/// The row order of each epoch: the given one after a check, or a permutation from the seed.
fn epoch_orders(given: Option<&[Vec<usize>]>, state: &PpoState, config: &PpoConfig) -> Result<Vec<Vec<usize>>> {
    let (epochs, b) = (config.ppo_epochs, config.batch_size);
    let Some(given) = given else {
        let draw = |epoch| Rng::new(state.seed, Purpose::MiniBatch, state.step, epoch as u64).permutation(b);
        return Ok((0..epochs).map(draw).collect());
    };
    let is_permutation = |order: &&Vec<usize>| {
        let mut seen = vec![false; b];
        order.len() == b && order.iter().all(|&i| i < b && !std::mem::replace(&mut seen[i], true))
    };
    if given.len() < epochs || !given.iter().all(|order| is_permutation(&order)) {
        return Err(Error::input(
            format!("mini-batch orders: a step needs {epochs} lists (ppo_epochs), each with every row 0..{b} once"),
            "give one list per PPO epoch, or no orders",
        ));
    }
    Ok(given[..epochs].to_vec())
}

/// Refuses NaN and infinity in a batch's numbers, naming row and token.
fn check_finite(forward: &Forward, batch: &Batch) -> Result<()> {
    let named = [
        ("old log-prob", &forward.old_logprobs),
        ("reference log-prob", &forward.ref_logprobs),
        ("value", &forward.old_values),
    ];
    let all: Vec<usize> = (0..batch.len()).collect();
    named.into_iter().try_for_each(|(name, grid)| check_columns(name, grid, &all, batch))
}

/// Refuses NaN and infinity in trained columns; `grid` has the batch's rows `indices`.
fn check_columns(name: &str, grid: &Grid, indices: &[usize], batch: &Batch) -> Result<()> {
    for (row, &i) in indices.iter().enumerate() {
        if let Some(k) = batch.columns[i].clone().find(|&k| !grid.row(row)[k].is_finite()) {
            return Err(Error::not_finite(
                format!("row {}: the {name} of response token {}", i + 1, k + 1),
                "the weights have diverged or are damaged: return to an earlier checkpoint, lower the learning rate",
            )
            .in_row(i));
        }
    }
    Ok(())
}
