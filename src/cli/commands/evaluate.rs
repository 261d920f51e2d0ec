//! `evaluate`: toxicity and ROUGE before and after training, with the 95 % interval of the paired difference.

use crate::cli::args::PairArgs;
use crate::cli::comparison::Comparison;
use crate::cli::report;
use crate::cli::terminal::Terminal;
use crate::error::Result;
use crate::io::disk;
use crate::lab::evaluate::evaluation;
use crate::lab::run::json_bytes;
use crate::lab::train::Peers;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub pair: PairArgs,
    /// Number of test dialogues to evaluate on
    #[arg(long, short, value_name = "N", default_value_t = 100)]
    pub n: usize,
    /// File for the evaluation [default: evaluation.json in the run]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Toxicity, score and ROUGE of both sides.
pub fn run(args: &Arguments, peers: &Peers) -> Result<()> {
    let mut terminal = Terminal::among(peers, args.json)?;
    let subject = Comparison::load(&args.pair, args.n, peers, &mut terminal)?;
    let options = subject.options(&args.pair, args.n);
    let result = evaluation(&subject.pairs(&options, peers, &mut terminal)?, &options)?;
    if !peers.is_first() {
        return Ok(());
    }
    let out = args.out.clone().or_else(|| Some(subject.home.as_ref()?.join("evaluation.json")));
    if let Some(path) = &out {
        disk::write_atomic(path, &json_bytes(&result)?)?;
    }
    if args.json {
        return report::json(&result);
    }
    for (name, value) in &subject.about {
        report::line(format!("{name}: {value}"))?;
    }
    report::evaluation(&result, subject.config.report_paired)?;
    match out {
        Some(path) => report::line(format!("written to {}", path.display())),
        None => Ok(()),
    }
}
