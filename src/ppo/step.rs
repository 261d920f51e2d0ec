//! One PPO step, stages 6 to 11: the same as `ppo_trainer.step(queries, responses, scores)`. [`ppo_step`] has the stages in
//! order; their formulas are in separate files. Only this file converts between tensors and plain numbers.

use crate::error::{Error, Result};
use crate::model::policy::TrainablePolicy;
use crate::nn::adam::{Gradients, Named, clip_factor};
use crate::nn::rng::{Purpose, Rng};
use crate::ppo::batch::{Batch, Forward, Grid, Row};
use crate::ppo::gae::{self, Advantages};
use crate::ppo::loss::{Loss, LossInput, MiniBatch, ppo_loss};
use crate::ppo::passes::{Fresh, Passes, Recorded};
use crate::ppo::peers::Peers;
use crate::ppo::rewards::{TokenRewards, prepare_scores, token_rewards};
pub use crate::ppo::stages::{StepObserver, StepStage};
pub use crate::ppo::state::PpoState;
use crate::ppo::stats::{BatchNumbers, StepStats};
use crate::protocol::Phase;
use crate::settings::{PpoConfig, WhitenOver};
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
/// Each of the `peers` evaluates and trains its share of every mini-batch. All have the same rows, and all get the numbers of
/// the whole batch and the same updates.
///
/// `orders`: row order of each epoch (E lists of B); if none, a random one from the seed. After a failed or stopped step,
/// weights and state are invalid: return to the last checkpoint.
///
/// Errors: invalid settings or rows (see [`PpoConfig::validate`], [`Batch::new`]); orders that are not permutations; numbers
/// that are not finite; a trainable tensor without gradient; [`Error::Stopped`] from a pause point; the error of another rank.
///
/// Source: docs/ppo.md section 3 (TRL 25fa1bd and 0.11.4 ppo_trainer.py `step`).
pub async fn ppo_step<A: TrainablePolicy>(
    policy: &A,
    state: &mut PpoState,
    config: &PpoConfig,
    rows: &[Row],
    orders: Option<&[Vec<usize>]>,
    peers: &Peers,
    observer: &mut impl StepObserver,
) -> Result<StepOutcome> {
    config.validate()?;
    peers.check_rows(config.mini_batch_size, "mini_batch_size")?;
    let batch = Batch::new(rows, config)?; // B rows, mask (B, R)
    let orders = epoch_orders(orders, state, config)?; // E lists of B
    let vars = policy.trainable(); // LoRA A (r, in), B (out, r); value head (1, D), (1)
    let mut passes = Passes::new(policy, &batch, config, state, peers);

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
            let (fresh, recorded) = passes.train(indices)?; // (M, R) each
            let mini = mini_batch(fresh, epoch, indices, &forward, &advantages, &whitened, &batch, config)?; // (M, R)
            observer.pause().await?; // the backward pass is the longest part of a step without pauses
            gradients.add(backward(recorded, &mini.loss, &vars, config.gradient_accumulation_steps)?)?;
            ratio.scatter(indices, &mini.loss.ratio);
            observer.stage(&StepStage::MiniBatch(&mini));
            observer.pause().await?;
            mini_batches.push(mini);
            if mini_batches.len().is_multiple_of(config.gradient_accumulation_steps) {
                gradients = summed(gradients, &vars, peers)?;
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

/// Losses of a mini-batch's new numbers, (M, R) grids.
#[allow(clippy::too_many_arguments)] // everything that a loss reads
fn mini_batch(
    fresh: Fresh,
    epoch: usize,
    indices: &[usize],
    forward: &Forward,
    advantages: &Advantages,
    whitened: &Grid,
    batch: &Batch,
    config: &PpoConfig,
) -> Result<MiniBatch> {
    let Fresh { logprobs, values, entropy } = fresh; // (M, R) each
    check_columns("log-prob", &logprobs, indices, batch)?;
    check_columns("value", &values, indices, batch)?;
    let whitened = whitened.select(indices); // (M, R)
    let x = LossInput {
        logprobs: &logprobs,
        values: &values,
        entropy: &entropy,
        old_logprobs: &forward.old_logprobs.select(indices),
        old_values: &advantages.values.select(indices),
        advantages: &whitened,
        returns: &advantages.returns.select(indices),
        mask: &batch.mask.select(indices),
    };
    let loss = ppo_loss(&x, config)?;
    Ok(MiniBatch { epoch, indices: indices.to_vec(), logprobs, values, advantages: whitened, loss })
}

/// Gradients of the loss / `share` for every trainable variable, from this rank's rows. They come from the loss's gradients by
/// log-probs and values with the chain rule: d loss = Σ g_lp · d logprobs + g_v · d values.
fn backward(recorded: Recorded, loss: &Loss, vars: &Named, share: usize) -> Result<Gradients> {
    if loss.guarded {
        return Gradients::zeros(vars);
    }
    let Recorded { rows, scores } = recorded;
    let weight = |gradient: &Grid| {
        let own = &gradient.data[rows.start * gradient.cols..rows.end * gradient.cols];
        let data = own.iter().map(|g| g / share as f32).collect();
        Tensor::from_vec(data, (rows.len(), gradient.cols), scores.logprobs.device())
    };
    let (by_logprobs, by_values) = (weight(&loss.grad_logprobs)?, weight(&loss.grad_values)?); // (this rank's rows, R) each
    Gradients::of(scores.backward(&by_logprobs, &by_values)?, vars)
}

/// The gradients of all ranks' rows, added in rank order.
fn summed(gradients: Gradients, vars: &Named, peers: &Peers) -> Result<Gradients> {
    if peers.size() == 1 {
        return Ok(gradients);
    }
    Gradients::from_flat(vars, &peers.sum(gradients.flat())?)
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
