//! Before and after in numbers: both sides, the paired difference with its interval, and in words what it allows one to
//! say. The engine computes the statistics.

use super::format;
use super::table::scrolling_table;
use crate::protocol::{Difference, Evaluation, Toxicity, Verdict};
use leptos::prelude::*;
use std::sync::Arc;

/// One line of the table.
struct Comparison {
    name: &'static str,
    before: f64,
    after: f64,
    decimals: usize,
    difference: Option<Difference>,
    /// Whether a lower number is better; none if neither is.
    lower_is_better: Option<bool>,
}

fn lines(numbers: &Evaluation) -> Vec<Comparison> {
    let (b, a) = (&numbers.before, &numbers.after);
    let line = |name, before, after, decimals| Comparison {
        name,
        before,
        after,
        decimals,
        difference: None,
        lower_is_better: None,
    };
    let judged = |difference, lower_is_better, line| Comparison {
        difference: Some(difference),
        lower_is_better: Some(lower_is_better),
        ..line
    };
    vec![
        judged(
            numbers.toxicity_difference,
            true,
            line("toxicity, mean", b.toxicity.spread.mean, a.toxicity.spread.mean, 4),
        ),
        line("toxicity, standard deviation", b.toxicity.spread.std, a.toxicity.spread.std, 4),
        line("toxicity, maximum", b.toxicity.maximum, a.toxicity.maximum, 4),
        line("toxic responses, P(hate) ≥ 0.5", b.toxicity.ratio, a.toxicity.ratio, 4),
        judged(numbers.score_difference, false, line("score, mean", b.score.mean, a.score.mean, 4)),
        judged(numbers.rouge1_difference, false, line("ROUGE-1", b.rouge1, a.rouge1, 4)),
        line("ROUGE-2", b.rouge2, a.rouge2, 4),
        line("ROUGE-L", b.rouge_l, a.rouge_l, 4),
        line("distinct words, distinct-1", b.distinct1, a.distinct1, 4),
        line("distinct bigrams, distinct-2", b.distinct2, a.distinct2, 4),
        line("words per summary", b.mean_length, a.mean_length, 1),
        line("empty summaries", b.empty as f64, a.empty as f64, 0),
    ]
}

/// What a difference allows one to say, and whether that is good.
fn verdict(difference: &Difference, lower_is_better: Option<bool>) -> (&'static str, String) {
    let (class, mark) = match (difference.verdict, lower_is_better) {
        (Verdict::Lower, Some(true)) | (Verdict::Higher, Some(false)) => ("is-better", "✓ "),
        (Verdict::Higher, Some(true)) | (Verdict::Lower, Some(false)) => ("is-worse", "✗ "),
        _ => ("is-noise", ""),
    };
    (class, format!("{mark}{}", difference.verdict))
}

/// A summary in two sentences.
fn summary(numbers: &Evaluation) -> String {
    let n = numbers.n;
    let toxicity = match numbers.toxicity_difference.verdict {
        Verdict::TooFewPairs => format!("{n} dialogues are too few to tell a difference from noise."),
        Verdict::NoDifference => format!("Over {n} dialogues toxicity shows no difference beyond noise."),
        Verdict::Lower => format!("Over {n} dialogues toxicity is lower after than before, beyond noise."),
        Verdict::Higher => format!("Over {n} dialogues toxicity is higher after than before, beyond noise."),
    };
    let quality = match numbers.rouge1_difference.verdict {
        Verdict::TooFewPairs => String::new(),
        Verdict::NoDifference => " ROUGE-1 shows no difference beyond noise.".into(),
        Verdict::Lower => " ROUGE-1 is lower, beyond noise: the summaries became worse.".into(),
        Verdict::Higher => " ROUGE-1 is higher, beyond noise.".into(),
    };
    toxicity + &quality
}

/// The table with its summary.
#[component]
pub fn CompareNumbers(#[prop(into)] numbers: Signal<Arc<Evaluation>>) -> impl IntoView {
    let rows = move || lines(&numbers.read()).iter().map(row).collect_view();
    let kl = move || format::fixed(numbers.read().kl, 3);
    let sampled = move || {
        let numbers = numbers.read();
        let how = if numbers.options.greedy {
            "greedy".to_string()
        } else {
            format!("sampled, seed {}", numbers.options.seed)
        };
        format!("{} dialogues of the test split, {how}, the same for both", numbers.n)
    };
    view! {
        <section class="numbers" aria-label="Before and after in numbers">
            <p class="numbers-summary" aria-live="polite">{move || summary(&numbers.read())}</p>
            <p class="caption">{sampled}</p>
            {scrolling_table(
                "Before and after, as a table",
                "numbers-table",
                &["what", "before", "after", "after − before, 95 % interval", "verdict"],
                rows,
            )}
            <p class="num numbers-kl">"KL of after against before: " {kl} " nats per response"</p>
        </section>
    }
}

fn row(line: &Comparison) -> impl IntoView + use<> {
    let decimals = line.decimals;
    let interval = line.difference.map(|d| {
        format!("{} [{}, {}]", format::signed(d.mean, 4), format::signed(d.low, 4), format::signed(d.high, 4))
    });
    let verdict = line.difference.map(|d| {
        let (class, words) = verdict(&d, line.lower_is_better);
        view! { <span class=format!("verdict {class}")>{words}</span> }
    });
    view! {
        <tr>
            <th scope="row">{line.name}</th>
            <td class="num">{format::fixed(line.before, decimals)}</td>
            <td class="num">{format::fixed(line.after, decimals)}</td>
            <td class="num">{interval}</td>
            <td>{verdict}</td>
        </tr>
    }
}

/// One side alone: mean, standard deviation and share of toxic texts.
#[component]
pub fn ToxicityNumbers(#[prop(into)] toxicity: Signal<Toxicity>) -> impl IntoView {
    let number = |read: fn(&Toxicity) -> f64| move || format::fixed(read(&toxicity.read()), 4);
    view! {
        <dl class="facts">
            <div class="fact"><dt>"texts"</dt> <dd class="num">{move || toxicity.read().spread.n}</dd></div>
            <div class="fact"><dt>"mean P(hate)"</dt> <dd class="num m-reward">{number(|t| t.spread.mean)}</dd></div>
            <div class="fact"><dt>"standard deviation"</dt> <dd class="num">{number(|t| t.spread.std)}</dd></div>
            <div class="fact"><dt>"maximum"</dt> <dd class="num">{number(|t| t.maximum)}</dd></div>
            <div class="fact">
                <dt>"at 0.5 or above"</dt>
                <dd class="num">{move || format::percent(toxicity.read().ratio, 1)}</dd>
            </div>
        </dl>
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn recorded() -> Evaluation {
        serde_json::from_str(include_str!("../../../../static/recorded/evaluation.json")).unwrap()
    }

    #[test]
    fn the_words_are_honest() {
        let mut numbers = recorded();
        let difference = |verdict| Difference { n: 200, mean: -0.1, low: -0.2, high: -0.05, verdict };
        numbers.toxicity_difference = difference(Verdict::Lower);
        numbers.rouge1_difference = difference(Verdict::NoDifference);
        assert_eq!(
            summary(&numbers),
            "Over 200 dialogues toxicity is lower after than before, beyond noise. ROUGE-1 shows no difference beyond \
             noise."
        );
        numbers.toxicity_difference = difference(Verdict::NoDifference);
        numbers.rouge1_difference = difference(Verdict::Lower);
        assert!(summary(&numbers).contains("no difference beyond noise. ROUGE-1 is lower"));
        numbers.n = 3;
        numbers.toxicity_difference = difference(Verdict::TooFewPairs);
        assert!(summary(&numbers).starts_with("3 dialogues are too few"));
    }

    #[test]
    fn better_and_worse_depend_on_the_number() {
        let difference = |verdict| Difference { n: 9, mean: 0.0, low: 0.0, high: 0.0, verdict };
        assert_eq!(verdict(&difference(Verdict::Lower), Some(true)).0, "is-better");
        assert_eq!(verdict(&difference(Verdict::Lower), Some(false)).0, "is-worse");
        assert_eq!(verdict(&difference(Verdict::NoDifference), Some(true)).0, "is-noise");
        assert_eq!(verdict(&difference(Verdict::Higher), None).0, "is-noise");
    }

    #[test]
    fn every_line_has_two_sides() {
        let numbers = recorded();
        let lines = lines(&numbers);
        assert!(lines.len() == 12 && lines.iter().all(|line| line.before.is_finite() && line.after.is_finite()));
    }
}
