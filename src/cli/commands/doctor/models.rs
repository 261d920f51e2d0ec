//! Checks a model: its files are complete, its configuration can be used, every tensor has the right shape, every number is
//! finite, and the tokenizer fits. Nothing is downloaded.

use super::findings::Findings;
use crate::cli::memory::size;
use crate::cli::sources::{self, Role};
use crate::error::Result;
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::checkpoint::weights::Checkpoint;
use crate::lab::models::{Labels, Precision};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use indicatif::HumanCount;

/// The name of a role in findings.
fn name(role: Role) -> &'static str {
    match role {
        Role::Policy => "policy",
        Role::Adapter => "adapter",
        Role::Reward => "reward",
    }
}

/// Reads a source in its role.
pub fn look(role: Role, src: &str, labels: Option<&Labels>, found: &mut Findings) {
    let name = name(role);
    let Some(source) = found.take(name, sources::folder_in_cache(src, role)) else { return };
    let done = match role {
        Role::Policy => policy(source, found),
        Role::Adapter => adapter(&*source, found),
        Role::Reward => reward(source, labels, found),
    };
    found.take(name, done);
}

fn policy(source: Box<dyn ByteSource>, found: &mut Findings) -> Result<()> {
    let source = PolicySource::open(source)?;
    check_numbers(source.checkpoint(), "policy", found)?;
    let actor = source.load(Precision::F32, 0)?;
    let config = &actor.policy.t5.config;
    found.ok(
        "policy",
        format!("a T5 of {} parameters, width {}", HumanCount(actor.policy.t5.parameters() as u64), config.d_model),
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

fn reward(source: Box<dyn ByteSource>, labels: Option<&Labels>, found: &mut Findings) -> Result<()> {
    let source = RewardSource::open(source)?;
    check_numbers(source.checkpoint(), "reward", found)?;
    let judge = source.load(Precision::F32, labels)?;
    let parameters = HumanCount(judge.model.parameter_count() as u64);
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
    let base = adapter.config.base_model_name_or_path.as_deref().unwrap_or("an unnamed base model");
    let what = format!("LoRA r {} over {} layers of {base}", adapter.config.r, adapter.modules().len());
    found.ok("adapter", what);
    Ok(())
}

/// Checks that every number is finite.
fn check_numbers(checkpoint: &Checkpoint<'_>, about: &str, found: &mut Findings) -> Result<()> {
    let tensors = checkpoint.described();
    let bytes: u64 = tensors.iter().map(|t| t.dtype.bytes(t.shape.iter().product()).unwrap_or(0) as u64).sum();
    let mut damaged: Vec<String> = Vec::new();
    checkpoint.each(&|_| true, &mut |name, tensor| {
        let finite =
            tensor.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?.iter().all(|x| x.is_finite());
        if !finite {
            damaged.push(name);
        }
        Ok(())
    })?;
    let file = checkpoint.source().path(checkpoint.file());
    match damaged.first() {
        Some(name) => {
            let what = format!("{} of its tensors hold NaN or infinity, such as {name}", damaged.len());
            found.wrong(about, what, "download the file again, or use an earlier checkpoint if it is your own model");
        }
        None => found.ok(about, format!("{file}: {} tensors, {}, all finite", tensors.len(), size(bytes))),
    }
    Ok(())
}
