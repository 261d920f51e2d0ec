//! `finetune`: trains a policy, or an adapter for it, on (dialogue, summary) pairs. The training is in `finetuning::finetune`.

use crate::cli::args::{FreshAdapter, LoopArgs, MOST, RunArgs, up_to};
use crate::cli::sources::{self, LAB_DATA, LAB_POLICY};
use crate::cli::supervised::{self, Inputs, Source};
use crate::cli::terminal::Terminal;
use crate::cli::{inputs, loading, memory};
use crate::error::{Error, Result};
use crate::finetuning::finetune::{Finetune, FinetuneSettings, Trained};
use crate::finetuning::fresh_policy::fresh_policy;
use crate::finetuning::supervised::Settings;
use crate::io::disk::Folder;
use crate::io::pretrained::{Stored, tokenizer_files};
use crate::lab::models::{Actor, Precision, Products};
use crate::lab::sources::forecast::{self, Tokens};
use crate::text::dialogue::{Dialogue, Split};
use clap::Args;
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use std::path::Path;

const COMMAND: &str = "finetune";

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub place: RunArgs,
    #[command(flatten)]
    pub what: FinetuneInputs,
    #[command(flatten)]
    pub training: LoopArgs,
}

/// Models and data; they may have moved when a run is continued.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[group(id = "sources")]
pub struct FinetuneSources {
    /// The model to start from: a T5 or FLAN-T5 [default: google/flan-t5-base]
    #[arg(long, value_name = "SRC", conflicts_with_all = ["model_config", "tokenizer"])]
    pub policy: Option<String>,
    /// Start from new weights for this config.json instead (T5's initialisation); every parameter is trained
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    pub model_config: Option<String>,
    /// Folder of the new model's tokenizer
    #[arg(long, value_name = "DIR", requires = "model_config")]
    pub tokenizer: Option<String>,
    /// The LoRA adapter to start from, in PEFT layout [default: a new one]
    #[arg(long, value_name = "SRC", conflicts_with_all = ["full", "model_config"])]
    pub adapter: Option<String>,
    /// Pairs to train on: a jsonl or csv file with dialogue and summary (every row is used), or DialogSum's folder or hub id
    /// (the lab's training split is used); may be repeated [default: knkarthick/dialogsum]
    #[arg(long, value_name = "SRC")]
    pub data: Vec<String>,
    /// File with pairs to evaluate on [default: the data's validation part, or its last 100 rows]
    #[arg(long, value_name = "FILE")]
    pub validation: Option<String>,
}

/// What is trained, and on what.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[group(id = "what")]
pub struct FinetuneInputs {
    #[command(flatten)]
    #[serde(flatten)]
    pub sources: FinetuneSources,
    /// Initialise attention weights like those of trained models: the model learns to copy from far fewer examples
    #[arg(long, requires = "model_config")]
    #[serde(default)]
    pub mimetic: bool,
    /// Train every parameter of --policy and save a whole model, instead of a LoRA adapter
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub fresh: FreshAdapter,
    /// Dropout on a new adapter's input
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub lora_dropout: f64,
    /// Maximum number of rows to evaluate the loss on
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub validation_rows: usize,
    /// Number of validation rows to measure ROUGE on, with greedy decoding; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rouge_rows: usize,
    /// Label smoothing
    #[arg(long, value_name = "E", default_value_t = 0.1)]
    pub label_smoothing: f32,
    /// Dropout [default: the model's]
    #[arg(long, value_name = "P")]
    pub dropout: Option<f32>,
    /// Maximum prompt length in tokens; longer dialogues are cut
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = up_to::<MOST>)]
    pub max_source: usize,
    /// Maximum summary length in tokens
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = up_to::<MOST>)]
    pub max_target: usize,
    /// Number type of the frozen weights under an adapter: f16 and bf16 need half the memory of f32, q8_0 a quarter
    /// [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    #[serde(default)]
    pub weights: Option<Precision>,
    /// What linear layers multiply: bf16 rounds weights (of any --weights), inputs and gradients for each product and sums in
    /// f32; faster on processors with bf16 instructions, less accurate on all [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    #[serde(default)]
    pub precision: Option<Products>,
    /// Number type of the saved weights
    #[arg(long, value_enum, default_value = "f32")]
    pub save_as: Stored,
}

/// Starts or continues fine-tuning.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(false)?;
    supervised::run(COMMAND, &args.place, args.what.clone(), &args.training, &mut terminal, task).map(drop)
}

impl Inputs for FinetuneInputs {
    fn sources(&mut self) -> Vec<(&'static str, Source<'_>)> {
        let s = &mut self.sources;
        vec![
            ("policy", Source::One(&mut s.policy)),
            ("model-config", Source::One(&mut s.model_config)),
            ("tokenizer", Source::One(&mut s.tokenizer)),
            ("adapter", Source::One(&mut s.adapter)),
            ("data", Source::Many(&mut s.data)),
            ("validation", Source::One(&mut s.validation)),
        ]
    }

    fn name_defaults(&mut self, given: &Self) {
        let (was, given) = (&mut self.sources, &given.sources);
        if given.policy.is_some() && was.policy.is_none() && was.model_config.is_none() {
            was.policy = Some(LAB_POLICY.into());
        }
        if was.data.is_empty() && !given.data.is_empty() {
            was.data = vec![LAB_DATA.into()];
        }
    }
}

fn task(what: &FinetuneInputs, training: &Settings, terminal: &mut Terminal) -> Result<Finetune> {
    loading::use_precision(what.precision.unwrap_or_default(), terminal);
    let (actor, trained) = model(what, training, terminal)?;
    let settings = FinetuneSettings {
        label_smoothing: what.label_smoothing,
        dropout: what.dropout.unwrap_or(actor.policy.t5.config.dropout_rate),
        max_source: what.max_source,
        max_target: what.max_target,
        rouge_rows: what.rouge_rows,
        stored: what.save_as,
    };
    let (rows, validation) = data(what, terminal)?;
    let task = Finetune::new(actor, trained, settings, &rows, &validation, training.batch_size)?;
    terminal.line(&format!(
        "{} training rows, {} validation dialogues, {} parameters to train",
        rows.len(),
        validation.len(),
        HumanCount(task.trainable_parameters() as u64),
    ));
    if task.cut() > 0 {
        let (cut, of) = (task.cut(), what.max_source);
        terminal.line(&format!(
            "note: {cut} training pairs have a prompt longer than {of} tokens (--max-source); it is cut"
        ));
    }
    Ok(task)
}

/// The model, and which part of it is trained. Before loading anything, refuses a number type for weights that are trained, and
/// anything that needs too much memory.
fn model(what: &FinetuneInputs, training: &Settings, terminal: &mut Terminal) -> Result<(Actor, Trained)> {
    let (precision, seed) = (what.weights.unwrap_or_default(), training.seed);
    if precision != Precision::F32 && (what.full || what.sources.model_config.is_some()) {
        let what = format!("--weights {} is for frozen weights, and here all weights are trained", precision.name());
        return Err(Error::input(
            what,
            "leave --weights out, or train an adapter: leave --full and --model-config out",
        ));
    }
    if let (Some(file), Some(tokenizer)) = (&what.sources.model_config, &what.sources.tokenizer) {
        // No forecast: models with new weights are small.
        let json: serde_json::Value = inputs::json(Path::new(file), "the config.json of a T5")?;
        let tokenizer = Folder::open(tokenizer)?;
        let (actor, vars) = fresh_policy(file, &json, &tokenizer, what.mimetic, seed)?;
        return Ok((actor, Trained::Model { vars, config: json, tokenizer: tokenizer_files(&tokenizer)? }));
    }
    let src = what.sources.policy.as_deref().unwrap_or(LAB_POLICY);
    let given = what.sources.adapter.as_deref();
    let adapter = match what.full {
        true => None,
        false => Some(sources::adapter_start(given, &what.fresh, what.lora_dropout, src, terminal)?),
    };
    let policy = sources::policy(src, terminal)?;
    let tokens = Tokens { prompt: what.max_source, response: what.max_target };
    let config = adapter.as_ref().map(|adapter| adapter.config());
    let needed = forecast::finetune(&policy, config, training.batch_size, tokens, precision);
    memory::check(&needed, precision, "lower --batch-size (and raise --accumulation), --max-source or --max-target")?;
    let Some(adapter) = adapter else {
        let (config, tokenizer) = (policy.json.clone(), tokenizer_files(policy.source())?);
        let (actor, vars) = policy.load_trainable(seed)?;
        return Ok((actor, Trained::Model { vars, config, tokenizer }));
    };
    let mut actor = policy.load(precision, seed)?;
    let adapter = loading::put_adapter(adapter, given, &mut actor, seed, terminal)?;
    Ok((actor, Trained::Adapter(Box::new(adapter))))
}

/// Number of rows that are held out for validation if no validation data is given.
const HELD_OUT: usize = 100;

/// Training and validation rows.
fn data(what: &FinetuneInputs, terminal: &mut Terminal) -> Result<(Vec<Dialogue>, Vec<Dialogue>)> {
    let default = [LAB_DATA.to_string()];
    let data = if what.sources.data.is_empty() { &default[..] } else { &what.sources.data };
    let (mut rows, mut validation) = (Vec::new(), Vec::new());
    for src in data {
        if Path::new(src).is_file() {
            // a file may mark rows as validation; all others are trained on
            let (held, own): (Vec<_>, Vec<_>) =
                sources::every_row(src, terminal)?.into_iter().partition(|row| row.split == Some(Split::Validation));
            rows.extend(own);
            validation.extend(held);
        } else {
            let parts = sources::dialogues(src, true, terminal)?;
            rows.extend(parts.train);
            validation.extend(parts.validation);
        }
    }
    if let Some(src) = &what.sources.validation {
        validation = sources::every_row(src, terminal)?;
    }
    if validation.is_empty() {
        if rows.len() <= HELD_OUT {
            let what = format!("{} rows are too few: {HELD_OUT} of them are held out for validation", rows.len());
            return Err(Error::input(what, "give a --validation file"));
        }
        validation = rows.split_off(rows.len() - HELD_OUT);
    }
    validation.truncate(what.validation_rows.max(1));
    Ok((rows, validation))
}
