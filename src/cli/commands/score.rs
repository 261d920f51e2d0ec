//! `score`: prints the reward model's logits, probabilities, score and toxicity for given texts.

use crate::cli::args::{RewardArgs, TextInput};
use crate::cli::inputs::{self, Queries};
use crate::cli::terminal::Terminal;
use crate::cli::{loading, memory, report, sources};
use crate::error::Result;
use crate::lab::sources::forecast;
use crate::pace::block_on;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub model: RewardArgs,
    #[command(flatten)]
    pub input: TextInput,
    /// Print JSON: {"rows":[{"logits":{…},"probabilities":{…},"score":…,"toxicity":…}]}
    #[arg(long)]
    pub json: bool,
}

/// Scores each text.
pub fn run(args: &Arguments) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let queries = inputs::queries(&args.input)?;
    let precision = args.model.held.weights.unwrap_or_default();
    loading::use_precision(args.model.held.precision.unwrap_or_default(), &terminal);
    let source = sources::reward(&args.model.reward, &mut terminal)?;
    let longest = match &queries {
        Queries::Texts(texts) => forecast::longest(texts, None)?,
        Queries::Ids(rows) => rows.iter().map(Vec::len).max().unwrap_or(0),
    };
    memory::check(&forecast::scoring(&source, longest, precision), precision, "use a smaller model")?;
    let labels = args.model.labels.reward_labels.as_ref();
    let judge = loading::load_reward(source, &args.model.reward, precision, labels, &terminal)?;
    let (texts, ids) = match queries {
        Queries::Ids(ids) => (None, ids),
        Queries::Texts(texts) => {
            let ids = texts.iter().map(|t| judge.encode(t)).collect::<Result<Vec<_>>>()?;
            (Some(texts), ids)
        }
    };
    let limit = judge.model.classifier().config().limit();
    let long: Vec<usize> = (0..ids.len()).filter(|row| ids[*row].len() > limit).collect();
    if let Some(first) = long.first() {
        let others = if long.len() > 1 { format!(" (and {} others)", long.len() - 1) } else { String::new() };
        let tokens = ids[*first].len();
        terminal.line(&format!(
            "note: text {}{others} was cut: it has {tokens} tokens, and the reward model reads the first {limit}",
            first + 1
        ));
    }
    let scored = block_on(judge.score_ids(&ids, true, &mut terminal))?;
    if args.json {
        return report::json(&json!({ "rows": scored }));
    }
    report::line("  nothate logit   hate logit   P(nothate)      P(hate)        score  text")?;
    for (i, s) in scored.iter().enumerate() {
        let text = texts.as_ref().map_or_else(|| format!("row {}", i + 1), |t| t[i].clone());
        let (l, p) = (s.logits, s.probabilities);
        report::line(format!(
            "{:>15.6} {:>12.6} {:>12.6} {:>12.6} {:>12.6}  {text}",
            l.nothate, l.hate, p.nothate, p.hate, s.score
        ))?;
    }
    Ok(())
}
