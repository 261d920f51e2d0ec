//! From a model argument to a loaded model: folders or the hub, with progress.

use super::args::FreshAdapter;
use super::memory;
use super::shipped::{self, Part, TINY};
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::disk::Folder;
use crate::io::hub::{ADAPTER, Hub, Kind, MODEL, Wanted};
use crate::io::value_head::ValueHead as SavedHead;
use crate::lab::models::{Actor, Judge, Labels, POLICY, Precision};
use crate::lab::tokenizers::tokenizer;
use crate::text::dialogue::{self, Corpus, Dialogue, keep_lab_lengths, parse, split};
use crate::text::tokenizer::Tokenizer;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use std::path::Path;

impl ValueEnum for Precision {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// How frozen weights are held in memory.
#[derive(Debug, Clone, Copy, Args)]
pub struct Held {
    /// Number type of frozen weights: f16 and bf16 take half of f32's memory, q8_0 a quarter [default: f32, or the run's]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub weights: Option<Precision>,
}

/// Finds a shipped folder or one here, or fetches it from the hub.
pub fn find(src: &str, part: Part, terminal: &mut Terminal) -> Result<Box<dyn ByteSource>> {
    if src == TINY {
        return Ok(Box::new(shipped::folder(part)));
    }
    let wanted = if part == Part::Adapter { ADAPTER } else { MODEL };
    let folder = Hub::from_env()?.resolve(src, Kind::Model, wanted, terminal)?;
    tracing::debug!("{src}: {}", folder.root().display());
    Ok(Box::new(folder))
}

/// The base model of `src`, its matrices in `precision`.
pub fn actor(src: &str, precision: Precision, seed: u64, terminal: &mut Terminal) -> Result<Actor> {
    Actor::load_as(&*find(src, Part::Policy, terminal)?, precision, seed)
}

/// The tokenizer of `src`, before its weights are loaded; none where it has none.
pub fn policy_tokenizer(src: &str, terminal: &mut Terminal) -> Result<Option<Tokenizer>> {
    tokenizer(&*find(src, Part::Policy, terminal)?)
}

/// Reads an adapter and puts it over the policy under the name `policy`; returns its configuration.
pub fn put_adapter(actor: &mut Actor, src: &str, trainable: bool, terminal: &mut Terminal) -> Result<AdapterConfig> {
    let adapter = read_adapter(src, terminal)?;
    for warning in actor.add_adapter(POLICY, &adapter, trainable)? {
        terminal.line(&format!("warning: {src}: {warning}"));
    }
    Ok(adapter.config)
}

/// The adapter of `src`.
pub fn read_adapter(src: &str, terminal: &mut Terminal) -> Result<PeftAdapter> {
    PeftAdapter::read(&*find(src, Part::Adapter, terminal)?)
}

/// A fresh adapter over the policy; returns its configuration.
pub fn fresh_adapter(
    actor: &mut Actor,
    base: &str,
    args: &FreshAdapter,
    dropout: f64,
    seed: u64,
) -> Result<AdapterConfig> {
    let adapter = actor.fresh_adapter(fresh_config(base, args, dropout)?, seed)?;
    actor.add_adapter(POLICY, &adapter, true)?;
    Ok(adapter.config)
}

/// A fresh adapter's configuration.
pub fn fresh_config(base: &str, args: &FreshAdapter, dropout: f64) -> Result<AdapterConfig> {
    if args.lora_r == 0 {
        return Err(Error::input("--lora-r is 0", "give a rank of at least 1"));
    }
    let targets: Vec<&str> = args.lora_targets.iter().map(String::as_str).collect();
    AdapterConfig::new(args.lora_r, args.lora_alpha, dropout, &targets, base)
}

/// The configuration of `src`'s adapter, without its weights.
pub fn adapter_config(src: &str, terminal: &mut Terminal) -> Result<AdapterConfig> {
    memory::adapter_config(&*find(src, Part::Adapter, terminal)?)
}

/// Puts a value head from a file or a folder that TRL saved into the policy.
pub fn put_value_head(actor: &mut Actor, file: &Path) -> Result<()> {
    let head = if file.is_dir() {
        let none = || {
            Error::file(file.display(), "no value head here", "give value_head.safetensors or TRL's pytorch_model.bin")
        };
        SavedHead::find(&Folder::open(file)?)?.ok_or_else(none)?
    } else {
        let (folder, name) = Folder::of_file(file)?;
        SavedHead::read(&folder, &name)?
    };
    let dropout = actor.policy.value_head.dropout;
    actor
        .set_value_head(&head, dropout.into())
        .map_err(|e| Error::file(file.display(), e, "use the value head that was trained with this base model"))
}

/// DialogSum on the hub.
const DATA_FILES: Wanted<'static> = Wanted { one_of: &[&TRAIN_FILES], optional: &VALIDATION_FILES };
const TRAIN_FILES: [&str; 4] = ["train.csv", "train.jsonl", "train.json", "train.tsv"];
const VALIDATION_FILES: [&str; 6] =
    ["validation.csv", "dev.jsonl", "validation.jsonl", "val.json", "validation.json", "validation.tsv"];

/// The reward model of `src`, its matrices in `precision`; `labels`: what it calls its labels, where not nothate and hate.
pub fn judge(src: &str, labels: Option<&Labels>, precision: Precision, terminal: &mut Terminal) -> Result<Judge> {
    let judge = Judge::load_with_labels(&*find(src, Part::Reward, terminal)?, precision, labels)?;
    let [nothate, hate] = judge.model.label_names();
    if labels.is_none() && !(nothate.eq_ignore_ascii_case("nothate") && hate.eq_ignore_ascii_case("hate")) {
        terminal.line(&format!("{src}: its label {nothate} is read as nothate, {hate} as hate"));
    }
    Ok(judge)
}

/// DialogSum in a folder or on the hub: the lab's training and test split, and its validation part where it has one.
pub fn corpus(src: &str, terminal: &mut Terminal) -> Result<Corpus> {
    let (train, test) = dialogues(src, terminal)?;
    let folder = data_folder(src, terminal)?;
    let validation = match VALIDATION_FILES.into_iter().find(|file| folder.has(file)) {
        Some(file) => read_dialogues(&folder, file, terminal)?,
        None => Vec::new(),
    };
    Ok(Corpus { train, validation, test })
}

/// Every row of a file, as it is.
pub fn every_row(src: &str, terminal: &mut Terminal) -> Result<Vec<Dialogue>> {
    let (folder, file) = Folder::of_file(Path::new(src))?;
    read_dialogues(&folder, &file, terminal)
}

/// A data file's dialogues. A warning says which rows are left out.
fn read_dialogues(folder: &Folder, file: &str, terminal: &mut Terminal) -> Result<Vec<Dialogue>> {
    let kept = dialogue::read(&folder.path(file), &folder.read(file)?)?;
    kept.notice.iter().for_each(|notice| terminal.line(&format!("warning: {notice}")));
    Ok(kept.rows)
}

/// DialogSum's training and test split as the lab makes them: its train part, filtered by length, cut 8 : 2. Or those of
/// the shipped dialogues.
pub fn dialogues(src: &str, terminal: &mut Terminal) -> Result<(Vec<Dialogue>, Vec<Dialogue>)> {
    if src == TINY {
        return Ok(split(parse("tiny dialogues.jsonl", shipped::DIALOGUES)?));
    }
    let (folder, file) = if Path::new(src).is_file() {
        Folder::of_file(Path::new(src))?
    } else {
        let folder = data_folder(src, terminal)?;
        let first = ["train.jsonl"].into_iter().chain(TRAIN_FILES).find(|file| folder.has(file));
        (folder, first.unwrap_or("train.csv").to_string())
    };
    let train = read_dialogues(&folder, &file, terminal)?;
    let rows = train.len();
    let kept = keep_lab_lengths(train);
    if kept.is_empty() {
        let what = format!("none of {rows} dialogues has more than 200 and at most 1000 characters");
        return Err(Error::file(src, what, "give DialogSum's train file, or a folder that holds it"));
    }
    if kept.len() < rows {
        let out = rows - kept.len();
        terminal.line(&format!(
            "note: {out} of {rows} dialogues in {file} are left out: the lab takes those with more than 200 and at most 1000 \
             characters"
        ));
    }
    Ok(split(kept))
}

/// The folder of a data set, here or on the hub.
fn data_folder(src: &str, terminal: &mut Terminal) -> Result<Folder> {
    Hub::from_env()?.resolve(src, Kind::Dataset, DATA_FILES, terminal).map_err(|error| match error {
        Error::File { path, what, .. } if what.ends_with("in this folder") || what.ends_with("on the hub") => Error::file(
            path,
            what,
            "put a file of one of these names there, or name a file itself; a parquet file becomes jsonl with: python3 -c \
             \"import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json('train.jsonl', orient='records', lines=True)\" FILE",
        ),
        other => other,
    })
}
