//! `logprobs`: prints log-probs, entropy and values of given responses, token by token.

use crate::cli::args::PolicyArgs;
use crate::cli::inputs::{self, PairRow};
use crate::cli::terminal::Terminal;
use crate::cli::{loading, memory, report, sources};
use crate::error::{Error, Result};
use crate::lab::responses::token_numbers;
use crate::lab::sources::forecast::{self, Tokens};
use crate::lab::sources::policy::PolicySource;
use crate::pace::{Pace, block_on};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub model: PolicyArgs,
    /// Value head: value_head.safetensors, or a folder saved by TRL; without it no values are printed
    #[arg(long, value_name = "FILE")]
    pub value_head: Option<PathBuf>,
    /// File with {"query_ids":[…],"response_ids":[…]} or {"query":"…","response":"…"} on each line
    #[arg(long, value_name = "FILE.jsonl")]
    pub rows: PathBuf,
    /// Print JSON: {"rows":[{"logprobs":[…],"values":[…],"entropy":[…]}]}
    #[arg(long)]
    pub json: bool,
}

/// Prints the numbers of each row.
pub fn run(args: &Arguments) -> Result<()> {
    let form = r#"{"query_ids":[…],"response_ids":[…]} or {"query":"…","response":"…"}"#;
    let rows: Vec<PairRow> = inputs::json_lines(&args.rows, form)?;
    let mut terminal = Terminal::new(args.json)?;
    let precision = args.model.held.weights.unwrap_or_default();
    loading::use_precision(args.model.held.precision.unwrap_or_default(), &terminal);
    let mut policy = sources::policy(&args.model.policy, &mut terminal)?;
    let rows = rows.into_iter().map(|row| ids(&mut policy, row)).collect::<Result<Vec<_>>>()?;
    let longest = |tokens: fn(&(Vec<u32>, Vec<u32>)) -> usize| rows.iter().map(tokens).max().unwrap_or(0);
    let tokens = Tokens { prompt: longest(|row| row.0.len()), response: longest(|row| row.1.len() + 1) };
    memory::check(&forecast::token_numbers(&policy, tokens, precision), precision, "give shorter rows")?;
    let head = args.value_head.as_deref().map(|file| sources::value_head(file).map(|head| (file, head))).transpose()?;
    let (mut actor, adapter) = loading::load_policy(policy, &args.model, &mut terminal)?;
    if let Some((file, head)) = &head {
        loading::put_value_head(&mut actor, head, file)?;
    }
    let mut out = Vec::new();
    for (i, (query, response)) in rows.iter().enumerate() {
        block_on(terminal.pause())?;
        let n = token_numbers(&actor, adapter, query, response)
            .map_err(|e| Error::file(inputs::line_of(&args.rows, i), e, "correct the row"))?;
        let mut numbers = json!({"response_ids": n.response_ids, "logprobs": n.logprobs, "entropy": n.entropy});
        if head.is_some() {
            numbers["values"] = json!(n.values);
        }
        out.push(numbers);
    }
    if args.json {
        return report::json(&json!({ "rows": out }));
    }
    for (i, row) in out.iter().enumerate() {
        report::line(format!("row {}", i + 1))?;
        report::line("      id      log-prob       entropy         value  token")?;
        for (k, id) in row["response_ids"].as_array().into_iter().flatten().enumerate() {
            let number = |name: &str| row[name][k].as_f64().map_or("–".into(), |x| format!("{x:.6}"));
            let id = id.as_u64().unwrap_or_default() as u32;
            let text = actor.tokenizer.as_ref().and_then(|t| t.pieces(&[id]).pop()).map_or(String::new(), |p| p.text);
            report::line(format!(
                "{id:>8} {:>13} {:>13} {:>13}  {text}",
                number("logprobs"),
                number("entropy"),
                number("values")
            ))?;
        }
    }
    Ok(())
}

/// A row's query and response as ids.
fn ids(policy: &mut PolicySource<'_>, row: PairRow) -> Result<(Vec<u32>, Vec<u32>)> {
    Ok(match row {
        PairRow::Ids { query_ids, response_ids } => (query_ids, response_ids),
        PairRow::Text { query, response } => {
            let tokenizer = policy.tokenizer()?;
            (tokenizer.encode(&query)?, tokenizer.encode(&response)?)
        }
    })
}
