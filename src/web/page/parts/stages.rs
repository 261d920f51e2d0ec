//! The twelve stages of a PPO step: their names, what they do, and one number for each. `machine` draws them.

use super::format::{count, fixed, number, percent, signed};
use super::meaning::Meaning;
use crate::protocol::{Stage, Statistics, Step};

/// A stage in the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageInfo {
    /// 1 to 12.
    pub number: u8,
    pub name: &'static str,
    /// What comes out, in a few words.
    pub gives: &'static str,
    /// What happens, in a sentence.
    pub does: &'static str,
    /// The chapter that explains it.
    pub chapter: &'static str,
    pub meaning: Meaning,
}

/// The stages in order.
#[rustfmt::skip] // a line for each stage
pub const STAGES: [StageInfo; 12] = [
    stage(1, "dialogue", "who said what", "A batch of dialogues is taken from the data", "2.1", Meaning::Plain),
    stage(2, "prompt", "the request", "Each dialogue is wrapped in the words that ask for a summary", "2.1", Meaning::Plain),
    stage(3, "tokens", "ids", "The tokenizer cuts each prompt into tokens, each with an id", "2.1", Meaning::Plain),
    stage(4, "generate", "responses", "The policy writes a summary, token by token, by sampling", "2.1", Meaning::Policy),
    stage(5, "reward", "one score each", "The reward model reads each summary and gives it one score", "2.2", Meaning::Reward),
    stage(6, "logprobs, value", "three numbers per token", "Policy, reference and value head compute their number for every token", "3.2", Meaning::Reference),
    stage(7, "rewards", "one per token", "A KL penalty at every token; the score is added at the last token", "3.2", Meaning::Reward),
    stage(8, "advantages", "better than expected?", "The rewards after each token are compared with the value head's prediction", "3.2", Meaning::Value),
    stage(9, "loss", "which way to move", "Tokens that did better become more likely, within the clip range", "3.2", Meaning::Policy),
    stage(10, "optimizer", "new weights", "Adam updates the adapter and the value head", "3.2", Meaning::Policy),
    stage(11, "statistics", "how it went", "The step's numbers are averaged; the KL coefficient is adjusted", "3.2", Meaning::Plain),
    stage(12, "chart", "one more point", "The step becomes a point on each chart", "3.2", Meaning::Plain),
];

const fn stage(
    number: u8,
    name: &'static str,
    gives: &'static str,
    does: &'static str,
    chapter: &'static str,
    meaning: Meaning,
) -> StageInfo {
    StageInfo { number, name, gives, does, chapter, meaning }
}

/// One number for each of [`STAGES`]; none if the stage has not been reached.
pub type Headlines = [Option<String>; 12];

/// The numbers of a finished step.
pub fn headlines(step: &Step) -> Headlines {
    let rows = step.queries.len();
    let tokens: usize = step.queries.iter().map(|query| query.tokens).sum();
    let s = &step.statistics;
    let line = |x: f64, word: &str, text: fn(f64) -> String| x.is_finite().then(|| format!("{word} {}", text(x)));
    // The step of a run that was continued has statistics only.
    let of_rows = |text: String| (rows > 0).then_some(text);
    [
        of_rows(rows_of_batch(rows)),
        of_rows(rows_of_batch(rows)),
        of_rows(format!("{} tokens", count(tokens as u64))),
        of_rows(written(step.responses.iter().map(|response| response.pieces.len()))),
        mean(&step.rewards).map(|x| format!("score {}", signed(x, 2))),
        line(s.kl, "KL", |x| fixed(x, 3)),
        line(s.kl_coef, "β", |x| number(x, 3)),
        line(s.returns_mean, "return", |x| signed(x, 2)),
        line(s.total_loss, "loss", |x| signed(x, 3)),
        line(s.learning_rate, "rate", |x| number(x, 2)),
        line(s.clip_fraction, "clipped", |x| percent(x, 1)),
        Some(format!("step {}", step.step)),
    ]
}

/// The number of one stage.
pub fn headline(stage: &Stage) -> String {
    match stage {
        Stage::Queries { rows } => {
            format!("{} tokens", count(rows.iter().map(|query| query.tokens as u64).sum()))
        }
        Stage::Responses { rows } => written(rows.iter().map(|response| response.pieces.len())),
        Stage::Scores { rows, .. } => {
            let scores: Vec<f32> = rows.iter().map(|scored| scored.score).collect();
            mean(&scores).map_or_else(String::new, |x| format!("score {}", signed(x, 2)))
        }
        Stage::Forward { mask, old_logprobs, ref_logprobs, .. } => {
            let apart = old_logprobs.data.iter().zip(&ref_logprobs.data).zip(&mask.data);
            let sum: f64 = apart.filter(|(_, m)| **m > 0.0).map(|((a, b), _)| f64::from(a - b)).sum();
            format!("KL {}", fixed(sum / mask.rows.max(1) as f64, 3))
        }
        Stage::Rewards { kl_coef, .. } => format!("β {}", number(*kl_coef, 3)),
        Stage::Advantages { returns, .. } => {
            format!("{} tokens", count(returns.data.iter().filter(|x| **x != 0.0).count() as u64))
        }
        Stage::MiniBatch { stats, .. } => format!("loss {}", signed(stats.total_loss, 3)),
        Stage::Optimizer { grad_norm, .. } => format!("norm {}", number(*grad_norm, 3)),
        Stage::Statistics(statistics) => format!("clipped {}", percent(statistics.clip_fraction, 1)),
    }
}

/// What of a step is beyond reason, in words; a KL of some tens is possible with another reference than the start.
pub fn diverged(step: &Statistics) -> Option<String> {
    let beyond = |x: f64| !x.is_finite() || x.abs() > 100.0;
    match step {
        _ if beyond(step.total_loss) => Some(format!("the loss is {}", number(step.total_loss, 3))),
        _ if beyond(step.kl) => {
            Some(format!("the policy is {} nats per response from the reference", number(step.kl, 3)))
        }
        _ => None,
    }
}

/// The size of a batch.
pub fn rows_of_batch(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn written(lengths: impl Iterator<Item = usize>) -> String {
    format!("{} tokens", count(lengths.sum::<usize>() as u64))
}

fn mean(values: &[f32]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_numbered_in_order() {
        for (i, stage) in STAGES.iter().enumerate() {
            assert_eq!(usize::from(stage.number), i + 1);
            assert!(!stage.does.ends_with('.') && stage.does.len() < 90, "{}", stage.does);
        }
        let stats = Stage::Statistics(Default::default());
        assert_eq!(STAGES[usize::from(stats.number()) - 1].name, "statistics");
    }

    #[test]
    fn a_run_diverges_by_its_loss_or_its_kl() {
        let step = |total_loss, kl| diverged(&Statistics { total_loss, kl, ..Statistics::default() });
        assert_eq!((step(1.0, 30.0), step(-2.0, 99.0)), (None, None));
        assert!(step(1e9, 0.0).is_some_and(|what| what.contains("loss")));
        assert!(step(1.0, 133.0).is_some_and(|what| what.contains("133 nats")) && step(f64::NAN, 0.0).is_some());
    }

    #[test]
    fn headlines_of_a_stage() {
        assert_eq!(headline(&Stage::Optimizer { updates: 1, grad_norm: 0.123_456, learning_rate: 1e-3 }), "norm 0.123");
        assert_eq!(headline(&Stage::Statistics(Default::default())), "clipped 0.0\u{a0}%");
    }
}
