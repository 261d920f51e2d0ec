//! The command line's words: subcommands, their arguments and help. What they do is in the other files of `cli`.

use super::device::Device;
use super::limits::{MOST, threads, up_to};
use super::memory::Limit;
use super::models::Held;
use super::shipped::TINY;
use crate::lab::models::Labels;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const AFTER: &str = "\
A model argument (SRC) is a folder in Hugging Face layout (config.json with model.safetensors, sharded safetensors or \
pytorch_model.bin), a hub id such as google/flan-t5-base, optionally with @revision, or tiny: the models that ship inside \
this program. The hub's cache, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE=1 are honoured. DETOX_LAB_KERNEL chooses the code for \
matrix products (portable, avx2, avx512, amx, neon), the fastest for this processor by default.

The lab at once, offline, on the tiny models:
  detox-lab train
  detox-lab evaluate --run runs/1 -n 200
  detox-lab compare --run runs/1

The lab with its own models:
  detox-lab finetune --policy google/flan-t5-base --out runs/summary
  detox-lab train --policy google/flan-t5-base --adapter runs/summary/best --out runs/first
  detox-lab train --resume runs/first
  detox-lab evaluate --run runs/first";

/// See and run reinforcement learning from a reward model: FLAN-T5 + LoRA + PPO.
#[derive(Debug, Parser)]
#[command(name = "detox-lab", version, after_help = AFTER, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Threads to compute with; by default every core the process may use
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Memory to plan with, such as 8GB; or unlimited, to load without a forecast [default: what is free]
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<Limit>,
    /// What to compute on; cuda and metal are refused so far
    #[arg(long, global = true, value_enum, default_value = "cpu", hide_possible_values = true)]
    pub device: Device,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at the machine, the hub's cache, models and a run's folder, and say what is wrong and what to do
    Doctor(super::doctor::Arguments),
    /// Show a policy's architecture and how many of its parameters would be trained
    Info(Info),
    /// Summarize dialogues, streaming the text as it is generated
    Summarize(Summarize),
    /// Score texts with the reward model: both logits, both probabilities, score, toxicity
    Score(Score),
    /// Per-token log-probs, values and entropy of given responses
    Logprobs(Logprobs),
    /// Fine-tune a LoRA adapter, or a whole model, on (dialogue, summary) pairs
    Finetune(Box<super::finetune::Arguments>),
    /// Train the adapter with PPO, or continue an interrupted run
    Train(Train),
    /// Toxicity and ROUGE before and after, paired, with a 95 % interval
    Evaluate(Evaluate),
    /// The table of summaries before and after, as text, csv and one HTML file
    Compare(Compare),
    /// Run exactly given PPO steps on given rows, to check against TRL or to study one batch
    Replay(super::replay::Arguments),
    /// Merge an adapter into its base model and save a Hugging Face folder
    Merge(Merge),
    /// Train a reward model on labelled texts, or continue an interrupted training
    TrainReward(Box<super::train_reward::Arguments>),
    /// Train a tokenizer on texts: T5's Unigram or RoBERTa's byte-level BPE
    TrainTokenizer(super::train_tokenizer::Arguments),
}

/// The lab as published, faults included, or corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    Published,
    Corrected,
}

/// Which policy.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// The base model: a T5 or FLAN-T5
    #[arg(long, value_name = "SRC", default_value = TINY)]
    pub policy: String,
    /// The LoRA adapter in PEFT layout, or off for the base model alone [default: tiny with the tiny policy, else off]
    #[arg(long, value_name = "SRC|off")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub held: Held,
}

/// What the reward model's labels mean.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// The names of the reward model's two labels if they are not nothate and hate, the harmless one first
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
    pub held: Held,
}

/// The lab's base model.
pub const LAB_POLICY: &str = "google/flan-t5-base";
/// The lab's reward model.
pub const LAB_REWARD: &str = "facebook/roberta-hate-speech-dynabench-r4-target";
/// The lab's data.
pub const LAB_DATA: &str = "knkarthick/dialogsum";

#[derive(Debug, Args)]
pub struct Info {
    /// The base model: a T5 or FLAN-T5
    #[arg(long, value_name = "SRC", default_value = TINY)]
    pub policy: String,
    /// A LoRA adapter in PEFT layout, or fresh: what a fresh one would hold [default: tiny with the tiny policy, else fresh]
    #[arg(long, value_name = "SRC|fresh")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub fresh: FreshAdapter,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A new LoRA adapter (PEFT's initialisation: A uniform, B zero).
#[derive(Debug, Args, Clone, Serialize, Deserialize)]
pub struct FreshAdapter {
    /// Rank of a fresh adapter
    #[arg(long, value_name = "R", default_value_t = 32, value_parser = up_to::<MOST>)]
    pub lora_r: usize,
    /// Scale of a fresh adapter: the update is multiplied by alpha / r
    #[arg(long, value_name = "ALPHA", default_value_t = 32.0)]
    pub lora_alpha: f64,
    /// Layers that a fresh adapter stands over, by the end of their names
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "q,v")]
    pub lora_targets: Vec<String>,
}

/// A text, or texts or ids a line each.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Input {
    /// The text itself
    #[arg(value_name = "TEXT")]
    pub given: Option<String>,
    /// One text a line; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// The whole file is one text, such as a dialogue with a turn a line; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub dialogue: Option<PathBuf>,
    /// {"ids":[…]} a line; - reads standard input
    #[arg(long, value_name = "FILE.jsonl")]
    pub ids: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Summarize {
    #[command(flatten)]
    pub model: PolicyArgs,
    #[command(flatten)]
    pub input: Input,
    /// Take the texts as whole prompts instead of dialogues to put into the lab's prompt
    #[arg(long)]
    pub raw: bool,
    /// Always take the most likely token instead of sampling
    #[arg(long)]
    pub greedy: bool,
    /// Seed of the sampling; the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Divide logits by this before sampling
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    pub temperature: f32,
    /// Sample among the K most likely tokens only; 0 means all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: usize,
    /// Sample among the most likely tokens that reach this probability together
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f32,
    /// At most so many tokens a summary
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = up_to::<MOST>)]
    pub max_new_tokens: usize,
    /// No end before the decoder holds so many tokens (its start token counts)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_length: usize,
    /// Rows to generate at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = up_to::<MOST>)]
    pub batch_size: usize,
    /// Print JSON: {"rows":[{"response_ids":[…],"text":"…"}]}
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Score {
    #[command(flatten)]
    pub model: RewardArgs,
    #[command(flatten)]
    pub input: Input,
    /// Print JSON: {"rows":[{"logits":{…},"probabilities":{…},"score":…,"toxicity":…}]}
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Logprobs {
    #[command(flatten)]
    pub model: PolicyArgs,
    /// Value head: value_head.safetensors, or a folder that TRL saved; without it no values are printed
    #[arg(long, value_name = "FILE")]
    pub value_head: Option<PathBuf>,
    /// Rows {"query_ids":[…],"response_ids":[…]} or {"query":"…","response":"…"}, one a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub rows: PathBuf,
    /// Print JSON: {"rows":[{"logprobs":[…],"values":[…],"entropy":[…]}]}
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Train {
    /// Continue the run in this folder. Everything but --steps comes from it; if a model or the data has moved, give
    /// its new place with --policy, --adapter, --reward or --data
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "preset", "seed", "weights"])]
    pub resume: Option<PathBuf>,
    /// Folder for the run; it must not hold one already [default: runs/1, or the next number that is free]
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// The base model [default: tiny]
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// The LoRA adapter to train, in PEFT layout, or fresh [default: tiny with the tiny policy, else fresh]
    #[arg(long, value_name = "SRC|fresh")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub fresh: FreshAdapter,
    /// Value head to start from: value_head.safetensors or TRL's file [default: a fresh one]
    #[arg(long, value_name = "FILE")]
    pub value_head: Option<PathBuf>,
    /// The reward model [default: tiny with the tiny policy, else facebook/roberta-hate-speech-dynabench-r4-target]
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// DialogSum: a file, a folder, or a hub data set; or tiny, the dialogues that ship with the program [default: tiny
    /// with the tiny policy, else knkarthick/dialogsum]
    #[arg(long, value_name = "SRC")]
    pub data: Option<String>,
    /// Settings over the preset, as JSON; TRL's PPOConfig names are understood
    #[arg(long, value_name = "FILE.json")]
    pub config: Option<PathBuf>,
    /// The lab as published or corrected
    #[arg(long, value_enum, default_value = "corrected")]
    pub preset: PresetArg,
    /// PPO steps in all [default: 80 with the tiny policy, else 10]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of every random choice [default: 0, or the config's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the checkpoint of every N-th step (the newest is always kept)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub save_every: u64,
    #[command(flatten)]
    pub held: Held,
    /// Keep at most so many of these checkpoints, the newest (and always step 0's)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub keep: u64,
    /// Keep the rollouts of so many steps, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub keep_rollouts: u64,
    /// Print each step's statistics as a line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// A run, or two adapters to compare.
#[derive(Debug, Args)]
pub struct Pair {
    /// A run folder: before is its step 0, after its newest checkpoint
    #[arg(long, value_name = "RUN", required_unless_present = "policy")]
    pub run: Option<PathBuf>,
    /// The base model, instead of a run; with --run: where the run's base model is now
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// With --run: where the adapter that the run started from is now (the run has its own copy of it)
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
    /// Take every row of the file --data, without the lab's length filter and split
    #[arg(long, requires = "data")]
    pub every_row: bool,
    /// At most so many tokens a summary
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = up_to::<MOST>)]
    pub max_new_tokens: usize,
    /// Take the most likely token instead of sampling
    #[arg(long)]
    pub greedy: bool,
    /// Seed of the sampling, the same before and after [default: the run's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The lab as published or corrected [default: the run's settings]
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
    #[command(flatten)]
    pub held: Held,
}

#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    pub pair: Pair,
    /// Dialogues of the test split to evaluate on
    #[arg(long, short, value_name = "N", default_value_t = 100)]
    pub n: usize,
    /// Where to write the evaluation [default: evaluation.json in the run]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Compare {
    #[command(flatten)]
    pub pair: Pair,
    /// Dialogues of the test split to show
    #[arg(long, short, value_name = "N", default_value_t = 20)]
    pub n: usize,
    /// Folder for comparison.csv and comparison.html [default: the run]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Merge {
    /// The base model
    #[arg(long, value_name = "SRC")]
    pub policy: String,
    /// The LoRA adapter to merge, in PEFT layout
    #[arg(long, value_name = "SRC")]
    pub adapter: String,
    /// Folder for the merged model; it must not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
