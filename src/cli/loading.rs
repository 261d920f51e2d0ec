//! Loads what `sources` found, after the memory forecast: policies with their adapters and value heads, reward models. Prints what
//! is worth a warning.

use super::args::PolicyArgs;
use super::sources::{adapter, companion_adapter};
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::adapter_config::AdapterConfig;
use crate::io::value_head::SavedHead;
use crate::kernels::choice::{Way, use_products};
use crate::lab::models::{Actor, AdapterName, Judge, Labels, POLICY, Precision, Products};
use crate::lab::sources::adapter::AdapterStart;
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use std::path::Path;

/// Computes products as `--precision` says, and says if that is slower on this processor.
pub fn use_precision(precision: Products, terminal: &Terminal) {
    use_products(precision);
    let way = Way::in_use();
    if !way.is_direct() {
        terminal.line(&format!(
            "note: --precision bf16 is slower than f32 here: the kernel {} has no instructions for products of bf16",
            way.kernel.name()
        ));
    }
}

/// Puts an adapter over the policy to be trained, and prints what is worth a warning. `src`: its argument; none for a fresh one.
pub fn put_adapter(
    start: AdapterStart,
    src: Option<&str>,
    actor: &mut Actor,
    seed: u64,
    terminal: &Terminal,
) -> Result<AdapterConfig> {
    let (config, warnings) = start.put_over(actor, seed)?;
    for warning in warnings {
        terminal.line(&format!("warning: {}: {warning}", src.unwrap_or("the fresh adapter")));
    }
    Ok(config)
}

/// Loads the policy of `args`, with its adapter unless that is `off`.
pub fn load_policy(
    source: PolicySource<'_>,
    args: &PolicyArgs,
    terminal: &mut Terminal,
) -> Result<(Actor, AdapterName<'static>)> {
    let src = args.adapter.as_deref().or(companion_adapter(&args.policy)).filter(|src| *src != "off");
    let adapter = src.map(|src| adapter(src, terminal).map(|adapter| (src, adapter))).transpose()?;
    let mut actor = source.load(args.held.weights.unwrap_or_default(), 0)?;
    let Some((src, adapter)) = adapter else { return Ok((actor, None)) };
    for warning in actor.add_adapter(POLICY, &adapter, false)? {
        terminal.line(&format!("warning: {src}: {warning}"));
    }
    Ok((actor, Some(POLICY)))
}

/// Puts a value head from a file into the policy.
pub fn put_value_head(actor: &mut Actor, head: &SavedHead, file: &Path) -> Result<()> {
    let dropout = actor.policy.value_head.dropout;
    actor
        .set_value_head(head, dropout.into())
        .map_err(|e| Error::file(file.display(), e, "use the value head that was trained with this base model"))
}

/// Loads the reward model of the argument `src`, its matrices in `precision`. `labels`: what it calls its labels, if not nothate
/// and hate.
pub fn load_reward(
    source: RewardSource<'_>,
    src: &str,
    precision: Precision,
    labels: Option<&Labels>,
    terminal: &Terminal,
) -> Result<Judge> {
    let judge = source.load(precision, labels)?;
    let [nothate, hate] = judge.model.label_names();
    if labels.is_none() && !(nothate.eq_ignore_ascii_case("nothate") && hate.eq_ignore_ascii_case("hate")) {
        terminal.line(&format!("{src}: its label {nothate} is read as nothate, {hate} as hate"));
    }
    Ok(judge)
}
