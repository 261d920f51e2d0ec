//! The native door: arguments in, files and a report out. Work is the lab's; here are the terminal, the disk and the hub.

#![allow(clippy::disallowed_methods, reason = "a native door: files, clock and terminal are its business")]

pub mod allocator;
pub mod args;
mod device;
mod doctor;
mod evaluate;
mod finetune;
mod info;
mod inputs;
mod limits;
mod machine;
mod memory;
mod models;
mod moved;
mod replay;
mod report;
mod run_folder;
mod shipped;
mod signals;
mod supervised;
mod terminal;
mod text;
mod train;
mod train_reward;
mod train_tokenizer;

use crate::error::{Error, Result};
use crate::kernels::choice;
use clap::Parser;
use std::process::ExitCode;

/// Runs the command line; an error is printed here, once.
pub fn main() -> ExitCode {
    let args = args::Cli::parse();
    if computes(&args.command) {
        allocator::restart_with_tunables();
    }
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    use_threads(threads.max(1));
    let kernel = choose_kernel();
    memory::plan_with(args.memory);
    let log = tracing_subscriber::EnvFilter::from_default_env();
    let log = tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr);
    let _ = log.log_internal_errors(false).try_init(); // where nobody reads standard error, work goes on
    let done = kernel.and_then(|()| device::check(args.device)).and_then(|()| command(args.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Stopped) => {
            let (status, signal) = signals::stopped();
            signal.iter().for_each(|name| terminal::say(&format!("stopped by {name}")));
            ExitCode::from(status)
        }
        Err(error) => {
            terminal::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Does this command compute with models?
fn computes(command: &args::Command) -> bool {
    use args::Command::{Doctor, Info, Merge, TrainTokenizer};
    !matches!(command, Doctor(_) | Info(_) | Merge(_) | TrainTokenizer(_))
}

/// Uses the kernel that the environment names, if it names one.
fn choose_kernel() -> Result<()> {
    match std::env::var(choice::VARIABLE) {
        Ok(name) if !name.is_empty() => choice::use_kernel(choice::Kernel::named(&name)?),
        _ => Ok(()),
    }
}

fn command(command: args::Command) -> Result<()> {
    match command {
        args::Command::Doctor(a) => doctor::doctor(&a),
        args::Command::Info(a) => info::info(&a),
        args::Command::Merge(a) => info::merge(&a),
        args::Command::TrainReward(a) => train_reward::train_reward(&a),
        args::Command::TrainTokenizer(a) => train_tokenizer::train_tokenizer(&a),
        args::Command::Summarize(a) => text::summarize(&a),
        args::Command::Score(a) => text::score(&a),
        args::Command::Logprobs(a) => text::logprobs(&a),
        args::Command::Finetune(a) => finetune::finetune(&a),
        args::Command::Train(a) => train::train(&a),
        args::Command::Evaluate(a) => evaluate::evaluate(&a),
        args::Command::Compare(a) => evaluate::compare(&a),
        args::Command::Replay(a) => replay::replay(&a),
    }
}

/// Our own operations and candle's use the same number of threads.
fn use_threads(n: usize) {
    // SAFETY: no other thread runs yet. candle's own pool for small operations spins while it waits, which costs more than
    // it gives as soon as anything else wants the cores; one thread means it is never made.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    // candle asks the machine again at every product unless rayon's pool says how many threads there are.
    crate::lab::models::work_on(n);
}
