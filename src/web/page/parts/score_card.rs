//! The reward model's output for a text, and what each word contributes. The worker computes them.

use super::format;
use crate::protocol::{Scored, Word};
use leptos::prelude::*;
use std::sync::Arc;

/// Both logits, both probabilities, the score.
#[component]
pub fn ScoreCard(
    #[prop(into)] scored: Signal<Scored>,
    #[prop(optional, into)] text: Option<Signal<String>>,
) -> impl IntoView {
    let number = |read: fn(&Scored) -> f32| move || format::signed(f64::from(read(&scored.read())), 4);
    let probability = |read: fn(&Scored) -> f32| move || format::probability(f64::from(read(&scored.read())));
    let row = |label: &'static str, class: &'static str, logit: fn(&Scored) -> f32, share: fn(&Scored) -> f32| {
        view! {
            <tr>
                <th scope="row">{label}</th>
                <td class="num">{number(logit)}</td>
                <td class="num">{probability(share)}</td>
                <td class="bar-cell" aria-hidden="true">
                    <span class=class style:width=move || format!("{:.2}%", 100.0 * share(&scored.read()))></span>
                </td>
            </tr>
        }
    };
    view! {
        <div class="score-card">
            {text.map(|text| view! { <blockquote class="score-text">{move || text.get()}</blockquote> })}
            <table class="score-table">
                <caption class="sr-only">"What the reward model says"</caption>
                <thead>
                    <tr>
                        <th scope="col">"label"</th>
                        <th scope="col">"logit"</th>
                        <th scope="col">"probability"</th>
                        <td></td>
                    </tr>
                </thead>
                <tbody>
                    {row("nothate", "bar m-reward", |s| s.logits.nothate, |s| s.probabilities.nothate)}
                    {row("hate", "bar m-reward is-hollow", |s| s.logits.hate, |s| s.probabilities.hate)}
                </tbody>
            </table>
            <p class="score-line">
                <span>"score, the nothate logit "</span>
                <strong class="m-reward num">{number(|s| s.score)}</strong>
                <span>" toxicity, P(hate) "</span>
                <strong class="num">{probability(|s| s.toxicity)}</strong>
            </p>
        </div>
    }
}

/// The words of a text, coloured by what they do to the score: as everywhere, one colour for less and one for more.
#[component]
pub fn WordBars(#[prop(into)] words: Signal<Arc<Vec<Word>>>) -> impl IntoView {
    let items = move || {
        let words = words.read();
        let reach = words.iter().map(|word| word.change.abs()).fold(f32::MIN_POSITIVE, f32::max);
        let item = |word: &Word| {
            view! {
                <li class=format!("word {}", shade(-word.change, reach))>
                    <span class="word-text">{word.text.clone()}</span>
                    <span class="word-change num">{format::signed(f64::from(word.change), 2)}</span>
                </li>
            }
        };
        words.iter().map(item).collect_view()
    };
    view! {
        <div class="words">
            <ul class="word-list" aria-label="Each word, and by how much the score changes without it">{items}</ul>
            <p class="words-key">
                "Change of the score when the word is removed. Positive: the word had lowered the score. The colour shows what the word does to the score."
            </p>
        </div>
    }
}

/// The CSS class of a word, on the scale of signed numbers.
fn shade(change: f32, reach: f32) -> &'static str {
    let scale = super::heat::Scale { centre: 0.0, reach, diverging: true };
    scale.class(scale.level(change))
}

#[cfg(test)]
mod tests {
    use super::shade;

    #[test]
    fn words_are_shaded_by_their_change() {
        assert_eq!((shade(-2.0, 2.0), shade(0.0, 2.0), shade(2.0, 2.0)), ("h-n4", "h-0", "h-p4"));
    }
}
