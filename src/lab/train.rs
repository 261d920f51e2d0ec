//! Chapters 3.1 and 3.2: the PPO run. Every step ends with a checkpoint, written completely or not at all. A run that was
//! interrupted at any moment continues from its newest checkpoint and computes the same numbers as an uninterrupted run,
//! because random streams depend only on (seed, step, row).

use super::events::{Event, Observer, Seconds};
use super::models::{Actor, Lab};
use super::rollout::{RolloutFor, Sample, rollout, sampling, training_draw};
use super::run::{self, RunConfig, Store};
use crate::error::{Error, Result};
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::safetensors::to_bytes;
use crate::io::tensorboard;
use crate::kernels::choice::kernel;
use crate::model::policy::{POLICY, TrainablePolicy};
use crate::nn::rng::{Purpose, Rng};
use crate::ppo::batch::{KeptNumbers, Row};
pub use crate::ppo::peers::{Link, Peers};
use crate::ppo::state::PpoState;
use crate::ppo::step::{StepOutcome, ppo_step};
use crate::protocol::Statistics;
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;
use std::ops::Deref;

/// The results of a PPO step: its rollout, its numbers, its line of metrics.jsonl.
pub struct Stepped {
    /// Number of PPO steps done, including this one.
    pub step: u64,
    pub samples: Vec<Sample>,
    pub outcome: StepOutcome,
    pub statistics: Statistics,
    pub seconds: Seconds,
}

/// A run in progress. It trains the lab's `policy` adapter and value head in place. `L` is a reference to the lab in the
/// command line, and a shared pointer in the browser's worker.
pub struct Trainer<L, S> {
    pub lab: L,
    pub config: RunConfig,
    pub adapter_config: AdapterConfig,
    pub store: S,
    state: PpoState,
    /// TensorBoard's file.
    events: String,
    /// Problems that were found when the run was resumed.
    pub warnings: Vec<String>,
}

impl<L: Deref<Target = Lab>, S: Store> Trainer<L, S> {
    /// Starts a run: writes its `config.json` and the checkpoint of step 0.
    pub fn start(
        lab: L,
        config: RunConfig,
        adapter_config: AdapterConfig,
        mut store: S,
        unix_seconds: f64,
    ) -> Result<Self> {
        check_data(&lab.dialogues, &config.ppo)?;
        run::cut_back(&mut store, 0)?; // files of a run that was killed before its first checkpoint
        store.put(run::CONFIG, &config.bytes()?)?;
        let state = PpoState::new(&config.ppo);
        let events = run::begin_events(&mut store, unix_seconds, "detox-lab")?;
        let mut trainer = Self { lab, config, adapter_config, store, state, events, warnings: Vec::new() };
        trainer.save()?;
        Ok(trainer)
    }

    /// Continues from the newest checkpoint of the run in `store`; the actor already has that checkpoint's adapter and value
    /// head. Lines and files of later steps are dropped and computed again.
    pub fn resume(
        lab: L,
        config: RunConfig,
        adapter_config: AdapterConfig,
        mut store: S,
        unix_seconds: f64,
    ) -> Result<Self> {
        check_data(&lab.dialogues, &config.ppo)?;
        let step = run::newest_checkpoint(&store)?;
        let folder = format!("{}/{}", run::CHECKPOINTS, run::step_name(step));
        let state = store.read_json(&format!("{folder}/{}", run::TRAINER_STATE))?;
        let moments = crate::io::checkpoint::weights::load_file(&store, &format!("{folder}/{}", run::ADAM), &|_| true)?;
        let state = PpoState::load(&config.ppo, &lab.actor.policy.trainable(), &state, &moments)
            .map_err(|e| e.in_file(&store.path(&folder)))?;
        if state.step != step {
            let what = format!("has step {}, but its folder is named for step {step}", state.step);
            return Err(Error::file(
                store.path(&folder),
                what,
                "remove this checkpoint; the one before it is used then",
            ));
        }
        store.put(run::CONFIG, &config.bytes()?)?;
        let warnings = mend(&mut store, &config, step)?;
        let events = run::begin_events(&mut store, unix_seconds, &format!("detox-lab.from-{step}"))?;
        Ok(Self { lab, config, adapter_config, store, state, events, warnings })
    }

    /// PPO steps done.
    pub fn step_number(&self) -> u64 {
        self.state.step
    }

    /// Runs to the configured number of steps.
    ///
    /// # Errors
    /// [`Error::Stopped`] at a pause point: the run can be continued from its newest checkpoint. Numbers that are not finite:
    /// the newest checkpoint is the last good state.
    pub async fn run(&mut self, peers: &Peers, observer: &mut impl Observer) -> Result<()> {
        while self.state.step < self.config.steps {
            self.step(peers, observer).await?;
        }
        Ok(())
    }

    /// One PPO step: rollout, PPO, files, checkpoint. The `peers` are processes with the same lab, configuration and state.
    pub async fn step(&mut self, peers: &Peers, observer: &mut impl Observer) -> Result<Stepped> {
        let step = self.state.step;
        let order = batch_rows(self.lab.dialogues.len(), &self.config.ppo, step);
        let done = self.computed(&order, peers, observer).await;
        let Err(Error::NotFinite { what, row, hint }) = done else { return done };
        let id = |row: usize| Some(format!(", dialogue {}", self.lab.dialogues[*order.get(row)?].id));
        let dialogue = row.and_then(id).unwrap_or_default();
        Err(Error::NotFinite { what: format!("step {}{dialogue}: {what}", step + 1), row, hint })
    }

    async fn computed(&mut self, order: &[usize], peers: &Peers, observer: &mut impl Observer) -> Result<Stepped> {
        let Lab { actor, judge, dialogues } = &*self.lab;
        let (config, step) = (&self.config.ppo, self.state.step);
        let started = observer.seconds();
        let dialogues: Vec<&Dialogue> = order.iter().map(|i| &dialogues[*i]).collect();
        let draws = (0..order.len()).map(|row| training_draw(config, step, row as u64)).collect();
        let out = rollout(
            RolloutFor::Training,
            actor,
            judge,
            &dialogues,
            Some(POLICY),
            draws,
            &sampling(config),
            config,
            peers,
            observer,
        )
        .await?;
        let rows: Vec<Row> = out.samples.iter().map(|sample| row(sample, config)).collect();
        let ppo_started = observer.seconds();
        let outcome = ppo_step(&actor.policy, &mut self.state, config, &rows, None, peers, observer).await?;
        check_weights(actor)?;
        check_same_weights(actor, peers)?;
        let done = observer.seconds();
        let seconds = Seconds { ppo: done - ppo_started, total: done - started, ..out.seconds };
        let statistics = self.write(&out.samples, &outcome, seconds, observer)?;
        observer.event(Event::Step { step: self.state.step, stats: &outcome.stats, seconds });
        Ok(Stepped { step: self.state.step, samples: out.samples, outcome, statistics, seconds })
    }

    /// Writes the files of a finished step, with the checkpoint last, so that it counts as done; returns its line of metrics.
    fn write(
        &mut self,
        samples: &[Sample],
        outcome: &StepOutcome,
        seconds: Seconds,
        observer: &mut impl Observer,
    ) -> Result<Statistics> {
        let step = self.state.step;
        for (name, bytes) in run::rollout_files(step, samples, outcome)? {
            self.store.put(&name, &bytes)?;
        }
        let mut lines = Vec::new();
        for (row, sample) in samples.iter().enumerate() {
            let mut line = serde_json::json!({"step": step, "row": row});
            let fields = serde_json::to_value(sample).map_err(Error::bug)?;
            if let (Some(line), serde_json::Value::Object(fields)) = (line.as_object_mut(), fields) {
                line.extend(fields.into_iter().filter(|(name, _)| !name.ends_with("_ids"))); // ids are in rollouts/
            }
            lines.extend(run::json_line(&line)?);
        }
        self.store.append(run::SAMPLES, &lines)?;
        let statistics = outcome.stats.line.clone();
        // A number that is not finite is left out; in metrics.jsonl it is null.
        let finite = statistics.numbers().filter(|(_, x)| x.is_finite());
        let scalars: Vec<(&str, f32)> = finite.map(|(key, x)| (key, x as f32)).collect();
        let events = tensorboard::scalars(observer.unix_seconds(), step, &scalars);
        self.store.append(&self.events, &events)?;
        self.store.append(run::METRICS, &run::json_line(&statistics)?)?;
        self.store.append(run::TIMINGS, &run::json_line(&timings(step, seconds))?)?;
        self.save()?;
        let warnings = outcome.stats.warnings.iter();
        warnings.for_each(|warning| observer.event(Event::Warning(warning)));
        Ok(statistics)
    }

    /// Writes the checkpoint of the current step, and removes those that are not kept.
    fn save(&mut self) -> Result<()> {
        let step = self.state.step;
        self.store.put_folder(&format!("{}/{}", run::CHECKPOINTS, run::step_name(step)), &self.checkpoint()?)?;
        self.config.prune(&mut self.store, step)
    }

    /// A checkpoint's files: those that PEFT and TRL read, and those for resuming.
    fn checkpoint(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = adapter_files(&self.lab.actor, &self.adapter_config)?;
        let vars: Vec<(String, Var)> = self.lab.actor.policy.trainable();
        let (state, moments) = self.state.save(&vars)?;
        let moments: BTreeMap<String, Tensor> = moments.into_iter().collect();
        files.insert(run::TRAINER_STATE.into(), run::json_bytes(&state)?);
        files.insert(run::ADAM.into(), to_bytes(&moments)?);
        Ok(files)
    }
}

/// Returns a run's folder to its checkpoint of `step`: removes files of later steps, which will be computed again, and older
/// checkpoints and rollouts that are not kept. Returns warnings.
pub fn mend(store: &mut impl Store, config: &RunConfig, step: u64) -> Result<Vec<String>> {
    let told = run::cut_back(store, step)?;
    config.prune(store, step)?;
    let lacks = told.into_iter().filter(|(_, steps)| *steps < step);
    let what = |(file, steps)| {
        format!("{} has lines for {steps} of {step} steps: it was changed, and the others are lost", store.path(file))
    };
    Ok(lacks.map(what).collect())
}

/// Refuses trained weights that are NaN or infinite: training could not continue from such a checkpoint.
fn check_weights(actor: &Actor) -> Result<()> {
    for (name, var) in actor.policy.trainable() {
        if !var.as_tensor().flatten_all()?.to_vec1::<f32>()?.iter().all(|x| x.is_finite()) {
            let hint =
                "lower the learning rate (learning_rate) in a new run; the newest checkpoint is the last good state";
            return Err(Error::not_finite(format!("a weight of {name} after the last update"), hint));
        }
    }
    Ok(())
}

/// Refuses ranks whose trained weights differ: they started from different weights, or their processors compute differently.
fn check_same_weights(actor: &Actor, peers: &Peers) -> Result<()> {
    if peers.size() == 1 {
        return Ok(());
    }
    let mut hash = FNV_START;
    for (_, var) in actor.policy.trainable() {
        for x in var.as_tensor().flatten_all()?.to_vec1::<f32>()? {
            hash = (hash ^ u64::from(x.to_bits())).wrapping_mul(FNV_PRIME);
        }
    }
    let hint = "start all ranks with the same adapter and value head, on processors of one kind (or with the same DETOX_LAB_KERNEL)";
    peers.check_same("checksum of the trained weights", &format!("{hash:016x}"), hint)
}

/// FNV-1a, with numbers of 32 bits instead of bytes.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The trained adapter and value head as files by name: `adapter_config.json`, `adapter_model.safetensors`,
/// `value_head.safetensors`.
pub fn adapter_files(actor: &Actor, config: &AdapterConfig) -> Result<BTreeMap<String, Vec<u8>>> {
    let adapter = PeftAdapter { config: config.clone(), tensors: actor.adapter_tensors(), name: String::new() };
    let mut files = adapter.to_files()?;
    files.insert(run::VALUE_HEAD.into(), to_bytes(&actor.value_head_tensors())?);
    Ok(files)
}

/// Row numbers of a step's batch: every epoch is a new permutation of the data, without its incomplete last batch (TRL's
/// DataLoader: shuffle, drop_last).
fn batch_rows(n: usize, config: &PpoConfig, step: u64) -> Vec<usize> {
    let batches = (n / config.batch_size) as u64;
    let (epoch, batch) = (step / batches, (step % batches) as usize);
    let order = Rng::new(config.seed, Purpose::Shuffle, epoch, 0).permutation(n);
    order[batch * config.batch_size..][..config.batch_size].to_vec()
}

fn check_data(dialogues: &[Dialogue], config: &PpoConfig) -> Result<()> {
    if dialogues.len() >= config.batch_size {
        return Ok(());
    }
    Err(Error::input(
        format!("{} training dialogues are fewer than batch_size = {}", dialogues.len(), config.batch_size),
        "give more data, or a smaller batch_size",
    ))
}

/// A sample as a row of the PPO step. Log-probs from generation are used as the old ones if the step would compute the same
/// numbers again: the whole response is used, and the value head has no dropout.
pub fn row(sample: &Sample, config: &PpoConfig) -> Row {
    let same = config.keep_start_token && config.value_head_dropout == 0.0 && !config.pad_to_batch;
    let generated = same
        .then(|| KeptNumbers { logprobs: sample.generated.logprobs.clone(), values: sample.generated.values.clone() });
    Row {
        query_ids: sample.query_ids.clone(),
        decoder_ids: sample.response_ids.clone(),
        score: sample.reward,
        generated,
    }
}

/// A line of timings.jsonl. Times and the kernel are not in metrics.jsonl, so that a resumed run has the same metrics as an
/// uninterrupted one.
fn timings(step: u64, s: Seconds) -> serde_json::Value {
    serde_json::json!({
        "step": step,
        "time/generate": s.generate,
        "time/score": s.score,
        "time/ppo/total": s.ppo,
        "time/total": s.total,
        "kernel": kernel().name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_dialogue_at_most_once_and_the_next_one_is_shuffled_again() {
        let config = PpoConfig { batch_size: 4, ..PpoConfig::default() };
        let epoch = |e: u64| -> Vec<usize> { (0..2).flat_map(|b| batch_rows(10, &config, e * 2 + b)).collect() };
        let mut first = epoch(0);
        assert_ne!(first, epoch(1));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 8);
    }
}
