//! `train` and `train --resume`: models from arguments or from a run, the lab's trainer, and what to do next.

use super::args::{self, PresetArg};
use super::inputs::{self, Once};
use super::memory::{self, Prompts};
use super::models;
use super::moved::{self, Moved};
use super::run_folder::{RunFolder, unzipped};
use super::shipped::{self, TINY};
use super::terminal::{Terminal, say};
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::disk::Folder;
use crate::io::hub;
use crate::lab::events::Observer;
use crate::lab::models::{Lab, keep_initial};
use crate::lab::run::{self, RunConfig, Store};
use crate::lab::train::{Trainer, mend};
use crate::pace::block_on;
use crate::settings::{PpoConfig, Preset};
use crate::text::dialogue::Dialogue;
use std::path::Path;

/// PPO steps of a run that is not told how many.
const STEPS: u64 = 10;
/// Dropout that a fresh adapter's config names; PPO itself trains without.
const LORA_DROPOUT: f64 = 0.05;

/// Starts or continues a run.
pub fn train(args: &args::Train) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    if args.json {
        terminal.step_json();
    }
    match (&args.resume, &args.out) {
        (Some(path), _) => resume(path, args, &mut terminal),
        (None, out) => start(out.as_deref(), args, &mut terminal),
    }
}

/// Settings from preset, the shipped policy's own where it is trained, and file.
pub fn settings(preset: PresetArg, policy: &str, config: Option<&Path>) -> Result<PpoConfig> {
    let preset = match preset {
        PresetArg::Published => Preset::Published,
        PresetArg::Corrected => Preset::Corrected,
    };
    let base = if policy == TINY { shipped::ppo(preset)? } else { PpoConfig::preset(preset) };
    let Some(path) = config else { return Ok(base) };
    let Once(json) = inputs::json(path, "one JSON object of settings, such as {\"batch_size\": 8}")?;
    for notice in PpoConfig::notices(&json) {
        say(&format!("note: {}: {notice}", path.display()));
    }
    PpoConfig::from_json(base, &json).map_err(|e| match e {
        Error::Input { what, hint } => Error::file(path.display(), what, hint),
        other => other,
    })
}

/// The name of a source in config.json: folders and files by their whole path, so that a run can be resumed from anywhere.
pub fn remembered(src: &str) -> String {
    let path = if src == TINY { None } else { std::fs::canonicalize(hub::local(src)).ok() };
    path.map_or_else(|| src.to_string(), |path| path.display().to_string())
}

/// Begins a run in a folder, or in the next numbered one of `runs/`.
fn start(out: Option<&Path>, args: &args::Train, terminal: &mut Terminal) -> Result<()> {
    let policy = args.policy.as_deref().unwrap_or(TINY);
    let (reward, data) = shipped::companions(policy);
    let adapter = args.adapter.as_deref().or(shipped::adapter(policy)).filter(|src| *src != "fresh");
    let mut ppo = settings(args.preset, policy, args.config.as_deref())?;
    ppo.seed = args.seed.unwrap_or(ppo.seed);
    ppo.validate_run()?;
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        policy: remembered(policy),
        adapter: adapter.map(remembered),
        reward: remembered(args.reward.as_deref().unwrap_or(reward)),
        reward_labels: args.labels.reward_labels.clone(),
        data: remembered(args.data.as_deref().unwrap_or(data)),
        steps: args.steps.unwrap_or(if policy == TINY { shipped::STEPS } else { STEPS }),
        save_every: args.save_every,
        weights: args.held.weights.unwrap_or_default(),
        keep: Some(args.keep),
        keep_rollouts: Some(args.keep_rollouts),
        ppo,
    };
    if config.steps == 0 {
        return Err(Error::input("--steps is 0", "give at least 1"));
    }
    let store = match out {
        Some(path) => RunFolder::create(path, "train")?,
        None => RunFolder::next("train")?,
    };
    let path = &store.root().to_path_buf();
    let wanted = match &config.adapter {
        Some(src) => models::adapter_config(src, terminal)?,
        None => models::fresh_config(&config.policy, &args.fresh, LORA_DROPOUT)?,
    };
    let (dialogues, _) = models::dialogues(&config.data, terminal)?;
    will_fit(&config).ask_ppo(&wanted, &config.ppo, &Prompts::of(&dialogues), terminal)?;
    let mut actor = models::actor(&config.policy, config.weights, config.ppo.seed, terminal)?;
    let adapter = match &config.adapter {
        Some(src) => models::put_adapter(&mut actor, src, true, terminal)?,
        None => models::fresh_adapter(&mut actor, &config.policy, &args.fresh, LORA_DROPOUT, config.ppo.seed)?,
    };
    if let Some(file) = &args.value_head {
        models::put_value_head(&mut actor, file)?;
    }
    actor.policy.value_head.dropout = config.ppo.value_head_dropout as f32;
    keep_initial(&mut actor)?;
    actor.tokenizer()?;
    let judge = models::judge(&config.reward, config.reward_labels.as_ref(), config.weights, terminal)?;
    let now = terminal.unix_seconds();
    let lab = Lab { actor, judge, dialogues };
    let trainer = Trainer::start(&lab, config, adapter, store, now)?;
    run_to_end(trainer, path, terminal)
}

fn resume(path: &Path, args: &args::Train, terminal: &mut Terminal) -> Result<()> {
    let path = &unzipped(path, terminal)?;
    let mut store = RunFolder::open(path)?;
    let mut config = RunConfig::read(&store)?;
    let newest = run::newest_checkpoint(&store)?;
    config.steps = args.steps.unwrap_or(config.steps);
    if config.steps <= newest {
        mend(&mut store, &config, newest)?.iter().for_each(|warning| terminal.line(&format!("warning: {warning}")));
        let what = format!("{} of {} steps are done", newest, config.steps);
        let hint =
            format!("go on with --steps {}, or look at it: detox-lab evaluate --run {}", newest + 10, path.display());
        return Err(Error::file(path.display(), what, hint));
    }
    config.ppo.validate_run()?;
    let now = moved(args);
    let changed = now.put_into(&mut config);
    moved::check_there(&config, &store)?;
    now.check_adapter(&store, terminal)?;
    let adapter = memory::adapter_config(&checkpoint(&store, newest)?)?;
    let (dialogues, _) = models::dialogues(&config.data, terminal)?;
    will_fit(&config).ask_ppo(&adapter, &config.ppo, &Prompts::of(&dialogues), terminal)?;
    let Loaded { lab, adapter } = load_run(&store, &config, newest, true, dialogues, terminal)?;
    if args.policy.is_some() {
        moved::check_weights(&store, &config, &lab.actor)?;
    }
    terminal.line(&format!("going on after step {newest} of {}", config.steps));
    let seconds = terminal.unix_seconds();
    let trainer = Trainer::resume(&lab, config, adapter, store, seconds)?;
    if changed {
        terminal.line("the run's config.json now names the models and data that you gave");
    }
    trainer.warnings.iter().for_each(|warning| terminal.line(&format!("warning: {warning}")));
    run_to_end(trainer, path, terminal)
}

/// What is given beside `--resume`.
fn moved(args: &args::Train) -> Moved<'_> {
    Moved {
        policy: args.policy.as_deref(),
        adapter: args.adapter.as_deref(),
        reward: args.reward.as_deref(),
        labels: args.labels.reward_labels.as_ref(),
        data: args.data.as_deref(),
    }
}

fn run_to_end<S: Store>(mut trainer: Trainer<&Lab, S>, path: &Path, terminal: &mut Terminal) -> Result<()> {
    terminal.steps(trainer.config.steps);
    let shown = path.display();
    match block_on(trainer.run(terminal)) {
        Ok(()) => {
            let newest = format!("{shown}/{}/{}", run::CHECKPOINTS, run::step_name(trainer.step_number()));
            terminal.line(&format!("done: {} steps; the adapter is in {newest}", trainer.step_number()));
            terminal.line(&format!("next: detox-lab evaluate --run {shown}"));
            Ok(())
        }
        Err(Error::Stopped) => {
            terminal.line(&format!(
                "stopped; {} of {} steps are saved. Continue with: detox-lab train --resume {shown}",
                trainer.step_number(),
                trainer.config.steps
            ));
            Err(Error::Stopped)
        }
        Err(error) => {
            // A failed step may have counted itself before its checkpoint could be written.
            let saved = run::newest_checkpoint(&trainer.store).map_or(0, |newest| newest);
            if matches!(error, Error::Input { .. }) {
                // The same settings and random streams: the step would end in the same way again.
                terminal.line(&format!(
                    "the run ended in step {}; the last good state is in {shown}/{}/{}: a new run with other settings can start \
                     from it with --adapter and --value-head",
                    saved + 1,
                    run::CHECKPOINTS,
                    run::step_name(saved)
                ));
                return Err(error);
            }
            terminal.line(&format!(
                "the run ended in step {}; the last good state is the checkpoint of step {saved}. Continue with: detox-lab \
                 train --resume {shown}",
                saved + 1
            ));
            Err(error)
        }
    }
}

/// A run's models, to be asked whether they fit.
pub fn will_fit(config: &RunConfig) -> memory::Models<'_> {
    memory::Models { policy: Some(&config.policy), reward: Some(&config.reward), precision: config.weights }
}

fn checkpoint(store: &dyn ByteSource, step: u64) -> Result<Folder> {
    Folder::open(format!("{}/{}/{}", store.name(), run::CHECKPOINTS, run::step_name(step)))
}

/// A run's models and data.
pub struct Loaded {
    /// Holds the adapter of a checkpoint under `policy` and step 0's under `initial`.
    pub lab: Lab,
    pub adapter: AdapterConfig,
}

/// Loads what a run needs beside its `dialogues`, as it was after `step`.
pub fn load_run(
    store: &dyn ByteSource,
    config: &RunConfig,
    step: u64,
    trainable: bool,
    dialogues: Vec<Dialogue>,
    terminal: &mut Terminal,
) -> Result<Loaded> {
    let mut actor = models::actor(&config.policy, config.weights, config.ppo.seed, terminal)?;
    let (newest, first) = (checkpoint(store, step)?, checkpoint(store, 0)?);
    // What cannot be read has its own message; after that, what fails is that they do not fit the policy.
    for folder in [&newest, &first] {
        PeftAdapter::read(folder)?;
    }
    let adapter =
        actor.go_back(&newest, &first, &config.ppo, trainable).map_err(|e| moved::of_this_run(e, &config.policy))?;
    let judge = models::judge(&config.reward, config.reward_labels.as_ref(), config.weights, terminal)?;
    Ok(Loaded { lab: Lab { actor, judge, dialogues }, adapter })
}
