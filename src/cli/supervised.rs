//! What `finetune` and `train-reward` share: starting or continuing a run, and the lines printed at the end.

use super::args::{LoopArgs, RunArgs};
use super::run_folder::RunFolder;
use super::run_sources;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::finetuning::supervised::{BEST, Settings, Supervised, Task};
use crate::io::ByteSource;
use crate::lab::events::Observer;
use crate::lab::run::{self, newest_checkpoint};
use crate::pace::block_on;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `config.json`; `W`: the argument group `what` (what is trained, and on what).
#[derive(Serialize, Deserialize)]
struct Config<W> {
    version: String,
    command: String,
    what: W,
    settings: Settings,
}

/// What is trained, and on what.
pub trait Sources: Serialize + DeserializeOwned {
    /// Puts in the new locations of models and data.
    ///
    /// # Errors
    /// A source that the run does not have.
    fn replace_by(&mut self, given: Self) -> Result<()>;
}

/// Replaces the run's source by the given one.
///
/// # Errors
/// The run has no such source.
pub fn replace(option: &str, was: &mut Option<String>, given: Option<String>) -> Result<()> {
    if given.is_some() && was.is_none() {
        return Err(Error::input(format!("this run was started without --{option}"), "leave it out"));
    }
    *was = given.or_else(|| was.take());
    Ok(())
}

/// [`replace`] for several files; either none or all are given.
///
/// # Errors
/// Fewer or more than the run has.
pub fn replace_all(option: &str, was: &mut Vec<String>, given: Vec<String>) -> Result<()> {
    if !given.is_empty() && given.len() != was.len() {
        let what =
            format!("this run was started with {} values of --{option}, but {} are given", was.len(), given.len());
        return Err(Error::input(what, "give all of them in the order of the run's config.json"));
    }
    if !given.is_empty() {
        *was = given;
    }
    Ok(())
}

/// Starts or continues a run of `command` and trains to its end; returns the run's folder and what was trained. When a run is
/// continued, `training` is not used, and `what` only for its sources. `task` loads models and data.
pub fn run<W: Sources, T: Task>(
    command: &str,
    place: &RunArgs,
    what: W,
    training: &LoopArgs,
    terminal: &mut Terminal,
    task: impl Fn(&W, &Settings, &mut Terminal) -> Result<T>,
) -> Result<(PathBuf, T)> {
    if let Some(path) = &place.resume {
        let store = RunFolder::open(path)?;
        let mut config: Config<W> = read_config(&store, command)?;
        let before = json(&config)?;
        config.what.replace_by(what)?;
        let now = json(&config)?;
        run_sources::check_exist_in(&now["what"], &store)?;
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
        terminal.line(&format!("continuing after update {step} of {of}"));
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
    serde_json::to_value(config).map_err(Error::bug)
}

/// Reads the `config.json` of a run that `command` started.
fn read_config<T: DeserializeOwned>(store: &RunFolder, command: &str) -> Result<T> {
    let path = store.path(run::CONFIG);
    let json = store.read_json(run::CONFIG)?;
    let began = json.get("command").and_then(Value::as_str).unwrap_or("train").to_string();
    if began != command {
        let hint = format!("continue it with: detox-lab {began} --resume {}", store.name());
        return Err(Error::file(path, format!("this run was started by {began}, not by {command}"), hint));
    }
    let hint = "config.json is damaged or was written by another version: start a new run";
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
            "the run failed in update {}; the last good state is the checkpoint of update {}. Continue with: detox-lab \
                         {command} --resume {shown}",
            step + 1,
            trainer.saved()
        )),
    }
    done
}
