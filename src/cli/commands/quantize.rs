//! `quantize`: a policy or a reward model as one GGUF file, in q8_0 or f16.

use crate::cli::memory::size;
use crate::cli::terminal::Terminal;
use crate::cli::{report, sources};
use crate::error::{Error, Result};
use crate::io::disk;
use crate::lab::quantize;
use clap::{ArgGroup, Args};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("model").required(true).args(["policy", "reward"])))]
pub struct Arguments {
    /// The policy to write: a T5 or FLAN-T5
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// The reward model to write: a RoBERTa classifier
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    /// Number type of the matrices: q8_0 takes about a quarter of f32's space, f16 half
    #[arg(long, value_name = "TYPE", default_value = "q8_0", value_parser = ["q8_0", "f16", "f32"])]
    pub weights: String,
    /// The file to write
    #[arg(long, value_name = "FILE.gguf")]
    pub out: PathBuf,
}

/// Writes the model as a GGUF file, which every command takes in place of the model's folder.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(false)?;
    let path = args.out.display().to_string();
    if args.out.extension().is_none_or(|end| end != "gguf") {
        return Err(Error::input(
            format!("--out {path} does not end in .gguf"),
            "give a file name such as policy.gguf",
        ));
    }
    disk::check_writable(&args.out)?;
    let kind = quantize::KINDS.into_iter().find(|kind| kind.name() == args.weights);
    let kind = kind.ok_or_else(|| Error::bug(format!("the number type {} cannot be written", args.weights)))?;
    let src = args.policy.as_ref().or(args.reward.as_ref()).ok_or_else(|| Error::bug("no model is named"))?;
    if args.policy.is_some() {
        let policy = sources::policy(src, &mut terminal)?;
        disk::write_atomic_with(&args.out, |out| quantize::policy(out, &policy, kind, &path))?;
    } else {
        let reward = sources::reward(src, &mut terminal)?;
        disk::write_atomic_with(&args.out, |out| quantize::reward(out, &reward, kind, &path))?;
    }
    let bytes = std::fs::metadata(&args.out).map_or(0, |meta| meta.len());
    report::line(format!("{src} in {}: {path}, {}", kind.name(), size(bytes)))
}
