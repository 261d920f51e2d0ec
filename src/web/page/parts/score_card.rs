//! What the reward model says about a text, and what each of its words does to it. Scoring is the worker's.

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
    let share = |read: fn(&Scored) -> f32| move || format!("{:.2}%", 100.0 * read(&scored.read()));
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
                    <tr>
                        <th scope="row">"nothate"</th>
                        <td class="num">{number(|s| s.logits.nothate)}</td>
                        <td class="num">{probability(|s| s.probabilities.nothate)}</td>
                        <td class="bar-cell" aria-hidden="true">
                            <span class="bar m-reward" style:width=share(|s| s.probabilities.nothate)></span>
                        </td>
                    </tr>
                    <tr>
                        <th scope="row">"hate"</th>
                        <td class="num">{number(|s| s.logits.hate)}</td>
                        <td class="num">{probability(|s| s.probabilities.hate)}</td>
                        <td class="bar-cell" aria-hidden="true">
                            <span class="bar m-reward is-hollow" style:width=share(|s| s.probabilities.hate)></span>
                        </td>
                    </tr>
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

/// A text's words on their ground: what the score would change by without the word.
#[component]
pub fn WordBars(#[prop(into)] words: Signal<Arc<Vec<Word>>>) -> impl IntoView {
    let items = move || {
        let words = words.read();
        let reach = words.iter().map(|word| word.change.abs()).fold(f32::MIN_POSITIVE, f32::max);
        let item = |word: &Word| {
            view! {
                <li class=format!("word {}", shade(word.change, reach))>
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
                "So much would the score change without the word: below zero it speaks for nothate, above for hate"
            </p>
        </div>
    }
}

/// The class of a word's ground, in the shades of signed numbers.
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
