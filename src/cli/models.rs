//! From a model argument to a loaded model: folders or the hub, with progress.

use super::args::FreshAdapter;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::hub::{self, Kind};
use crate::io::value_head;
use crate::lab::models::{Actor, Judge};
use crate::model::policy::{POLICY, ValueHead};
use crate::text::dialogue::{Corpus, Dialogue, keep_lab_lengths, split};
use std::path::Path;

/// Finds a folder, or fetches it from the hub.
pub fn find(src: &str, kind: Kind, terminal: &mut Terminal) -> Result<Box<dyn ByteSource>> {
    hub::resolve(src, kind, &mut |file, done, of| terminal.bytes(file, done, of))
}

/// The base model of `src`.
pub fn actor(src: &str, seed: u64, terminal: &mut Terminal) -> Result<Actor> {
    Actor::load(find(src, Kind::Model, terminal)?.as_ref(), seed)
}

/// Reads an adapter and puts it over the policy under the name `policy`; returns its configuration.
pub fn put_adapter(actor: &mut Actor, src: &str, trainable: bool, terminal: &mut Terminal) -> Result<AdapterConfig> {
    let adapter = read_adapter(src, terminal)?;
    actor.add_adapter(POLICY, &adapter, trainable)?;
    let modules: Vec<&str> = actor.policy.t5.modules().iter().map(|m| m.0.as_str()).collect();
    for target in adapter.config.unmatched_targets(&modules) {
        terminal.line(&format!("warning: {src}: target module {target} matches no layer of this model"));
    }
    Ok(adapter.config)
}

/// The adapter of `src`.
pub fn read_adapter(src: &str, terminal: &mut Terminal) -> Result<PeftAdapter> {
    PeftAdapter::read(find(src, Kind::Adapter, terminal)?.as_ref())
}

/// A fresh adapter over the policy; returns its configuration.
pub fn fresh_adapter(actor: &mut Actor, base: &str, args: &FreshAdapter, seed: u64) -> Result<AdapterConfig> {
    if args.lora_r == 0 {
        return Err(Error::input("--lora-r is 0", "give a rank of at least 1"));
    }
    let config = AdapterConfig::fresh(base, args.lora_r, args.lora_alpha, 0.05, &args.lora_targets)?;
    let adapter = actor.fresh_adapter(config, seed)?;
    actor.add_adapter(POLICY, &adapter, true)?;
    Ok(adapter.config)
}

/// Puts a value head from a file or a folder that TRL saved into the policy.
pub fn put_value_head(actor: &mut Actor, file: &Path) -> Result<()> {
    let (weight, bias) = value_head::read_path(file)?;
    let width = actor.policy.t5.config.d_model;
    actor.policy.value_head = ValueHead::new(&weight, &bias, width)
        .map_err(|e| Error::file(file.display(), e, "use the value head that was trained with this base model"))?;
    Ok(())
}

/// The reward model of `src`.
pub fn judge(src: &str, terminal: &mut Terminal) -> Result<Judge> {
    Judge::load(find(src, Kind::Model, terminal)?.as_ref())
}

/// DialogSum's training and test split as the lab makes them: its train part, filtered by length, cut 8 : 2.
pub fn dialogues(src: &str, terminal: &mut Terminal) -> Result<(Vec<Dialogue>, Vec<Dialogue>)> {
    let files = hub::read_data(src, &mut |file, done, of| terminal.bytes(file, done, of))?;
    let corpus = match files.as_slice() {
        [(path, bytes)] => Corpus { train: crate::text::dialogue::parse(path, bytes)?, ..Corpus::default() },
        many => Corpus::from_files(many.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))?,
    };
    let rows = corpus.train.len();
    let kept = keep_lab_lengths(corpus.train);
    if kept.is_empty() {
        let what = format!("none of {rows} dialogues has more than 200 and at most 1000 characters");
        return Err(Error::file(src, what, "give DialogSum's train file, or a folder that holds it"));
    }
    Ok(split(kept))
}
