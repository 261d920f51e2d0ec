//! The supervised training loop behind `finetune` and `train-reward`: learning-rate schedule, gradient accumulation, clipping,
//! length-grouped batches, evaluation, keeping the best model, checkpoints and exact resume. A [`Task`] has the rows, their
//! loss and the evaluation.

use crate::error::{Error, Result};
use crate::io::checkpoint::safetensors::to_bytes;
use crate::io::checkpoint::weights;
use crate::io::tensorboard;
use crate::lab::events::{Event, Observer};
use crate::lab::run::{self, Store};
use crate::nn::adam::{Adam, Gradients, Named, clip_factor};
use crate::nn::rng::{Purpose, Rng};
use crate::nn::tape::VarGradients;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// The folder with the best model so far.
pub const BEST: &str = "best";
/// The trained weights of a checkpoint.
const WEIGHTS: &str = "weights.safetensors";
/// Number of batches whose rows are sorted by length together (50 in transformers' LengthGroupedSampler).
const GROUP: usize = 50;

/// How the learning rate changes after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Constant,
    Linear,
    Cosine,
}

impl Schedule {
    /// The factor of the learning rate at `update` (from 0) of `updates`, as in transformers' `get_constant_`, `get_linear_`
    /// and `get_cosine_schedule_with_warmup`.
    pub fn factor(self, update: u64, updates: u64, warmup: u64) -> f64 {
        if update < warmup {
            return update as f64 / warmup.max(1) as f64;
        }
        let done = (update - warmup) as f64 / updates.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - done).max(0.0),
            Self::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0),
        }
    }
}

/// The loop's settings; part of a run's `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Passes over the training rows; may be a fraction.
    pub epochs: f64,
    /// Rows in one forward and backward pass.
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one update.
    pub accumulation: usize,
    /// Adam's highest learning rate.
    pub learning_rate: f64,
    /// Multiply the rate of each variable by the variable's root mean square ([`Adam::relative`]).
    #[serde(default)]
    pub relative: bool,
    pub schedule: Schedule,
    /// Fraction of all updates over which the learning rate rises from 0.
    pub warmup: f64,
    /// Maximum norm of an update's gradient, which is scaled down to it; none: no maximum.
    pub max_grad_norm: Option<f64>,
    /// Updates between evaluations; there is always one after the last update.
    pub evaluate_every: u64,
    /// Updates between checkpoints; there is always one after an evaluation.
    pub save_every: u64,
    /// Updates summarized in one line of metrics.jsonl.
    pub log_every: u64,
    pub seed: u64,
}

impl Settings {
    /// # Errors
    /// An invalid setting, by name.
    pub fn validate(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let wrong = [
            (!positive(self.epochs) || self.epochs > 1e6, "number of epochs", "a number above 0, at most 1000000"),
            (self.batch_size == 0, "batch size", "at least 1"),
            (self.accumulation == 0, "accumulation", "at least 1"),
            (!positive(self.learning_rate), "learning rate", "a number above 0"),
            (!(0.0..1.0).contains(&self.warmup), "warm-up", "a fraction from 0 to below 1"),
            (self.max_grad_norm.is_some_and(|n| !positive(n)), "max grad norm", "a number above 0"),
            (self.evaluate_every == 0, "evaluate-every", "at least 1"),
            (self.save_every == 0, "save-every", "at least 1"),
            (self.log_every == 0, "log-every", "at least 1"),
        ];
        match wrong.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, name, want)) => Err(Error::input(format!("the {name} is out of range"), format!("give {want}"))),
            None => Ok(()),
        }
    }

    /// Batches in one pass over `rows` rows; the last one may be smaller.
    fn batches(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_size) as u64
    }

    /// Total number of updates.
    pub fn updates(&self, rows: usize) -> u64 {
        let batches = (self.epochs * self.batches(rows) as f64).ceil() as u64;
        batches.div_ceil(self.accumulation as u64).max(1)
    }

    /// The rows of a batch. Every pass is a new permutation, sorted by length within [`GROUP`] batches; the batches are
    /// shuffled. So the rows of a batch have similar lengths.
    fn rows(&self, lengths: &[usize], batch: u64) -> Vec<usize> {
        let (pass, at) = (batch / self.batches(lengths.len()), batch % self.batches(lengths.len()));
        let mut order = Rng::new(self.seed, Purpose::Shuffle, pass, 0).permutation(lengths.len());
        for group in order.chunks_mut(self.batch_size.saturating_mul(GROUP)) {
            group.sort_by_key(|row| (lengths[*row], *row));
        }
        let batches: Vec<&[usize]> = order.chunks(self.batch_size).collect();
        let places = Rng::new(self.seed, Purpose::Shuffle, pass, 1).permutation(batches.len());
        batches[places[at as usize]].to_vec()
    }
}

/// A batch's loss.
pub struct BatchLoss {
    /// The sum over the terms.
    pub sum: f64,
    /// The number of terms (tokens or rows): an update uses the gradient of the mean over all its terms.
    pub terms: f64,
    /// Computes the gradients of the sum for the trained variables.
    pub backward: Box<dyn FnOnce() -> Result<VarGradients>>,
}

/// An evaluation of the model.
pub struct EvaluationScore {
    /// Numbers by name, for metrics.jsonl and TensorBoard.
    pub metrics: Vec<(String, f64)>,
    /// The best model has the highest score.
    pub score: f64,
}

/// FNV-1a over ids: shows whether a resumed run has the rows that it started with.
pub fn fingerprint(ids: impl IntoIterator<Item = u32>) -> u64 {
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    ids.into_iter().flat_map(u32::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, byte)
}

/// A model and its data.
pub trait Task {
    /// Number of tokens of each training row.
    fn lengths(&self) -> &[usize];
    /// The [`fingerprint`] of the training rows.
    fn fingerprint(&self) -> u64;
    /// The trained variables by checkpoint name, in a fixed order.
    fn vars(&self) -> Vec<(String, Var)>;
    /// The loss of training rows.
    fn loss(&self, rows: &[usize], dropout: &RefCell<Rng>) -> Result<BatchLoss>;
    /// Measures the model on held-out data.
    fn evaluate(&self, observer: &mut impl Observer) -> impl Future<Output = Result<EvaluationScore>>;
    /// The files of the model by name.
    fn export(&self) -> Result<BTreeMap<String, Vec<u8>>>;
}

/// The state of a run; `trainer_state.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Number of updates done.
    pub step: u64,
    /// The best evaluation so far: its score and its update.
    pub best: Option<(f64, u64)>,
    /// The training rows' [`fingerprint`].
    data: u64,
    /// For the updates since the last line of metrics: loss sum, terms, sum of gradient norms.
    window: (f64, f64, f64),
}

/// A supervised run in progress; it trains the task's variables in place.
pub struct Supervised<'a, T, S> {
    pub task: &'a T,
    pub settings: Settings,
    store: S,
    adam: Adam,
    state: TrainerState,
    /// The update of the newest checkpoint.
    saved: u64,
    events: String,
}

impl<'a, T: Task, S: Store> Supervised<'a, T, S> {
    /// Starts a run: writes `config` to `config.json`, and the checkpoint of step 0.
    pub fn start(task: &'a T, settings: Settings, config: &Value, mut store: S, unix_seconds: f64) -> Result<Self> {
        settings.validate()?;
        if task.lengths().is_empty() {
            return Err(Error::input("there is no training row", "give data with at least one usable row"));
        }
        run::cut_back(&mut store, 0)?; // files of a run that was killed before its first checkpoint
        store.put(run::CONFIG, &run::json_bytes(config)?)?;
        let events = run::begin_events(&mut store, unix_seconds, "detox-lab")?;
        let adam = Adam::new(0.9, 0.999, 1e-8).relative(settings.relative);
        let state = TrainerState { data: task.fingerprint(), ..TrainerState::default() };
        let mut supervised = Self { task, settings, store, adam, state, saved: 0, events };
        supervised.save()?;
        Ok(supervised)
    }

    /// Continues from the newest checkpoint in `store`: puts its weights into the task's variables. Lines after that checkpoint
    /// are dropped and computed again. `config`: the new `config.json`, if it changes.
    pub fn resume(
        task: &'a T,
        settings: Settings,
        config: Option<&Value>,
        mut store: S,
        unix_seconds: f64,
    ) -> Result<Self> {
        settings.validate()?;
        let step = run::newest_checkpoint(&store)?;
        let folder = format!("{}/{}", run::CHECKPOINTS, run::step_name(step));
        let name = format!("{folder}/{}", run::TRAINER_STATE);
        let hint = "remove this checkpoint, then the one before it is used";
        let state: TrainerState =
            serde_json::from_value(store.read_json(&name)?).map_err(|e| Error::file(store.path(&name), e, hint))?;
        if state.data != task.fingerprint() {
            let what = "the training data differs from the data that the run was started with";
            return Err(Error::file(store.name(), what, "restore the data (or its tokenizer), or start a new run"));
        }
        let saved = weights::load_file(&store, &format!("{folder}/{WEIGHTS}"), &|_| true)?;
        let vars = task.vars();
        for (name, var) in &vars {
            let tensor = saved.get(name).filter(|t| t.shape() == var.shape()).ok_or_else(|| {
                let what = format!("no tensor {name} with this model's shape in it");
                Error::file(store.path(&folder), what, "resume with the model that the run was started with")
            })?;
            var.set(tensor)?;
        }
        let moments: HashMap<String, Tensor> =
            weights::load_file(&store, &format!("{folder}/{}", run::ADAM), &|_| true)?;
        let mut adam = Adam::new(0.9, 0.999, 1e-8).relative(settings.relative);
        adam.import(&vars, state.step, &moments)?;
        if let Some(config) = config {
            store.put(run::CONFIG, &run::json_bytes(config)?)?;
        }
        run::cut_back(&mut store, step)?;
        run::remove_steps(&mut store, run::CHECKPOINTS, |old| old >= step)?;
        let events = run::begin_events(&mut store, unix_seconds, &format!("detox-lab.from-{step}"))?;
        Ok(Self { task, settings, store, adam, saved: step, state, events })
    }

    /// Total number of updates.
    pub fn updates(&self) -> u64 {
        self.settings.updates(self.task.lengths().len())
    }

    /// The state of the run.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The update of the newest checkpoint.
    pub fn saved(&self) -> u64 {
        self.saved
    }

    /// Trains to the last update.
    ///
    /// # Errors
    /// [`Error::Stopped`] at a pause point: finished updates are saved, an interrupted evaluation is repeated later. A loss or
    /// gradient that is not finite: the newest checkpoint is the last good state.
    pub async fn run(&mut self, observer: &mut impl Observer) -> Result<()> {
        while self.state.step < self.updates() {
            let rate = match self.update(observer).await {
                Err(Error::Stopped) => {
                    self.save()?; // an interrupted update has not changed the model
                    return Err(Error::Stopped);
                }
                other => other?,
            };
            let (step, s) = (self.state.step, self.settings.clone());
            let last = step == self.updates();
            if step.is_multiple_of(s.log_every) || last {
                self.log(rate, observer)?;
            }
            let evaluating = step.is_multiple_of(s.evaluate_every) || last;
            if evaluating {
                self.evaluate(observer).await?;
            }
            if evaluating || step.is_multiple_of(s.save_every) {
                self.save()?;
            }
        }
        Ok(())
    }

    /// One update; returns its learning rate.
    async fn update(&mut self, observer: &mut impl Observer) -> Result<f64> {
        let vars = self.task.vars();
        let (s, step) = (&self.settings, self.state.step);
        let updates = self.updates();
        let mut gradients = Gradients::default();
        let (mut sum, mut terms) = (0.0, 0.0);
        for k in 0..s.accumulation as u64 {
            observer.pause().await?;
            let batch = step * s.accumulation as u64 + k;
            let rows = s.rows(self.task.lengths(), batch);
            let dropout = RefCell::new(Rng::new(s.seed, Purpose::Dropout, batch, 0));
            let loss = self.task.loss(&rows, &dropout)?;
            if !loss.sum.is_finite() {
                return Err(Error::not_finite(
                    format!("the loss of update {} (rows {rows:?})", step + 1),
                    "lower the learning rate, or check these rows; the newest checkpoint is the last good state",
                ));
            }
            (sum, terms) = (sum + loss.sum, terms + loss.terms);
            gradients.add(Gradients::of((loss.backward)()?, &vars)?)?;
        }
        let norm = gradients.norm(&vars)? / terms;
        let scale = clip_factor(norm, s.max_grad_norm) / terms as f32;
        let warmup = (s.warmup * updates as f64).ceil() as u64;
        // in transformers, the first update of a warm-up has rate 0, because the scheduler steps after the update
        let rate = s.learning_rate * s.schedule.factor(step + u64::from(warmup > 0), updates.max(1) + 1, warmup);
        self.adam.update(&vars, &gradients, scale, rate)?;
        self.state.step += 1;
        let window = &mut self.state.window;
        *window = (window.0 + sum, window.1 + terms, window.2 + norm);
        Ok(rate)
    }

    fn log(&mut self, rate: f64, observer: &mut impl Observer) -> Result<()> {
        let (sum, terms, norms) = std::mem::take(&mut self.state.window);
        let since = match self.state.step % self.settings.log_every {
            0 => self.settings.log_every,
            rest => rest,
        };
        let metrics = [
            ("train/loss", sum / terms),
            ("train/learning_rate", rate),
            ("train/grad_norm", norms / since as f64),
            ("train/epoch", self.epoch()),
        ];
        self.write(&metrics.map(|(name, value)| (name.to_string(), value)), observer)
    }

    /// Number of passes over the data so far.
    fn epoch(&self) -> f64 {
        let batches = self.settings.batches(self.task.lengths().len());
        (self.state.step * self.settings.accumulation as u64) as f64 / batches as f64
    }

    async fn evaluate(&mut self, observer: &mut impl Observer) -> Result<()> {
        let evaluated = self.task.evaluate(observer).await?;
        if !evaluated.score.is_finite() {
            return Err(Error::not_finite(
                format!("the evaluation after update {}", self.state.step),
                "lower the learning rate; the newest checkpoint is the last good state",
            ));
        }
        if self.state.best.is_none_or(|(best, _)| evaluated.score > best) {
            self.state.best = Some((evaluated.score, self.state.step));
            self.store.put_folder(BEST, &self.task.export()?)?;
        }
        self.write(&evaluated.metrics, observer)
    }

    /// Writes a line of metrics.jsonl and TensorBoard's scalars, and informs the observer.
    fn write(&mut self, metrics: &[(String, f64)], observer: &mut impl Observer) -> Result<()> {
        let step = self.state.step;
        let mut line = Map::from_iter([("step".to_string(), Value::from(step))]);
        line.extend(metrics.iter().map(|(name, value)| (name.clone(), json!(value))));
        let scalars: Vec<(&str, f32)> = metrics.iter().map(|(name, value)| (name.as_str(), *value as f32)).collect();
        self.store.append(&self.events, &tensorboard::scalars(observer.unix_seconds(), step, &scalars))?;
        self.store.append(run::METRICS, &run::json_line(&line)?)?;
        observer.event(Event::Update { step, of: self.updates(), metrics });
        Ok(())
    }

    /// Writes the checkpoint of the current update, and removes older ones.
    fn save(&mut self) -> Result<()> {
        let vars = self.task.vars();
        // Adam's moments first, because they are copied twice and should be the only copies in memory
        let moments = to_bytes(&self.adam.export(&vars)?.into_iter().collect())?;
        let files = BTreeMap::from([
            (run::ADAM.to_string(), moments),
            (WEIGHTS.to_string(), to_bytes(&named(&vars))?),
            (run::TRAINER_STATE.to_string(), run::json_bytes(&self.state)?),
        ]);
        let folder = format!("{}/{}", run::CHECKPOINTS, run::step_name(self.state.step));
        self.store.put_folder(&folder, &files)?;
        self.saved = self.state.step;
        run::remove_steps(&mut self.store, run::CHECKPOINTS, |old| old >= self.saved)
    }
}

fn named(vars: &Named) -> BTreeMap<String, Tensor> {
    vars.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
}
