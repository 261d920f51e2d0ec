//! `compare`: the table of summaries before and after, as text, csv and one HTML file.

use crate::cli::args::PairArgs;
use crate::cli::comparison::Comparison;
use crate::cli::report;
use crate::cli::terminal::Terminal;
use crate::error::Result;
use crate::io::disk;
use crate::lab::evaluate::Paired;
use crate::lab::table::ComparisonTable;
use crate::lab::train::Peers;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub pair: PairArgs,
    /// Number of test dialogues to show
    #[arg(long, short, value_name = "N", default_value_t = 20)]
    pub n: usize,
    /// Folder for comparison.csv and comparison.html [default: the run]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The table of summaries.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let peers = Peers::alone();
    let subject = Comparison::load(&args.pair, args.n, &peers, &mut terminal)?;
    let options = subject.options(&args.pair, args.n);
    let pairs = subject.pairs(&options, &peers, &mut terminal)?;
    let rows = pairs.iter().map(Paired::row).collect();
    let mut about = subject.about.clone();
    about.push(("seed".into(), options.seed.to_string()));
    about.push(("maximum new tokens".into(), options.max_new_tokens.to_string()));
    let table = ComparisonTable::new(rows, about, options.seed)?;
    let home = args.out.clone().or_else(|| subject.home.clone());
    if let Some(folder) = &home {
        disk::create_folder(folder)?;
        disk::write_atomic(&folder.join("comparison.csv"), &table.csv()?)?;
        disk::write_atomic(&folder.join("comparison.html"), table.html("Summaries before and after").as_bytes())?;
    }
    if args.json {
        return report::json(&table);
    }
    report::line(table.plain(terminal.width()))?;
    match home {
        Some(folder) => report::line(format!("written to comparison.csv and comparison.html in {}", folder.display())),
        None => Ok(()),
    }
}
