//! The model's passes of a PPO step, one mini-batch at a time. Each rank evaluates its share of the rows, and gets the numbers
//! of all of them.

use crate::error::Result;
use crate::model::policy::{AdapterName, Given, INITIAL, POLICY, TokenScores, TrainablePolicy};
use crate::nn::rng::{Purpose, Rng};
use crate::ppo::batch::{Batch, Grid};
use crate::ppo::peers::Peers;
use crate::ppo::stages::{StepObserver, StepStage};
use crate::ppo::state::PpoState;
use crate::protocol::Phase;
use crate::settings::{KlReference, PpoConfig};
use candle_core::Tensor;
use std::ops::Range;

/// The numbers of a mini-batch's rows, (M, R) each.
pub struct Fresh {
    pub logprobs: Grid,
    pub values: Grid,
    pub entropy: Grid,
}

/// The rows of a mini-batch that this rank evaluated, recorded for their backward pass.
pub struct Recorded {
    /// Their places in the mini-batch.
    pub rows: Range<usize>,
    pub scores: TokenScores,
}

/// The model's passes over a batch, one mini-batch at a time.
pub struct Passes<'a, A> {
    policy: &'a A,
    batch: &'a Batch<'a>,
    config: &'a PpoConfig,
    peers: &'a Peers,
    seed: u64,
    step: u64,
    /// Number of dropout streams used in this step: each pass over a chunk has a separate one.
    dropouts: u64,
}

impl<'a, A: TrainablePolicy> Passes<'a, A> {
    /// The passes of the step that follows `state`.
    pub fn new(policy: &'a A, batch: &'a Batch<'a>, config: &'a PpoConfig, state: &PpoState, peers: &'a Peers) -> Self {
        Self { policy, batch, config, peers, seed: state.seed, step: state.step, dropouts: 0 }
    }

    /// Log-probs and values of the current policy, without gradient, (B, R) each. A chunk is not computed again if all rows
    /// have numbers from generation (unless the value head has dropout, which generation does not use).
    pub async fn old(&mut self, observer: &mut impl StepObserver) -> Result<(Grid, Grid)> {
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
                let (fresh, _) = self.evaluate(&indices, Some(POLICY), false, dropout.as_mut())?; // (M, R)
                logprobs.scatter(&indices, &fresh.logprobs);
                values.scatter(&indices, &fresh.values);
            }
            self.breathe(Phase::Old, &indices, observer).await?;
        }
        Ok((logprobs, values))
    }

    /// Log-probs of the reference, (B, R).
    pub async fn reference(&mut self, observer: &mut impl StepObserver) -> Result<Grid> {
        let adapter = match self.config.kl_reference {
            KlReference::Base => None,
            KlReference::Initial => Some(INITIAL),
        };
        let mut logprobs = Grid::zeros(self.batch.len(), self.batch.mask.cols); // (B, R)
        self.progress(Phase::Reference, 0, observer);
        for indices in self.chunks() {
            let (fresh, _) = self.evaluate(&indices, adapter, false, None)?; // (M, R)
            logprobs.scatter(&indices, &fresh.logprobs);
            self.breathe(Phase::Reference, &indices, observer).await?;
        }
        Ok(logprobs)
    }

    /// A mini-batch: its numbers, (M, R) each, and this rank's rows, recorded for their backward pass.
    pub fn train(&mut self, indices: &[usize]) -> Result<(Fresh, Recorded)> {
        let mut dropout = self.dropout();
        self.evaluate(indices, Some(POLICY), true, dropout.as_mut())
    }

    /// Evaluates this rank's share of the rows, and exchanges the numbers.
    fn evaluate(
        &self,
        indices: &[usize],
        adapter: AdapterName<'_>,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<(Fresh, Recorded)> {
        let rows = self.peers.share(indices.len());
        let (before, own) = (&indices[..rows.start], &indices[rows.clone()]);
        let (pairs, width, padded) = (self.batch.pairs(own), self.batch.width(), self.config.pad_to_batch);
        let tokens = |&i: &usize| if padded { width - 1 } else { self.batch.decoder_ids[i].len() - 1 };
        let tokens_before = before.iter().map(tokens).sum();
        let given = Given { rows: &pairs, width, padded, adapter, grad, tokens_before };
        let evaluated = self.policy.evaluate(&given, dropout); // this rank's rows of M
        let numbers = evaluated.as_ref().map_err(Clone::clone).and_then(numbers);
        let all = self.peers.rows(numbers)?;
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        for theirs in all {
            let length = theirs.len() / 3; // log-probs, values, entropies
            parts.iter_mut().zip(theirs.chunks(length.max(1))).for_each(|(all, part)| all.extend_from_slice(part));
        }
        let [logprobs, values, entropy] = parts.map(|all| Grid::from_vec(indices.len(), width - 1, all));
        let fresh = Fresh { logprobs: logprobs?, values: values?, entropy: entropy? }; // (M, R) each
        Ok((fresh, Recorded { rows, scores: evaluated? }))
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

/// Log-probs, values and entropies, one after the other.
fn numbers(scores: &TokenScores) -> Result<Vec<f32>> {
    let flat = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(tensor.flatten_all()?.to_vec1::<f32>()?) };
    Ok([flat(&scores.logprobs)?, flat(&scores.values)?, flat(&scores.entropy)?].concat())
}
