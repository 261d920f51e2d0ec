//! `train-reward`: trains a reward model on labelled texts. The training is in `finetuning::reward_model`.

use crate::cli::args::{LoopArgs, RunArgs};
use crate::cli::sources::{self, Role};
use crate::cli::supervised::{self, Inputs, Source};
use crate::cli::terminal::Terminal;
use crate::cli::{inputs, report};
use crate::error::{Error, Result};
use crate::finetuning::classifier::Classifier;
use crate::finetuning::quality::Quality;
use crate::finetuning::reward_model::{Balance, RewardSettings, TrainReward};
use crate::finetuning::supervised::{BEST, Settings};
use crate::io::ByteSource;
use crate::io::disk::{self, Folder};
use crate::io::pretrained::Stored;
use crate::lab::models::{Judge, Labels};
use crate::lab::run;
use crate::pace::block_on;
use crate::text::labelled::LabelledFile;
use clap::Args;
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use std::path::Path;

const COMMAND: &str = "train-reward";
/// The file with the table of the best model.
const QUALITY: &str = "quality.json";

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub place: RunArgs,
    #[command(flatten)]
    pub what: RewardInputs,
    #[command(flatten)]
    pub training: LoopArgs,
    /// Print the best model's table as JSON
    #[arg(long)]
    pub json: bool,
}

/// Models and data; they may have moved when a run is continued.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[group(id = "sources")]
pub struct RewardSources {
    /// The model to start from: a RoBERTa, with or without a classification head; use --learning-rate 2e-5 with it
    #[arg(long, value_name = "SRC", conflicts_with_all = ["model_config", "tokenizer"])]
    pub reward: Option<String>,
    /// Names of the two labels of --reward, the harmless one first, if they are not nothate and hate; the trained model is
    /// saved with nothate and hate
    #[arg(long, value_name = "NOTHATE,HATE", requires = "reward")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_labels: Option<Labels>,
    /// Start from new weights for this config.json instead; it needs hidden_size, num_hidden_layers,
    /// num_attention_heads, intermediate_size and max_position_embeddings
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    pub model_config: Option<String>,
    /// Folder of the new model's tokenizer (made by train-tokenizer --kind bpe)
    #[arg(long, value_name = "DIR", requires = "model_config")]
    pub tokenizer: Option<String>,
    /// Files with the columns text and label (hate or nothate, 1 or 0), as csv, tsv or JSON; a column split marks the
    /// held-out rows
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// Files of the same form that are used only for measuring
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub held_out: Vec<String>,
}

/// What is trained, and on what.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[group(id = "what")]
pub struct RewardInputs {
    #[command(flatten)]
    #[serde(flatten)]
    pub sources: RewardSources,
    /// Fraction of rows to hold out of a file without a split column
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1)]
    pub held_out_share: f64,
    /// Weight of a training row in the loss
    #[arg(long, value_enum, default_value = "none")]
    pub balance: Balance,
    /// Maximum text length in tokens; longer texts are cut [default: the model's maximum]
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// Fraction of a training text's tokens to mask
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    pub mask: f32,
    /// Label smoothing
    #[arg(long, value_name = "E", default_value_t = 0.0)]
    pub label_smoothing: f64,
    /// Dropout [default: the model's]
    #[arg(long, value_name = "P")]
    pub dropout: Option<f64>,
    /// Number type of the saved weights
    #[arg(long, value_enum, default_value = "f32")]
    pub save_as: Stored,
}

/// Starts or continues the training of a reward model, and measures the best one after saving it.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let (path, task) = supervised::run(COMMAND, &args.place, args.what.clone(), &args.training, &mut terminal, task)?;
    table(&task, &path, args.json, &mut terminal)
}

impl Inputs for RewardInputs {
    fn sources(&mut self) -> Vec<(&'static str, Source<'_>)> {
        let s = &mut self.sources;
        vec![
            ("reward", Source::One(&mut s.reward)),
            ("model-config", Source::One(&mut s.model_config)),
            ("tokenizer", Source::One(&mut s.tokenizer)),
            ("data", Source::Many(&mut s.data)),
            ("held-out", Source::Many(&mut s.held_out)),
        ]
    }

    fn name_defaults(&mut self, given: &Self) {
        let was = &mut self.sources.reward_labels;
        *was = given.sources.reward_labels.clone().or_else(|| was.take());
    }
}

fn task(what: &RewardInputs, training: &Settings, terminal: &mut Terminal) -> Result<TrainReward> {
    if what.sources.data.is_empty() {
        return Err(Error::input("no --data", "give at least one file with text and label"));
    }
    let settings = RewardSettings {
        label_smoothing: what.label_smoothing,
        mask: what.mask,
        max_length: what.max_length,
        balance: what.balance,
        held_out: what.held_out_share,
        stored: what.save_as,
    };
    let (data, held_out) = (rows(&what.sources.data, terminal)?, rows(&what.sources.held_out, terminal)?);
    let classifier = classifier(what, training.seed, terminal)?;
    let Settings { batch_size, seed, .. } = *training;
    let task = TrainReward::new(classifier, settings, data, held_out, batch_size, seed)?;
    let ((train, held_out), parameters) = (task.rows(), HumanCount(task.parameters() as u64));
    terminal.line(&format!("{train} training rows, {held_out} held out, {parameters} parameters to train"));
    if let (rows @ 1.., limit) = task.at_limit() {
        terminal.line(&format!("note: {rows} training texts have {limit} tokens or more; they are cut after {limit}"));
    }
    Ok(task)
}

/// The rows of labelled files.
fn rows(files: &[String], terminal: &mut Terminal) -> Result<Vec<LabelledFile>> {
    let source = |file: &String| {
        let (folder, name) = Folder::of_file(Path::new(file))?;
        let source = LabelledFile::parse(&folder.path(&name), &folder.read(&name)?)?;
        source.notice.iter().for_each(|notice| terminal.line(&format!("warning: {notice}")));
        Ok(source)
    };
    files.iter().map(source).collect()
}

fn classifier(what: &RewardInputs, seed: u64, terminal: &mut Terminal) -> Result<Classifier> {
    if what.dropout.is_some_and(|p| !(0.0..1.0).contains(&p)) {
        return Err(Error::input("--dropout is out of range", "give a number from 0 to below 1"));
    }
    if let (Some(file), Some(tokenizer)) = (&what.sources.model_config, &what.sources.tokenizer) {
        let json = inputs::json(Path::new(file), "the config.json of a RoBERTa")?;
        return Classifier::fresh(file, json, &Folder::open(tokenizer)?, what.dropout, seed);
    }
    let src = what.sources.reward.as_deref().ok_or_else(|| {
        Error::input("no model to train", "give --reward, or --model-config and --tokenizer for new weights")
    })?;
    let classifier = Classifier::load(
        &*sources::folder(src, Role::Reward, terminal)?,
        what.sources.reward_labels.as_ref(),
        what.dropout,
        seed,
    )?;
    if classifier.fresh_head {
        terminal.line(&format!("{src} has no classification head; it gets a new one"));
    }
    Ok(classifier)
}

/// Measures the best model as it was saved, prints the table and saves it.
fn table(task: &TrainReward, run: &Path, json: bool, terminal: &mut Terminal) -> Result<()> {
    let judge = Judge::load(&Folder::open(run.join(BEST))?)?;
    let qualities = block_on(task.measure(&judge.model, terminal))?;
    let by_name: serde_json::Map<_, _> =
        qualities.iter().map(|(name, q)| (name.clone(), serde_json::json!(q))).collect();
    disk::write_atomic(&run.join(QUALITY), &run::json_bytes(&by_name)?)?;
    if json {
        return report::json(&by_name);
    }
    report::line(format!(
        "{:<20}{:>7}{:>7}{:>10}{:>8}{:>8}{:>8}{:>8}{:>21}",
        "held-out rows of", "rows", "hate", "accuracy", "F1", "AUC", "ECE", "Brier", "P(hate) nothate/hate"
    ))?;
    qualities.iter().try_for_each(|(name, quality)| report::line(row(name, quality)))
}

fn row(name: &str, q: &Quality) -> String {
    let or_dash = |x: Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.3}"));
    format!(
        "{name:<20}{:>7}{:>7}{:>10.3}{:>8}{:>8}{:>8.3}{:>8.3}{:>21}",
        q.rows,
        q.hate,
        q.accuracy,
        or_dash(q.f1),
        or_dash(q.auc),
        q.ece,
        q.brier,
        format!("{} / {}", or_dash(q.mean_nothate), or_dash(q.mean_hate)),
    )
}
