//! `info` and `merge`: what a model is, and an adapter folded into it.

use super::args;
use super::memory::size;
use super::models;
use super::report;
use super::run_folder::PATIENCE;
use super::shipped::{self, Part};
use super::terminal::Terminal;
use crate::error::Result;
use crate::io::claim::Claim;
use crate::lab::head;
use crate::lab::memory::held;
use crate::lab::models::{POLICY, Precision};
use std::collections::BTreeMap;

/// Architecture and parameter counts of a policy, all computed from the loaded tensors.
pub fn info(args: &args::Info) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let source = models::find(&args.policy, Part::Policy, &mut terminal)?;
    let tensors = head::describe(&*source, &head::config(&*source)?)?;
    let held = |precision| held(&tensors, precision);
    let mut actor = models::actor(&args.policy, Precision::F32, 0, &mut terminal)?;
    let given = args.adapter.as_deref().or(shipped::adapter(&args.policy)).filter(|src| *src != "fresh");
    let adapter = match given {
        Some(src) => models::put_adapter(&mut actor, src, true, &mut terminal)?,
        None => models::fresh_adapter(&mut actor, &args.policy, &args.fresh, 0.0, 0)?,
    };
    let policy = &actor.policy;
    let (total, trainable) = (policy.parameters(), policy.trainable_parameters());
    let lora = policy.adapter(Some(POLICY))?.map_or(0, |set| set.parameters());
    let percent = 100.0 * trainable as f64 / total as f64;
    let c = &policy.t5.config;
    if args.json {
        return report::json(&serde_json::json!({
            "policy": args.policy, "adapter": given, "config": c,
            "parameters": total, "base_parameters": policy.t5.parameters(), "adapter_parameters": lora,
            "value_head_parameters": trainable - lora, "trainable_parameters": trainable, "trainable_percent": percent,
            "weight_bytes": Precision::ALL.map(|p| (p.name(), held(p))).into_iter().collect::<BTreeMap<_, _>>(),
            "lora": {"r": adapter.r, "alpha": adapter.lora_alpha, "modules": policy.trainable().len() / 2 - 1},
        }));
    }
    report::line(format!("policy      {}", args.policy))?;
    report::line(format!(
        "T5          {} encoder and {} decoder blocks, width {}, {} heads of {}, feed-forward {} {}, vocabulary {}, {} head",
        c.num_layers,
        c.decoder_layers(),
        c.d_model,
        c.num_heads,
        c.d_kv,
        c.feed_forward_proj,
        c.d_ff,
        c.vocab_size,
        if c.tie_word_embeddings { "tied" } else { "untied" },
    ))?;
    let name = given.unwrap_or("a fresh one");
    let pairs = policy.trainable().len() / 2 - 1;
    report::line(format!(
        "adapter     {name}: LoRA r {}, alpha {}, over {pairs} layers",
        adapter.r, adapter.lora_alpha
    ))?;
    report::line(format!(
        "parameters  {} base + {} adapter + {} value head",
        report::thousands(policy.t5.parameters()),
        report::thousands(lora),
        report::thousands(trainable - lora)
    ))?;
    let sizes = Precision::ALL.map(|p| format!("{} as {}", size(held(p)), p.name()));
    report::line(format!("memory      base weights {}", sizes.join(", ")))?;
    report::line(format!(
        "trainable   {} of {}, {percent:.2} %",
        report::thousands(trainable),
        report::thousands(total)
    ))
}

/// Writes base + adapter as one Hugging Face folder.
pub fn merge(args: &args::Merge) -> Result<()> {
    let mut terminal = Terminal::new(false)?;
    let out = Claim::for_output(&args.out, PATIENCE)?;
    let source = models::find(&args.policy, Part::Policy, &mut terminal)?;
    let adapter = models::read_adapter(&args.adapter, &mut terminal)?;
    let config = head::config(&*source)?;
    let mut tensors = head::load(&*source, &config)?;
    adapter.merge(&mut tensors)?;
    let files = head::merged_files(&*source, &config, tensors)?;
    out.fill(&files)?;
    report::line(format!("merged {} into {}: {}", args.adapter, args.policy, args.out.display()))
}
