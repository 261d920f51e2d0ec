//! A model read whole: its files are there and of their length, its configuration is one we can use, every tensor has the
//! place and shape that the model needs, every number is finite, and a tokenizer fits. Nothing is fetched.

use super::super::memory;
use super::super::shipped::{self, Part, TINY};
use super::Findings;
use crate::error::Result;
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::hub::{ADAPTER, Hub, Kind as Repo, MODEL, Progress};
use crate::io::weights;
use crate::lab::models::{Actor, Judge, Labels, Precision};

/// What a source is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Policy,
    Adapter,
    Reward,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Adapter => "adapter",
            Self::Reward => "reward",
        }
    }
}

/// Nothing is fetched, so nobody need be told.
struct Silent;

impl Progress for Silent {
    fn start(&mut self, _: &str, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
    fn advance(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
    fn finish(&mut self) {}
}

/// Reads a source as what it is to be used as.
pub fn look(kind: Kind, src: &str, labels: Option<&Labels>, found: &mut Findings) {
    let name = kind.name();
    let Some(source) = found.take(name, here(kind, src)) else { return };
    let done = match kind {
        Kind::Policy => policy(&*source, found),
        Kind::Adapter => adapter(&*source, found),
        Kind::Reward => reward(&*source, labels, found),
    };
    found.take(name, done);
}

/// A shipped source, a folder, or what the hub's cache has.
fn here(kind: Kind, src: &str) -> Result<Box<dyn ByteSource>> {
    let part = match kind {
        Kind::Policy => Part::Policy,
        Kind::Adapter => Part::Adapter,
        Kind::Reward => Part::Reward,
    };
    if src == TINY {
        return Ok(Box::new(shipped::folder(part)));
    }
    let wanted = if kind == Kind::Adapter { ADAPTER } else { MODEL };
    let hub = Hub { offline: true, ..Hub::from_env()? };
    Ok(Box::new(hub.resolve(src, Repo::Model, wanted, &mut Silent)?))
}

fn policy(source: &dyn ByteSource, found: &mut Findings) -> Result<()> {
    whole(source, "policy", found)?;
    let actor = Actor::load(source, 0)?;
    let config = &actor.policy.t5.config;
    found.ok(
        "policy",
        format!(
            "a T5 of {} parameters, width {}",
            super::report::thousands(actor.policy.t5.parameters()),
            config.d_model
        ),
    );
    match &actor.tokenizer {
        None => {
            let (what, hint) = actor.no_tokenizer.told();
            found.wrong("policy", what, hint);
        }
        Some(tokenizer) if tokenizer.vocab_size() > config.vocab_size => {
            let what = format!(
                "its tokenizer has {} pieces, the model {} embeddings",
                tokenizer.vocab_size(),
                config.vocab_size
            );
            found.wrong("policy", what, "use the tokenizer that belongs to this model");
        }
        Some(tokenizer) => found.ok("policy", format!("a tokenizer of {} pieces", tokenizer.vocab_size())),
    }
    Ok(())
}

fn reward(source: &dyn ByteSource, labels: Option<&Labels>, found: &mut Findings) -> Result<()> {
    whole(source, "reward", found)?;
    let judge = Judge::load_with_labels(source, Precision::F32, labels)?;
    let parameters = super::report::thousands(judge.model.parameter_count());
    let [nothate, hate] = judge.model.label_names();
    found.ok(
        "reward",
        format!("a RoBERTa of {parameters} parameters with the labels {nothate} (nothate) and {hate} (hate)"),
    );
    match &judge.tokenizer {
        None => {
            let (what, hint) = judge.no_tokenizer.told();
            found.wrong("reward", what, hint);
        }
        Some(tokenizer) => found.ok("reward", format!("a tokenizer of {} pieces", tokenizer.vocab_size())),
    }
    Ok(())
}

fn adapter(source: &dyn ByteSource, found: &mut Findings) -> Result<()> {
    let adapter = PeftAdapter::read(source)?;
    let base = adapter.config.base_model_name_or_path.as_deref().unwrap_or("a base that it does not name");
    let what = format!("LoRA r {} over {} layers of {base}", adapter.config.r, adapter.modules().len());
    found.ok("adapter", what);
    Ok(())
}

/// Lengths by the headers, then every number.
fn whole(source: &dyn ByteSource, about: &str, found: &mut Findings) -> Result<()> {
    let tensors = weights::describe(source)?;
    let bytes: u64 = tensors.iter().map(|t| t.shape.iter().product::<usize>() as u64 * t.dtype.size() as u64).sum();
    let mut damaged: Vec<String> = Vec::new();
    weights::each(source, &|_| true, &mut |name, tensor| {
        let finite =
            tensor.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?.iter().all(|x| x.is_finite());
        if !finite {
            damaged.push(name);
        }
        Ok(())
    })?;
    let file = weights::weight_file(source)?;
    match damaged.first() {
        Some(name) => {
            let what = format!("{} of its tensors hold NaN or infinity, such as {name}", damaged.len());
            found.wrong(about, what, "fetch the file again; where it is your own, go back to an earlier checkpoint");
        }
        None => found.ok(
            about,
            format!("{}: {} tensors, {}, all finite", source.path(file), tensors.len(), memory::size(bytes)),
        ),
    }
    Ok(())
}
