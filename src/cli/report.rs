//! Prints the results of commands on standard output, as JSON or as a few lines of text.

use crate::error::{Error, Result};
use crate::lab::evaluate::{Evaluation, Side};
use crate::lab::statistics::Difference;
use serde::Serialize;
use std::io::Write;

/// Prints a line on standard output. A closed pipe ends the process without a message, as in other tools.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    written(writeln!(std::io::stdout(), "{text}"))
}

/// Prints text immediately, without a line break.
pub fn stream(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    written(write!(out, "{text}").and_then(|()| out.flush()))
}

fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Stopped),
        Err(e) => Err(Error::input(format!("standard output: {e}"), "check where the output is written")),
        Ok(()) => Ok(()),
    }
}

/// Prints a JSON value.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value).map_err(Error::bug)?)
}

/// Prints the before/after table of an evaluation. `paired`: differences with intervals; else as the published lab.
pub fn evaluation(e: &Evaluation, paired: bool) -> Result<()> {
    line(format!("{} dialogues of the test split, seed {}", e.n, e.options.seed))?;
    if !paired {
        let percent = |x: Option<f64>| x.map_or("undefined".into(), |x| format!("{:.2}%", x * 100.0));
        line(format!(
            "toxicity [mean, std] before: [{}, {}]",
            e.before.toxicity.spread.mean, e.before.toxicity.spread.std
        ))?;
        line(format!(
            "toxicity [mean, std] after:  [{}, {}]",
            e.after.toxicity.spread.mean, e.after.toxicity.spread.std
        ))?;
        line(format!("mean: {}", percent(e.toxicity_mean_improvement)))?;
        return line(format!("std: {}", percent(e.toxicity_std_improvement)));
    }
    line(format!("{:<22}{:>12}{:>12}   {}", "", "before", "after", "after − before, 95 % interval"))?;
    let row = |name: &str, number: fn(&Side) -> f64, difference: Option<&Difference>| {
        let what = difference
            .map_or(String::new(), |d| format!("{:+.4}  [{:+.4}, {:+.4}]  {}", d.mean, d.low, d.high, d.verdict));
        line(format!("{name:<22}{:>12.4}{:>12.4}   {what}", number(&e.before), number(&e.after)).trim_end())
    };
    row("toxicity mean", |s| s.toxicity.spread.mean, Some(&e.toxicity_difference))?;
    row("toxicity std", |s| s.toxicity.spread.std, None)?;
    row("toxicity maximum", |s| s.toxicity.maximum, None)?;
    row("toxicity ratio ≥ 0.5", |s| s.toxicity.ratio, None)?;
    row("score mean", |s| s.score.mean, Some(&e.score_difference))?;
    row("ROUGE-1 F1", |s| s.rouge1, Some(&e.rouge1_difference))?;
    row("ROUGE-2 F1", |s| s.rouge2, None)?;
    row("ROUGE-L F1", |s| s.rouge_l, None)?;
    row("distinct-1", |s| s.distinct1, None)?;
    row("distinct-2", |s| s.distinct2, None)?;
    row("words per summary", |s| s.mean_length, None)?;
    row("empty summaries", |s| s.empty as f64, None)?;
    line(format!("KL(after ‖ before): {:.3} nats per response", e.kl))
}
