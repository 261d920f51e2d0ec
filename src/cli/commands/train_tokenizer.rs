//! `train-tokenizer`: trains a tokenizer on texts and writes its files.

use crate::cli::args::{MOST, up_to};
use crate::cli::report;
use crate::cli::run_folder::PATIENCE;
use crate::cli::terminal::Terminal;
use crate::error::{Error, Result};
use crate::finetuning::tokenizer::{Algorithm, Recipe, speakers, train};
use crate::io::ByteSource;
use crate::io::claim::Claim;
use crate::io::disk::Folder;
use crate::text::texts::texts;
use crate::text::tokenizer::Tokenizer;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// unigram for a T5, bpe for a RoBERTa
    #[arg(long, value_enum)]
    pub kind: Algorithm,
    /// Size of the vocabulary, special tokens included
    #[arg(long, value_name = "N", value_parser = up_to::<MOST>)]
    pub vocab_size: usize,
    /// A text that is always one token; may be repeated [default: the speakers of DialogSum for unigram, none for bpe]
    #[arg(long, value_name = "TEXT")]
    pub symbol: Vec<String>,
    /// With bpe: convert the texts to lower case and put a space in front, so that a small vocabulary covers more words
    #[arg(long)]
    pub uncased: bool,
    /// Folder for tokenizer.json, tokenizer_config.json and special_tokens_map.json; it must not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Texts: .jsonl, .json, .csv or .tsv (column text, or dialogue and summary), or a file with one text on each line
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<PathBuf>,
}

/// Trains a tokenizer and writes its folder.
pub fn run(args: &Arguments) -> Result<()> {
    let terminal = Terminal::new(args.json)?;
    let kind = args.kind;
    if args.uncased && kind == Algorithm::Unigram {
        return Err(Error::input(
            "--uncased is for --kind bpe",
            "leave it out: a policy's summaries need capital letters",
        ));
    }
    let symbols = match (args.symbol.is_empty(), kind) {
        (true, Algorithm::Unigram) => speakers(),
        _ => args.symbol.clone(),
    };
    let recipe = Recipe { kind, vocab_size: args.vocab_size, symbols, uncased: args.uncased };
    let out = Claim::for_output(&args.out, PATIENCE)?;
    let texts = read(&args.data)?;
    terminal.line(&format!("{} texts; training a vocabulary of {} …", texts.len(), recipe.vocab_size));
    let files = alone(|| train(&recipe, &texts))?;
    let tokenizer = Tokenizer::from_json("tokenizer.json", &files["tokenizer.json"])?;
    out.fill(&files)?;

    let ids: usize = texts.iter().map(|text| tokenizer.encode(text).map(|ids| ids.len() - 1)).sum::<Result<_>>()?;
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let per_word = ids as f64 / words.max(1) as f64;
    if args.json {
        return report::json(&serde_json::json!({
            "out": args.out, "vocab_size": tokenizer.vocab_size(), "texts": texts.len(), "tokens_per_word": per_word,
        }));
    }
    let size = tokenizer.vocab_size();
    let short = if size < args.vocab_size { " (the texts do not contain more)" } else { "" };
    report::line(format!("{size} tokens{short}, {per_word:.2} per word of these texts: {}", args.out.display()))
}

/// The texts of all files.
fn read(paths: &[impl AsRef<Path>]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for path in paths {
        let (folder, name) = Folder::of_file(path.as_ref())?;
        all.append(&mut texts(&folder.path(&name), &folder.read(&name)?)?);
    }
    Ok(all)
}

/// Runs `work` on one thread, whatever `--threads` says, so that floats are always summed in the same order.
fn alone<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|e| Error::input(e, "no thread could be started: close other programs"))?.install(work)
}
