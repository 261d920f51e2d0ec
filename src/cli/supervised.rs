//! What `finetune` and `train-reward` share: starting or continuing a run, and the lines printed at the end.

use super::args::{LoopArgs, RunArgs};
use super::run_folder::RunFolder;
use super::run_sources;
use super::sources::whole_path;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::finetuning::supervised::{BEST, Settings, Supervised, Task};
use crate::lab::events::Observer;
use crate::lab::run::{newest_checkpoint, read_config};
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
pub trait Inputs: Serialize + DeserializeOwned {
    /// The option and the place of every model and data file, which may have moved when a run is continued.
    fn sources(&mut self) -> Vec<(&'static str, Source<'_>)>;

    /// Names in a run that is continued what it took by default, where `given` names it.
    fn name_defaults(&mut self, _given: &Self) {}
}

/// The value of an option that names files, folders or ids of the hub.
pub enum Source<'a> {
    One(&'a mut Option<String>),
    Many(&'a mut Vec<String>),
}

/// Every folder and file by its whole path, so that the run can be resumed from anywhere.
fn with_whole_paths<I: Inputs>(mut inputs: I) -> I {
    for (_, source) in inputs.sources() {
        match source {
            Source::One(one) => one.iter_mut().for_each(|src| *src = whole_path(src)),
            Source::Many(many) => many.iter_mut().for_each(|src| *src = whole_path(src)),
        }
    }
    inputs
}

/// Puts the sources that were given in the place of the run's.
///
/// # Errors
/// The run has none of this kind, or has fewer or more.
fn replace<I: Inputs>(run: &mut I, mut given: I) -> Result<()> {
    run.name_defaults(&given);
    for ((option, was), (_, given)) in run.sources().into_iter().zip(given.sources()) {
        match (was, given) {
            (Source::One(None), Source::One(Some(_))) => {
                return Err(Error::input(format!("this run was started without --{option}"), "leave it out"));
            }
            (Source::One(was), Source::One(given @ Some(_))) => *was = given.take(),
            (Source::Many(was), Source::Many(given)) if !given.is_empty() => {
                if given.len() != was.len() {
                    let (had, has) = (was.len(), given.len());
                    let what = format!("this run was started with {had} values of --{option}, and {has} are given");
                    return Err(Error::input(what, "give all of them, in the order of the run's config.json"));
                }
                *was = std::mem::take(given);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Starts or continues a run of `command` and trains to its end; returns the run's folder and what was trained. When a run is
/// continued, `training` is not used, and `what` only for its sources. `task` loads models and data.
pub fn run<W: Inputs, T: Task>(
    command: &str,
    place: &RunArgs,
    what: W,
    training: &LoopArgs,
    terminal: &mut Terminal,
    task: impl Fn(&W, &Settings, &mut Terminal) -> Result<T>,
) -> Result<(PathBuf, T)> {
    let what = with_whole_paths(what);
    if let Some(path) = &place.resume {
        let store = RunFolder::open(path)?;
        let mut config: Config<W> = read_config(&store, command)?;
        let before = json(&config)?;
        replace(&mut config.what, what)?;
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
