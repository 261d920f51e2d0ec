//! What `finetune` and `train-reward` share: the loop's arguments, starting or continuing its run folder, and the words at
//! its end.

use super::limits::{MOST, up_to};
use super::moved;
use super::run_folder::RunFolder;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::pretrained::Stored;
use crate::lab::events::Observer;
use crate::lab::run::{self, newest_checkpoint};
use crate::lab::supervised::{BEST, Schedule, Settings, Supervised, Task};
use crate::pace::block_on;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How the learning rate moves after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleArg {
    Constant,
    Linear,
    Cosine,
}

/// Numbers of saved weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum StoredArg {
    F32,
    F16,
}

impl From<StoredArg> for Stored {
    fn from(arg: StoredArg) -> Self {
        match arg {
            StoredArg::F32 => Self::F32,
            StoredArg::F16 => Self::F16,
        }
    }
}

/// The training loop's arguments.
#[derive(Debug, Clone, Args)]
#[group(id = "loop")]
pub struct LoopArgs {
    /// Passes over the training rows; a fraction is fine
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    pub epochs: f64,
    /// Rows of one forward and backward pass
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = up_to::<MOST>)]
    pub batch_size: usize,
    /// Batches whose gradients make one update
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to::<MOST>)]
    pub accumulation: usize,
    /// Adam's learning rate at its highest
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Multiply each weight matrix' learning rate by its root mean square, as T5 was trained: for fresh weights, with a rate
    /// of about 1e-2
    #[arg(long)]
    pub relative: bool,
    /// How the learning rate moves after the warm-up
    #[arg(long, value_enum, default_value = "linear")]
    pub schedule: ScheduleArg,
    /// Fraction of all updates over which the learning rate rises from 0
    #[arg(long, value_name = "FRACTION", default_value_t = 0.03)]
    pub warmup: f64,
    /// Scale gradients down to this norm; 0 means never
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    pub max_grad_norm: f64,
    /// Updates between evaluations
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub evaluate_every: u64,
    /// Updates between checkpoints
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub save_every: u64,
    /// Updates that a line of metrics sums up
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub log_every: u64,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl LoopArgs {
    /// As the loop's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulation: self.accumulation,
            learning_rate: self.learning_rate,
            relative: self.relative,
            schedule: match self.schedule {
                ScheduleArg::Constant => Schedule::Constant,
                ScheduleArg::Linear => Schedule::Linear,
                ScheduleArg::Cosine => Schedule::Cosine,
            },
            warmup: self.warmup,
            max_grad_norm: (self.max_grad_norm != 0.0).then_some(self.max_grad_norm),
            evaluate_every: self.evaluate_every,
            save_every: self.save_every,
            log_every: self.log_every,
            seed: self.seed,
        }
    }
}

/// Where a run is begun or continued.
#[derive(Debug, Args)]
pub struct Place {
    /// Continue the run in this folder. Everything comes from it; if models or data have moved, give their new places with
    /// their options
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "loop", "what"])]
    pub resume: Option<PathBuf>,
    /// Folder for the run; its best/ is what was trained
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    pub out: Option<PathBuf>,
}

/// `config.json`; `W` says what is trained, and on what (an argument group called `what`).
#[derive(Serialize, Deserialize)]
struct Config<W> {
    version: String,
    command: String,
    what: W,
    settings: Settings,
}

/// What is trained, and on what.
pub trait What: Serialize + DeserializeOwned {
    /// Puts in where models and data are now, for a run whose sources have moved.
    ///
    /// # Errors
    /// A source that the run does not have.
    fn moved_to(&mut self, given: Self) -> Result<()>;
}

/// Puts a source that was given in the place of the run's.
///
/// # Errors
/// The run has none of this kind.
pub fn replace(option: &str, was: &mut Option<String>, given: Option<String>) -> Result<()> {
    if given.is_some() && was.is_none() {
        return Err(Error::input(format!("this run was started without --{option}"), "leave it out"));
    }
    *was = given.or_else(|| was.take());
    Ok(())
}

/// [`replace`] for several files, of which none or all are given.
///
/// # Errors
/// Fewer or more than the run has.
pub fn replace_all(option: &str, was: &mut Vec<String>, given: Vec<String>) -> Result<()> {
    if !given.is_empty() && given.len() != was.len() {
        let what =
            format!("this run was started with {} values of --{option}, and {} are given", was.len(), given.len());
        return Err(Error::input(what, "give all of them, in the order of the run's config.json"));
    }
    if !given.is_empty() {
        *was = given;
    }
    Ok(())
}

/// Begins or continues a run of `command` and trains to its end; returns the run's folder and what was trained. `training`
/// counts for a new run only, and of `what` only the sources for one that is continued; `task` loads models and data.
pub fn run<W: What, T: Task>(
    command: &str,
    place: &Place,
    what: W,
    training: &LoopArgs,
    terminal: &mut Terminal,
    task: impl Fn(&W, &Settings, &mut Terminal) -> Result<T>,
) -> Result<(PathBuf, T)> {
    if let Some(path) = &place.resume {
        let store = RunFolder::open(path)?;
        let mut config: Config<W> = read_config(&store, command)?;
        let before = json(&config)?;
        config.what.moved_to(what)?;
        let now = json(&config)?;
        moved::check_trained_on(&now["what"], &store)?;
        let Config { what, settings, .. } = config;
        let task = task(&what, &settings, terminal)?;
        let step = newest_checkpoint(&store)?;
        let moved = now != before;
        let trainer = Supervised::resume(&task, settings, moved.then_some(&now), store, terminal.unix_seconds())?;
        if moved {
            terminal.line("the run's config.json now names the models and data that you gave");
        }
        let of = trainer.updates();
        if step >= of {
            let shown = path.display();
            let hint = format!("the best model is in {shown}/{BEST}; start a new run to train longer");
            return Err(Error::file(shown, format!("all {step} updates are done"), hint));
        }
        terminal.line(&format!("going on after update {step} of {of}"));
        to_end(trainer, command, path, terminal)?;
        return Ok((path.clone(), task));
    }
    let path = place.out.as_deref().ok_or_else(|| Error::input("no --out", "give a folder for the run"))?;
    let settings = training.settings();
    settings.validate()?;
    let store = RunFolder::create(path, command)?;
    let task = task(&what, &settings, terminal)?;
    let config =
        Config { version: env!("CARGO_PKG_VERSION").into(), command: command.into(), what, settings: settings.clone() };
    let config = json(&config)?;
    let trainer = Supervised::start(&task, settings, &config, store, terminal.unix_seconds())?;
    to_end(trainer, command, path, terminal)?;
    Ok((path.to_path_buf(), task))
}

fn json(config: &impl Serialize) -> Result<Value> {
    serde_json::to_value(config)
        .map_err(|e| Error::input(e, "this is a bug in detox-lab: please open an issue with this message"))
}

/// Reads the `config.json` of a run that `command` began.
fn read_config<T: DeserializeOwned>(store: &RunFolder, command: &str) -> Result<T> {
    let path = store.path(run::CONFIG);
    let json = store.read_json(run::CONFIG)?;
    let began = json.get("command").and_then(Value::as_str).unwrap_or("train").to_string();
    if began != command {
        let hint = format!("continue it with: detox-lab {began} --resume {}", store.name());
        return Err(Error::file(path, format!("this run was begun by {began}, not by {command}"), hint));
    }
    let hint = "the run's config.json was damaged or written by another version; start a new run";
    serde_json::from_value(json).map_err(|e| Error::file(path, e, hint))
}

fn to_end<T: Task>(
    mut trainer: Supervised<'_, T, RunFolder>,
    command: &str,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<()> {
    let (done, shown) = (block_on(trainer.run(terminal)), path.display());
    let (step, best) = (trainer.state().step, trainer.state().best);
    match done {
        Ok(()) => {
            let at = best.map_or(step, |(_, step)| step);
            terminal.line(&format!("done: {step} updates; the best model (update {at}) is in {shown}/{BEST}"));
        }
        Err(Error::Stopped) => terminal.line(&format!(
            "stopped; {} of {} updates are saved. Continue with: detox-lab {command} --resume {shown}",
            trainer.saved(),
            trainer.updates()
        )),
        Err(_) => terminal.line(&format!(
            "the run ended at update {}; the last good state is the checkpoint of update {}. Continue with: detox-lab \
             {command} --resume {shown}",
            step + 1,
            trainer.saved()
        )),
    }
    done
}
