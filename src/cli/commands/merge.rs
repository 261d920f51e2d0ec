//! `merge`: merges an adapter into its base model and saves a Hugging Face folder.

use crate::cli::run_folder::PATIENCE;
use crate::cli::terminal::Terminal;
use crate::cli::{report, sources};
use crate::error::Result;
use crate::io::claim::Claim;
use crate::lab::head;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The base model
    #[arg(long, value_name = "SRC")]
    pub policy: String,
    /// The LoRA adapter to merge, in PEFT layout
    #[arg(long, value_name = "SRC")]
    pub adapter: String,
    /// Folder for the merged model; it must not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes the merged model.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(false)?;
    let out = Claim::for_output(&args.out, PATIENCE)?;
    let policy = sources::policy(&args.policy, &mut terminal)?;
    let adapter = sources::adapter(&args.adapter, &mut terminal)?;
    let mut tensors = policy.load_tensors()?;
    adapter.merge(&mut tensors)?;
    let files = head::merged_files(policy.source(), &policy.config, policy.json.clone(), tensors)?;
    out.fill(&files)?;
    report::line(format!("merged {} into {}: {}", args.adapter, args.policy, args.out.display()))
}
