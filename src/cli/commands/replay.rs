//! `replay`: runs PPO steps on given rows and writes every number, to compare with TRL.

use crate::cli::args::WeightsArgs;
use crate::cli::run_folder::PATIENCE;
use crate::cli::settings::settings;
use crate::cli::terminal::Terminal;
use crate::cli::{inputs, loading, memory, report, sources};
use crate::error::{Error, Result};
use crate::io::claim::Claim;
use crate::io::disk::{self, Folder};
use crate::lab::models::Products;
use crate::lab::replay::{Replay, Row, parse_rows};
use crate::lab::run::{RunConfig, step_name};
use crate::lab::sources::adapter::AdapterStart;
use crate::lab::sources::forecast::{self, Tokens};
use crate::pace::block_on;
use crate::settings::{PpoConfig, Preset};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The base model
    #[arg(long, value_name = "SRC")]
    pub policy: String,
    /// The LoRA adapter to train, in PEFT layout
    #[arg(long, value_name = "SRC")]
    pub adapter: String,
    /// Value head: value_head.safetensors, or the file that TRL saved
    #[arg(long, value_name = "FILE")]
    pub value_head: PathBuf,
    /// File with {"query_ids":[…],"response_ids":[…],"score":x} on each line: the rows of one step; repeat it for each step
    #[arg(long, value_name = "FILE.jsonl", required = true)]
    pub rows: Vec<PathBuf>,
    /// Settings that replace the preset's, as JSON (docs/settings.md lists them; TRL's PPOConfig names are accepted)
    #[arg(long, value_name = "FILE.json")]
    pub config: Option<PathBuf>,
    /// Order of the rows: for each step a list, with a list of row numbers for each PPO epoch
    #[arg(long, value_name = "FILE.json")]
    pub orders: Option<PathBuf>,
    /// The lab as published or corrected
    #[arg(long, value_enum, default_value = "corrected")]
    pub preset: Preset,
    #[command(flatten)]
    pub held: WeightsArgs,
    /// Folder for the results: step-00001/, step-00002/, …
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs a PPO step for each rows file.
pub fn run(args: &Arguments) -> Result<()> {
    let config = settings(args.preset, "", args.config.as_deref())?;
    let read = |f: &std::path::PathBuf| parse_rows(&f.display().to_string(), inputs::read_text(f)?.as_bytes());
    let steps = args.rows.iter().map(read).collect::<Result<Vec<Vec<Row>>>>()?;
    let orders: Option<Vec<Vec<Vec<usize>>>> = args
        .orders
        .as_ref()
        .map(|f| inputs::json(f, "for each step a list, with a list of row numbers for each PPO epoch"))
        .transpose()?;
    if let Some(orders) = &orders
        && orders.len() < steps.len()
    {
        let what = format!("--orders has {} steps, and there are {} --rows files", orders.len(), steps.len());
        return Err(Error::input(what, "give a list of orders for each --rows file"));
    }
    let _claim = Claim::for_output(&args.out, PATIENCE)?;
    let mut terminal = Terminal::new(true)?;
    let precision = args.held.weights.unwrap_or_default();
    loading::use_precision(args.held.precision.or_else(|| run_precision(args)).unwrap_or_default(), &terminal);
    let adapter = AdapterStart::Saved(Box::new(sources::adapter(&args.adapter, &mut terminal)?));
    let head = sources::value_head(&args.value_head)?;
    let rows = || steps.iter().flatten();
    let tokens = Tokens {
        prompt: rows().map(|row| row.query_ids.len()).max().unwrap_or(0),
        response: rows().map(|row| row.decoder_ids.len()).max().unwrap_or(0),
    };
    let most = steps.iter().map(Vec::len).max().unwrap_or(0);
    let whole = PpoConfig { batch_size: most, mini_batch_size: config.mini_batch_size.min(most), ..config.clone() };
    let policy = sources::policy(&args.policy, &mut terminal)?;
    let needed = forecast::ppo(&policy, None, adapter.config(), &whole, tokens, precision);
    memory::check(
        &needed,
        precision,
        "lower mini_batch_size, batch_size or output_max_length in --config, or take shorter dialogues",
    )?;
    let mut actor = policy.load(precision, config.seed)?;
    let adapter = loading::put_adapter(adapter, Some(&args.adapter), &mut actor, config.seed, &terminal)?;
    loading::put_value_head(&mut actor, &head, &args.value_head)?;
    let mut replay = Replay::new(actor, adapter, config)?;
    let mut all = Vec::new();
    for (i, rows) in steps.into_iter().enumerate() {
        let order = orders.as_ref().map(|o| o[i].as_slice());
        let outcome = block_on(replay.step(&rows, order, &mut terminal))
            .map_err(|e| e.in_file(&args.rows[i].display().to_string()))?;
        disk::write_folder(&args.out.join(step_name(i as u64 + 1)), &replay.files(&outcome)?)?;
        for warning in &outcome.stats.warnings {
            terminal.line(&format!("warning: {warning}"));
        }
        if !args.json {
            let s = &outcome.stats.line;
            report::line(format!(
                "step {}: objective/kl {:.6}, ppo/returns/mean {:.6}, ppo/loss/total {:.6}, kl_coef {:.6}",
                i + 1,
                s.kl,
                s.returns_mean,
                s.total_loss,
                s.kl_coef
            ))?;
        }
        all.push(outcome.stats.to_json());
    }
    if args.json {
        return report::json(&serde_json::json!({ "steps": all }));
    }
    report::line(format!("written to {}", args.out.display()))
}

/// The precision of the run that has the rows in its folder `rollouts/`.
fn run_precision(args: &Arguments) -> Option<Products> {
    let rows = args.rows.first()?.canonicalize().ok()?;
    let run = Folder::open(rows.parent()?.parent()?).ok()?;
    RunConfig::read(&run).ok().map(|config| config.precision)
}
