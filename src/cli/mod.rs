//! The command line. `lab` does the work; this module handles the terminal, the disk and the hub. `commands` has one file for
//! each command, with its arguments and what it does.

#![allow(clippy::disallowed_methods, reason = "the command line uses files, clock and terminal")]

pub mod allocator;
mod args;
mod commands;
mod comparison;
mod hardware;
mod inputs;
mod launch;
mod loading;
mod memory;
mod report;
mod run_folder;
mod run_sources;
mod settings;
mod signals;
mod sources;
mod supervised;
mod terminal;

use crate::error::{Error, Result};
use crate::kernels::choice;
use crate::lab::train::Peers;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

const AFTER: &str = "\
A model argument (SRC) is a folder in Hugging Face layout (config.json with model.safetensors, sharded safetensors or \
pytorch_model.bin), a hub id such as google/flan-t5-base, optionally with @revision, or tiny: the models that ship inside \
this program. The hub's cache, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE=1 are used. DETOX_LAB_KERNEL chooses the code for matrix \
products (portable, avx2, avx512, avx512bf16, amx, neon); the default is the fastest one for this processor.

Try the lab offline, on the tiny models:
  detox-lab train
  detox-lab evaluate --run runs/1 -n 200
  detox-lab compare --run runs/1

Run the lab with its full-size models:
  detox-lab finetune --policy google/flan-t5-base --out runs/summary
  detox-lab train --policy google/flan-t5-base --adapter runs/summary/best --out runs/first
  detox-lab train --resume runs/first
  detox-lab evaluate --run runs/first";

/// See and run reinforcement learning from a reward model: FLAN-T5 + LoRA + PPO.
#[derive(Debug, Parser)]
#[command(name = "detox-lab", version, after_help = AFTER, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Number of threads [default: all cores that the process may use]
    #[arg(long, global = true, display_order = 100, value_name = "N", value_parser = args::threads)]
    threads: Option<usize>,
    /// Memory that may be used, such as 8GB; unlimited skips the check [default: the free memory]
    #[arg(long, global = true, display_order = 101, value_name = "SIZE")]
    memory: Option<memory::Limit>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the machine, the hub's cache, models and a run's folder, and print what is wrong and what to do
    Doctor(commands::doctor::Arguments),
    /// Show a policy's architecture and how many of its parameters would be trained
    Info(commands::info::Arguments),
    /// Summarize dialogues, and print the text while it is generated
    Summarize(commands::summarize::Arguments),
    /// Score texts with the reward model: both logits, both probabilities, score, toxicity
    Score(commands::score::Arguments),
    /// Print log-probs, values and entropy of given responses, token by token
    Logprobs(commands::logprobs::Arguments),
    /// Fine-tune a LoRA adapter, or a whole model, on (dialogue, summary) pairs
    Finetune(Box<commands::finetune::Arguments>),
    /// Train the adapter with PPO, or continue an interrupted run
    Train(commands::train::Arguments),
    /// Measure toxicity and ROUGE before and after training, with the 95 % interval of the paired difference
    Evaluate(commands::evaluate::Arguments),
    /// Make a table of summaries before and after training, as text, csv and one HTML file
    Compare(commands::compare::Arguments),
    /// Run PPO steps on given rows, to compare with TRL or to study one batch
    Replay(commands::replay::Arguments),
    /// Merge an adapter into its base model and save a Hugging Face folder
    Merge(commands::merge::Arguments),
    /// Write a policy or a reward model as one GGUF file, in q8_0 or f16
    Quantize(commands::quantize::Arguments),
    /// Train a reward model on labelled texts, or continue an interrupted training
    TrainReward(Box<commands::train_reward::Arguments>),
    /// Train a tokenizer on texts: T5's Unigram or RoBERTa's byte-level BPE
    TrainTokenizer(commands::train_tokenizer::Arguments),
}

/// Runs the command line and prints an error, if there is one.
pub fn main() -> ExitCode {
    let args = Cli::parse();
    if computes(&args.command) {
        allocator::restart_with_tunables();
    }
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    use_threads(threads.max(1));
    let kernel = choose_kernel();
    memory::plan_with(args.memory);
    let log = tracing_subscriber::EnvFilter::from_default_env();
    let log = tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr);
    let _ = log.log_internal_errors(false).try_init(); // if standard error is closed, work continues
    let peers = launch::connect(divided(&args.command));
    // If one rank fails, all end with its error, and rank 0 prints it.
    let done = peers.as_ref().map_err(Clone::clone).and_then(|p| p.agree(kernel.and_then(|()| run(args.command, p))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Stopped) => {
            let (status, signal) = signals::stopped();
            let others = peers.as_ref().is_ok_and(|peers| peers.size() > 1);
            match signal {
                Some(name) => terminal::say(&format!("stopped by {name}")),
                None if others && launch::is_first() => terminal::say("stopped: another rank received a signal"),
                None => {}
            }
            ExitCode::from(if others { signals::ended_by_another(status) } else { status })
        }
        Err(error) => {
            if launch::is_first() {
                terminal::say(&format!("error: {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// The command's name, and whether it can be divided among the ranks of a run.
fn divided(command: &Command) -> (&'static str, bool) {
    match command {
        Command::Train(_) => ("train", true),
        Command::Evaluate(_) => ("evaluate", true),
        Command::Compare(_) => ("compare", false),
        Command::Doctor(_) => ("doctor", false),
        Command::Finetune(_) => ("finetune", false),
        Command::Info(_) => ("info", false),
        Command::Logprobs(_) => ("logprobs", false),
        Command::Merge(_) => ("merge", false),
        Command::Quantize(_) => ("quantize", false),
        Command::Replay(_) => ("replay", false),
        Command::Score(_) => ("score", false),
        Command::Summarize(_) => ("summarize", false),
        Command::TrainReward(_) => ("train-reward", false),
        Command::TrainTokenizer(_) => ("train-tokenizer", false),
    }
}

/// Whether this command computes with models.
fn computes(command: &Command) -> bool {
    use Command::{Doctor, Info, Merge, Quantize, TrainTokenizer};
    !matches!(command, Doctor(_) | Info(_) | Merge(_) | Quantize(_) | TrainTokenizer(_))
}

/// Uses the kernel that the environment variable names, if it is set.
fn choose_kernel() -> Result<()> {
    match std::env::var(choice::VARIABLE) {
        Ok(name) if !name.is_empty() => choice::use_kernel(choice::Kernel::named(&name)?),
        _ => Ok(()),
    }
}

fn run(command: Command, peers: &Peers) -> Result<()> {
    match command {
        Command::Doctor(a) => commands::doctor::run(&a),
        Command::Info(a) => commands::info::run(&a),
        Command::Summarize(a) => commands::summarize::run(&a),
        Command::Score(a) => commands::score::run(&a),
        Command::Logprobs(a) => commands::logprobs::run(&a),
        Command::Finetune(a) => commands::finetune::run(&a),
        Command::Train(a) => commands::train::run(&a, peers),
        Command::Evaluate(a) => commands::evaluate::run(&a, peers),
        Command::Compare(a) => commands::compare::run(&a),
        Command::Replay(a) => commands::replay::run(&a),
        Command::Merge(a) => commands::merge::run(&a),
        Command::Quantize(a) => commands::quantize::run(&a),
        Command::TrainReward(a) => commands::train_reward::run(&a),
        Command::TrainTokenizer(a) => commands::train_tokenizer::run(&a),
    }
}

/// Uses `n` threads for our operations and candle's.
fn use_threads(n: usize) {
    // SAFETY: no other thread runs yet. One thread means that candle does not create its pool for small operations, whose busy
    // waiting costs more than it gains when other work needs the cores.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    // Without rayon's number of threads, candle asks the system for it at every matrix product.
    crate::lab::models::work_on(n);
}
