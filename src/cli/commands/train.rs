//! `train` and `train --resume`: load the models of the arguments or of a run, train, and say what to do next.

use crate::cli::args::{FreshAdapter, LabelArgs, WeightsArgs};
use crate::cli::launch;
use crate::cli::loading;
use crate::cli::memory;
use crate::cli::run_folder::RunFolder;
use crate::cli::run_sources::{NewLocations, RunModels};
use crate::cli::settings::settings;
use crate::cli::sources::{self, TINY, whole_path};
use crate::cli::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::adapter_config::AdapterConfig;
use crate::lab::events::Observer;
use crate::lab::models::{Lab, keep_initial};
use crate::lab::run::{self, RunConfig, Store};
use crate::lab::same_policy::check_same_policy;
use crate::lab::shipped;
use crate::lab::sources::forecast::{self, Tokens};
use crate::lab::train::{Peers, Trainer, mend};
use crate::pace::block_on;
use crate::settings::Preset;
use crate::text::dialogue::Dialogue;
use crate::text::prompt::prompt;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Continue the run in this folder, with its settings except --steps; if a model or the data has moved, give its new
    /// location with --policy, --adapter, --reward or --data
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "preset", "seed", "weights", "precision"])]
    pub resume: Option<PathBuf>,
    /// Folder for the run; it must not contain one already [default: runs/1, or the next free number]
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// The base model [default: tiny]
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// The LoRA adapter to train, in PEFT layout, or fresh for a new one [default: tiny with the tiny policy, else fresh]
    #[arg(long, value_name = "SRC|fresh")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub fresh: FreshAdapter,
    /// Value head to start from: value_head.safetensors, or the file that TRL saved [default: a new one]
    #[arg(long, value_name = "FILE")]
    pub value_head: Option<PathBuf>,
    /// The reward model [default: tiny with the tiny policy, else facebook/roberta-hate-speech-dynabench-r4-target]
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// DialogSum as a file, a folder or a hub data set; or tiny, the dialogues that ship with the program [default: tiny with
    /// the tiny policy, else knkarthick/dialogsum]
    #[arg(long, value_name = "SRC")]
    pub data: Option<String>,
    /// Settings that replace the preset's, as JSON (docs/settings.md lists them; TRL's PPOConfig names are accepted)
    #[arg(long, value_name = "FILE.json")]
    pub config: Option<PathBuf>,
    /// The lab as published or corrected
    #[arg(long, value_enum, default_value = "corrected")]
    pub preset: Preset,
    /// Total number of PPO steps [default: 80 with the tiny policy, else 10]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of every random choice [default: 0, or the config's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the checkpoint of every N-th step (the newest one is always kept)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub save_every: u64,
    #[command(flatten)]
    pub held: WeightsArgs,
    /// Maximum number of these checkpoints to keep; the oldest are removed (step 0's is always kept)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub keep: u64,
    /// Number of newest steps whose rollouts are kept
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub keep_rollouts: u64,
    /// Print the statistics of each step as a line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Default number of PPO steps.
const STEPS: u64 = 10;
/// Dropout in a new adapter's config; PPO itself trains without it.
const LORA_DROPOUT: f64 = 0.05;
/// How to need less memory.
const LOWER: &str = "lower mini_batch_size, batch_size or output_max_length in --config, or take shorter dialogues";

/// Starts or continues a run.
pub fn run(args: &Arguments, peers: &Peers) -> Result<()> {
    let mut terminal = Terminal::among(peers, args.json)?;
    if args.json {
        terminal.step_json();
    }
    match (&args.resume, &args.out) {
        (Some(path), _) => resume(path, args, peers, &mut terminal),
        (None, out) => start(out.as_deref(), args, peers, &mut terminal),
    }
}

/// Starts a run in a folder, or in the next free number of `runs/`.
fn start(out: Option<&Path>, args: &Arguments, peers: &Peers, terminal: &mut Terminal) -> Result<()> {
    let policy = args.policy.as_deref().unwrap_or(TINY);
    let (reward, data) = sources::companions(policy);
    let adapter = args.adapter.as_deref().or(sources::companion_adapter(policy)).filter(|src| *src != "fresh");
    let mut ppo = settings(args.preset, policy, args.config.as_deref())?;
    ppo.seed = args.seed.unwrap_or(ppo.seed);
    ppo.validate_run()?;
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        policy: whole_path(policy),
        adapter: adapter.map(whole_path),
        reward: whole_path(args.reward.as_deref().unwrap_or(reward)),
        reward_labels: args.labels.reward_labels.clone(),
        data: whole_path(args.data.as_deref().unwrap_or(data)),
        steps: args.steps.unwrap_or(if policy == TINY { shipped::STEPS } else { STEPS }),
        save_every: args.save_every,
        weights: args.held.weights.unwrap_or_default(),
        precision: args.held.precision.unwrap_or_default(),
        keep: Some(args.keep),
        keep_rollouts: Some(args.keep_rollouts),
        ppo,
    };
    if config.steps == 0 {
        return Err(Error::input("--steps is 0", "give at least 1"));
    }
    check_ranks(peers, &config, json!({ "fresh": args.fresh, "value_head": args.value_head }))?;
    let store = RunFolder::start_among(peers, out, "train")?;
    let path = &store.root().to_path_buf();
    loading::use_precision(config.precision, terminal);
    let mut models = RunModels::find(&config, terminal)?;
    let adapter =
        sources::adapter_start(config.adapter.as_deref(), &args.fresh, LORA_DROPOUT, &config.policy, terminal)?;
    let head = args.value_head.as_deref().map(|file| sources::value_head(file).map(|head| (file, head))).transpose()?;
    let dialogues = sources::dialogues(&config.data, false, terminal)?.train;
    check_memory(&mut models, adapter.config(), &config, &dialogues)?;
    let RunModels { policy, reward } = models;
    let mut actor = policy.load(config.weights, config.ppo.seed)?;
    let adapter = loading::put_adapter(adapter, config.adapter.as_deref(), &mut actor, config.ppo.seed, terminal)?;
    if let Some((file, head)) = &head {
        loading::put_value_head(&mut actor, head, file)?;
    }
    let labels = config.reward_labels.as_ref();
    let judge = loading::load_reward(reward, &config.reward, config.weights, labels, terminal)?;
    actor.policy.value_head.dropout = config.ppo.value_head_dropout as f32;
    keep_initial(&mut actor)?;
    actor.tokenizer()?;
    let now = terminal.unix_seconds();
    let lab = Lab { actor, judge, dialogues };
    let trainer = Trainer::start(&lab, config, adapter, store, now)?;
    run_to_end(trainer, path, peers, terminal)
}

/// Refuses ranks that were started differently, or that are more than the rows of a mini-batch.
fn check_ranks(peers: &Peers, config: &RunConfig, more: serde_json::Value) -> Result<()> {
    launch::check_same_settings(peers, &json!({ "run": config, "start": more }))?;
    peers.check_rows(config.ppo.mini_batch_size, "mini_batch_size")
}

/// Refuses a run that does not fit in memory.
fn check_memory(
    models: &mut RunModels,
    adapter: &AdapterConfig,
    config: &RunConfig,
    dialogues: &[Dialogue],
) -> Result<()> {
    let tokenizer = models.policy.find_tokenizer()?;
    let prompt = forecast::longest(dialogues.iter().map(|d| prompt(&d.dialogue)), tokenizer)?;
    let (ppo, precision) = (&config.ppo, config.weights);
    let tokens = Tokens { prompt, response: forecast::longest_response(ppo) };
    let needed = forecast::ppo(&models.policy, Some(&models.reward), adapter, ppo, tokens, precision);
    memory::check(&needed, precision, LOWER)
}

/// Continues the run in a folder.
fn resume(path: &Path, args: &Arguments, peers: &Peers, terminal: &mut Terminal) -> Result<()> {
    let mut store = RunFolder::open_among(peers, path, terminal)?;
    let path = &store.root().to_path_buf();
    let mut config = RunConfig::read(&store)?;
    let newest = run::newest_checkpoint(&store)?;
    config.steps = args.steps.unwrap_or(config.steps);
    if config.steps <= newest {
        mend(&mut store, &config, newest)?.iter().for_each(|warning| terminal.line(&format!("warning: {warning}")));
        let what = format!("{} of {} steps are done", newest, config.steps);
        let hint = format!(
            "continue with --steps {}, or evaluate it: detox-lab evaluate --run {}",
            newest + 10,
            path.display()
        );
        return Err(Error::file(path.display(), what, hint));
    }
    config.ppo.validate_run()?;
    check_ranks(peers, &config, json!({ "checkpoint": newest }))?;
    let now = NewLocations {
        policy: args.policy.as_deref(),
        adapter: args.adapter.as_deref(),
        reward: args.reward.as_deref(),
        labels: args.labels.reward_labels.as_ref(),
        data: args.data.as_deref(),
    };
    loading::use_precision(config.precision, terminal);
    let (changed, saved) = now.apply(&mut config, &store, newest, terminal)?;
    let dialogues = sources::dialogues(&config.data, false, terminal)?.train;
    let mut models = RunModels::find(&config, terminal)?;
    check_memory(&mut models, &saved.adapter.config, &config, &dialogues)?;
    let (actor, judge, adapter) = models.load(saved, &config, true, terminal)?;
    let lab = Lab { actor, judge, dialogues };
    if args.policy.is_some() {
        check_same_policy(&store, &config, &lab.actor, "give the policy of this run with --policy")?;
    }
    terminal.line(&format!("continuing after step {newest} of {}", config.steps));
    let seconds = terminal.unix_seconds();
    let trainer = Trainer::resume(&lab, config, adapter, store, seconds)?;
    if changed {
        terminal.line("the run's config.json now names the models and data that you gave");
    }
    trainer.warnings.iter().for_each(|warning| terminal.line(&format!("warning: {warning}")));
    run_to_end(trainer, path, peers, terminal)
}

fn run_to_end<S: Store>(
    mut trainer: Trainer<&Lab, S>,
    path: &Path,
    peers: &Peers,
    terminal: &mut Terminal,
) -> Result<()> {
    if let Some(warning) = trainer.config.ppo.schedule_warning(trainer.config.steps) {
        terminal.line(&format!("warning: {warning}"));
    }
    terminal.steps(trainer.config.steps);
    let shown = path.display();
    match block_on(trainer.run(peers, terminal)) {
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
            // The trainer may have counted a failed step before writing its checkpoint.
            let saved = run::newest_checkpoint(&trainer.store).unwrap_or(0);
            if matches!(error, Error::Input { .. }) {
                // With the same settings and random streams the step would fail again.
                terminal.line(&format!(
                    "the run failed in step {}; the last good state is in {shown}/{}/{}: a new run with other settings can start \
                                         from it with --adapter and --value-head",
                    saved + 1,
                    run::CHECKPOINTS,
                    run::step_name(saved)
                ));
                return Err(error);
            }
            terminal.line(&format!(
                "the run failed in step {}; the last good state is the checkpoint of step {saved}. Continue with: detox-lab \
                                 train --resume {shown}",
                saved + 1
            ));
            Err(error)
        }
    }
}
