//! Groups of arguments that several commands share, and the limits of numbers on the command line. A command's own arguments
//! are in its file in `commands`.

use crate::finetuning::reward_model::Balance;
use crate::finetuning::supervised::{Schedule, Settings};
use crate::finetuning::tokenizer::Algorithm;
use crate::io::pretrained::Stored;
use crate::lab::models::{Labels, Precision, Products};
use crate::lab::shipped::TINY;
use crate::settings::Preset;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The largest number of rows, tokens or ranks that makes sense on any machine.
pub const MOST: usize = 1_000_000;

/// A whole number from 1 to `MAX`.
pub fn up_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse::<u128>().ok().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX).contains(n));
    number.ok_or_else(|| format!("give a whole number from 1 to {MAX}"))
}

/// `--threads`: somewhat more threads than cores do no harm; thousands would be slow.
pub fn threads(text: &str) -> Result<usize, String> {
    let has = std::thread::available_parallelism().map_or(1, usize::from);
    let most = has.max(64);
    let wrong = || format!("this machine has {has} cores: give a number from 1 to {most}, or leave --threads out");
    text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(wrong)
}

/// Makes the engine's enums usable as argument values: each value has a name and, if needed, a help text.
macro_rules! values {
    ($($type:ident { $($variant:ident = $name:literal $($help:literal)?),+ })+) => {$(
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(Self::$variant => PossibleValue::new($name)$(.help($help))?,)+
                })
            }
        }
    )+};
}

values! {
    Precision { F32 = "f32", F16 = "f16", Bf16 = "bf16", Q8_0 = "q8_0" }
    Products { F32 = "f32", Bf16 = "bf16" }
    Preset { Published = "published", Corrected = "corrected" }
    Schedule { Constant = "constant", Linear = "linear", Cosine = "cosine" }
    Stored { F32 = "f32", F16 = "f16" }
    Algorithm { Unigram = "unigram", Bpe = "bpe" }
    Balance {
        None = "none" "All rows have the same weight",
        Classes = "classes" "Both classes have the same total weight",
        Sources = "sources" "All files have the same total weight"
    }
}

/// How frozen weights are held in memory, and how products are computed.
#[derive(Debug, Clone, Copy, Args)]
pub struct WeightsArgs {
    /// Number type of frozen weights: f16 and bf16 need half the memory of f32, q8_0 a quarter [default: f32, or the run's]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub weights: Option<Precision>,
    /// What linear layers multiply: bf16 rounds weights (of any --weights), inputs and gradients for each product and sums in
    /// f32; faster on processors with bf16 instructions, less accurate on all [default: f32, or the run's]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub precision: Option<Products>,
}

/// The policy.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// The base model: a T5 or FLAN-T5
    #[arg(long, value_name = "SRC", default_value = TINY)]
    pub policy: String,
    /// The LoRA adapter in PEFT layout, or off for the base model alone [default: tiny with the tiny policy, else off]
    #[arg(long, value_name = "SRC|off")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub held: WeightsArgs,
}

/// What the reward model's labels mean.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// Names of the reward model's two labels, the harmless one first, if they are not nothate and hate
    #[arg(long, value_name = "NOTHATE,HATE")]
    pub reward_labels: Option<Labels>,
}

/// The reward model.
#[derive(Debug, Args)]
pub struct RewardArgs {
    /// The reward model: a RoBERTa classifier with the labels nothate and hate
    #[arg(long, value_name = "SRC", default_value = TINY)]
    pub reward: String,
    #[command(flatten)]
    pub labels: LabelArgs,
    #[command(flatten)]
    pub held: WeightsArgs,
}

/// A new LoRA adapter (PEFT's initialisation: A uniform, B zero).
#[derive(Debug, Args, Clone, Serialize, Deserialize)]
pub struct FreshAdapter {
    /// Rank of a new adapter
    #[arg(long, value_name = "R", default_value_t = 32, value_parser = up_to::<MOST>)]
    pub lora_r: usize,
    /// Scale of a new adapter: its output is multiplied by alpha / r
    #[arg(long, value_name = "ALPHA", default_value_t = 32.0)]
    pub lora_alpha: f64,
    /// Names (or name endings) of the layers that get a new LoRA adapter
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "q,v")]
    pub lora_targets: Vec<String>,
}

/// One text, or a file with one text or one list of ids on each line.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TextInput {
    /// The text itself
    #[arg(value_name = "TEXT")]
    pub given: Option<String>,
    /// File with one text on each line; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// File that is one text, such as a dialogue with one turn on each line; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub dialogue: Option<PathBuf>,
    /// File with {"ids":[…]} on each line; - reads standard input
    #[arg(long, value_name = "FILE.jsonl")]
    pub ids: Option<PathBuf>,
}

/// A run, or two adapters to compare.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// A run folder: "before" is its step 0, "after" is its newest checkpoint
    #[arg(long, value_name = "RUN", required_unless_present = "policy")]
    pub run: Option<PathBuf>,
    /// The base model, if no run is given; with --run: the new location of the run's base model
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// With --run: the new location of the adapter that the run started from (the run has a copy of it)
    #[arg(long, value_name = "SRC", requires = "run")]
    pub adapter: Option<String>,
    /// Adapter before, or off
    #[arg(long, value_name = "SRC|off", default_value = "off", conflicts_with = "run")]
    pub before: String,
    /// Adapter after
    #[arg(long, value_name = "SRC|off", default_value = "off", conflicts_with = "run")]
    pub after: String,
    /// The reward model [default: the run's, or the policy's companion]
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// DialogSum [default: the run's, or the policy's companion]
    #[arg(long, value_name = "SRC")]
    pub data: Option<String>,
    /// Use every row of the file --data, without the lab's length filter and split
    #[arg(long, requires = "data")]
    pub every_row: bool,
    /// Maximum number of new tokens per summary
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = up_to::<MOST>)]
    pub max_new_tokens: usize,
    /// Always take the most likely token instead of sampling
    #[arg(long)]
    pub greedy: bool,
    /// Seed for sampling, used both before and after [default: the run's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The lab as published or corrected [default: the run's settings]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    #[command(flatten)]
    pub held: WeightsArgs,
}

/// The training loop's arguments.
#[derive(Debug, Clone, Args)]
#[group(id = "loop")]
pub struct LoopArgs {
    /// Passes over the training rows; may be a fraction
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    pub epochs: f64,
    /// Rows in one forward and backward pass
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = up_to::<MOST>)]
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one update
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to::<MOST>)]
    pub accumulation: usize,
    /// Adam's highest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Multiply the learning rate of each weight matrix by the matrix's root mean square, as T5 was trained: for new weights,
    /// with a rate of about 1e-2
    #[arg(long)]
    pub relative: bool,
    /// How the learning rate changes after the warm-up
    #[arg(long, value_enum, default_value = "linear")]
    pub schedule: Schedule,
    /// Fraction of all updates over which the learning rate rises from 0
    #[arg(long, value_name = "FRACTION", default_value_t = 0.03)]
    pub warmup: f64,
    /// Maximum norm of an update's gradient, which is scaled down to it; 0 means no maximum
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    pub max_grad_norm: f64,
    /// Updates between evaluations
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub evaluate_every: u64,
    /// Updates between checkpoints
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub save_every: u64,
    /// Updates summarized in one line of metrics
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub log_every: u64,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl LoopArgs {
    /// These arguments as the loop's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulation: self.accumulation,
            learning_rate: self.learning_rate,
            relative: self.relative,
            schedule: self.schedule,
            warmup: self.warmup,
            max_grad_norm: (self.max_grad_norm != 0.0).then_some(self.max_grad_norm),
            evaluate_every: self.evaluate_every,
            save_every: self.save_every,
            log_every: self.log_every,
            seed: self.seed,
        }
    }
}

/// Where a run is started or continued.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Continue the run in this folder, with its settings; if models or data have moved, give their new locations with their
    /// options
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "loop", "what"])]
    pub resume: Option<PathBuf>,
    /// Folder for the run; the trained model is then in its subfolder best/
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    pub out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_are_refused_with_the_allowed_range() {
        assert_eq!(up_to::<MOST>("1000000"), Ok(1_000_000));
        for wrong in ["0", "-1", "1000001", "1000000000000000000000000", "many", ""] {
            assert_eq!(up_to::<MOST>(wrong), Err("give a whole number from 1 to 1000000".into()), "{wrong}");
        }
        assert_eq!((threads("1"), threads("64")), (Ok(1), Ok(64)), "somewhat more than the machine has are accepted");
        for wrong in ["0", "100000", "99999999999999999999999"] {
            assert!(threads(wrong).is_err_and(|said| said.contains("give a number from 1 to")), "{wrong}");
        }
    }
}
