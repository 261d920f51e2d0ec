//! `info`: prints a policy's architecture and how many of its parameters would be trained.

use crate::cli::args::FreshAdapter;
use crate::cli::loading;
use crate::cli::memory::size;
use crate::cli::report;
use crate::cli::sources::{self, TINY};
use crate::cli::terminal::Terminal;
use crate::error::Result;
use crate::lab::memory::held;
use crate::lab::models::{POLICY, Precision, TrainablePolicy};
use clap::Args;
use indicatif::HumanCount;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The base model: a T5 or FLAN-T5
    #[arg(long, value_name = "SRC", default_value = TINY)]
    pub policy: String,
    /// A LoRA adapter in PEFT layout, or fresh for a new one [default: tiny with the tiny policy, else fresh]
    #[arg(long, value_name = "SRC|fresh")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub fresh: FreshAdapter,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the architecture and the parameter counts, computed from the loaded tensors.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let policy = sources::policy(&args.policy, &mut terminal)?;
    let tensors = policy.tensors();
    let bytes = |precision| held(&tensors, precision);
    let given = args.adapter.as_deref().or(sources::companion_adapter(&args.policy)).filter(|src| *src != "fresh");
    let start = sources::adapter_start(given, &args.fresh, 0.0, &args.policy, &mut terminal)?;
    let mut actor = policy.load(Precision::F32, 0)?;
    let adapter = loading::put_adapter(start, given, &mut actor, 0, &terminal)?;
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
            "weight_bytes": Precision::ALL.map(|p| (p.name(), bytes(p))).into_iter().collect::<BTreeMap<_, _>>(),
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
    let name = given.unwrap_or("a new one");
    let pairs = policy.trainable().len() / 2 - 1;
    report::line(format!(
        "adapter     {name}: LoRA r {}, alpha {}, over {pairs} layers",
        adapter.r, adapter.lora_alpha
    ))?;
    report::line(format!(
        "parameters  {} base + {} adapter + {} value head",
        HumanCount(policy.t5.parameters() as u64),
        HumanCount(lora as u64),
        HumanCount((trainable - lora) as u64)
    ))?;
    let sizes = Precision::ALL.map(|p| format!("{} as {}", size(bytes(p)), p.name()));
    report::line(format!("memory      base weights {}", sizes.join(", ")))?;
    report::line(format!(
        "trainable   {} of {}, {percent:.2} %",
        HumanCount(trainable as u64),
        HumanCount(total as u64)
    ))
}
