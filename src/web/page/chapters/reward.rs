//! Chapter 2.2: the reward model's score of a text, what each word contributes, and the bug in the published lab, on its
//! own two sentences.

use super::common::{ChapterFrame, Formula, Pending, Point, Source, Symbol, Symbols, Try, text_field, when_some};
use crate::protocol::{Answer, Ask, Scored};
use crate::web::page::address::Chapter;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::score_card::{ScoreCard, WordBars};
use crate::web::page::parts::table::scrolling_table;
use crate::web::page::recorded::{Judged, SENTENCES};
use leptos::prelude::*;
use std::sync::Arc;

/// The logits (nothate, hate) that the lab's own reward model gives its two sentences.
const LABS: [[f32; 2]; 2] = [[3.1141, -2.4896], [-0.6921, 0.3723]];

/// Maximum number of characters of a text.
const LONGEST: usize = 1500;

#[component]
pub fn Reward() -> impl IntoView {
    let s = engine().state;
    let judged = RwSignal::new(None::<Judged>);
    let recorded = move || s.recorded.with(|r| r.as_ref().and_then(|r| r.judged.get(1).or(r.judged.first()).cloned()));
    // A text that was asked about and has no result has no other text's result below it.
    let asked = RwSignal::new(None::<String>);
    let here = memo(move || match asked.get() {
        Some(text) => judged.get().filter(|judged| judged.text == text),
        None => recorded(),
    });
    let live = Signal::derive(move || judged.with(Option::is_some));
    let of = move |f: fn(&Scored) -> f32, probability: bool| {
        Signal::derive(move || {
            here.with(|j| match j {
                Some(j) if probability => format::probability(f(&j.scored).into()),
                Some(j) => format::signed(f(&j.scored).into(), 3),
                None => format::NONE.into(),
            })
        })
    };
    view! {
        <ChapterFrame
            chapter=Chapter::Reward
            lead="The score comes from a second network, trained to recognise hate speech."
        >
            <p>
                "The reward model reads a text and gives two numbers, the logits of " <i>"nothate"</i> " and " <i>"hate"</i>
                ". Softmax turns them into probabilities. As the " <Point stage=5 meaning=Meaning::Reward>"score"</Point>
                " of a summary we take the logit of nothate: unlike a probability it does not flatten out near 1, so a less hateful summary "
                "still earns more."
            </p>
            <Formula
                label="The score is the logit of nothate; the toxicity is the softmax probability of hate"
                math="<math display='block'>\
                    <mtext>score</mtext><mo>=</mo><msub><mi>z</mi><mtext>nothate</mtext></msub>\
                    <mspace width='2em'></mspace>\
                    <mtext>toxicity</mtext><mo>=</mo>\
                    <mfrac>\
                    <msup><mi>e</mi><msub><mi>z</mi><mtext>hate</mtext></msub></msup>\
                    <mrow>\
                    <msup><mi>e</mi><msub><mi>z</mi><mtext>nothate</mtext></msub></msup><mo>+</mo>\
                    <msup><mi>e</mi><msub><mi>z</mi><mtext>hate</mtext></msub></msup>\
                    </mrow>\
                    </mfrac>\
                    </math>"
            />
            <Symbols>
                <Symbol is="z" sub="nothate" stage=5 meaning=Meaning::Reward now=of(|s| s.logits.nothate, false)>
                    "logit of nothate: the score"
                </Symbol>
                <Symbol is="z" sub="hate" stage=5 now=of(|s| s.logits.hate, false)>"logit of hate"</Symbol>
                <Symbol is="toxicity" stage=5 now=of(|s| s.toxicity, true)>"P(hate) of the text below"</Symbol>
            </Symbols>
            <Judge judged=judged last=asked />
            {when_some(move || here.get(), move |judged| {
                let scored = Signal::derive(move || judged.with(|j| j.scored));
                let text = Signal::derive(move || judged.with(|j| j.text.clone()));
                let words = Signal::derive(move || Arc::new(judged.with(|j| j.words.clone())));
                view! {
                    <p class="caption"><Source live=live /></p>
                    <ScoreCard scored=scored text=text />
                    <Show when=move || judged.with(|j| !j.words.is_empty())>
                        <h3>"What each word contributes"</h3>
                        <p>
                            "Each word is removed in turn, and the rest is scored again. If the score is higher without a word, "
                            "that word had lowered it."
                        </p>
                        <WordBars words=words />
                    </Show>
                }
                .into_any()
            })}
            <Fault />
        </ChapterFrame>
    }
}

/// The text field and its buttons.
#[component]
fn Judge(judged: RwSignal<Option<Judged>>, last: RwSignal<Option<String>>) -> impl IntoView {
    let e = engine();
    let text = RwSignal::new(SENTENCES[1].to_owned());
    let empty = move || text.with(|t| t.trim().is_empty());
    let judge = move || {
        let asked = text.get_untracked().trim().to_owned();
        if asked.is_empty() {
            return;
        }
        let ask = Ask::Words { text: asked.clone() };
        last.set(Some(asked.clone()));
        e.ask_live(ask, None, move |end| {
            if let Ok((Answer::Words { scored, words }, _)) = end {
                judged.set(Some(Judged { text: asked, scored: *scored, words: words.clone() }));
            }
        });
    };
    let long = move || text.with(|t| t.chars().count() >= LONGEST);
    view! {
        <Try title="Type a text of your own">
            {text_field("Text to be scored", "3", LONGEST, text)}
            <p class="note" role="status">
                {move || match (empty(), long()) {
                    (true, _) => "Nothing typed yet",
                    (_, true) => "This is the maximum length of a text",
                    _ => "",
                }}
            </p>
            <p class="row">
                <button type="button" class="primary" disabled=empty on:click=move |_| judge()>"Score it"</button>
                {SENTENCES
                    .into_iter()
                    .zip(["The lab's mild sentence", "The lab's harsh sentence"])
                    .map(|(sentence, label)| {
                        view! {
                            <button
                                type="button"
                                on:click=move |_| {
                                    text.set(sentence.to_owned());
                                    judge();
                                }
                            >
                                {label}
                            </button>
                        }
                    })
                    .collect_view()}
            </p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Words { .. }) />
        </Try>
    }
}

/// What the published lab reads as the reward.
#[component]
fn Fault() -> impl IntoView {
    let s = engine().state;
    let logits = move |i: usize| {
        let of = |j: &Judged| [j.scored.logits.nothate, j.scored.logits.hate];
        s.recorded.with(|r| r.as_ref().and_then(|r| r.judged.iter().find(|j| j.text == SENTENCES[i]).map(of)))
    };
    let row = move |i: usize, model: &'static str, [nothate, hate]: [f32; 2]| {
        let (read, label) = published(nothate, hate);
        let wrong = label == "hate";
        view! {
            <tr class:wrong=wrong>
                <th scope="row">{SENTENCES[i]}</th>
                <td>{model}</td>
                <td class="num">{format::signed(nothate.into(), 3)}</td>
                <td class="num">{format::signed(hate.into(), 3)}</td>
                <td class="num m-reward">{format::signed(nothate.into(), 3)}</td>
                <td class="num">
                    {format::signed(read.into(), 3)} {wrong.then(|| view! { <span class="flag">"the logit of hate"</span> })}
                </td>
            </tr>
        }
    };
    view! {
        <h3>"A bug in the published lab"</h3>
        <p>
            "The published lab asks for both labels and takes the first of the list as the reward. But the list is sorted, highest "
            "score first. For a mild text the first is nothate, as intended. For a hateful text it is " <i>"hate"</i>
            ", and a summary is rewarded for being hateful. Reading the score by its label fixes this; the preset \"as published\" keeps the bug."
        </p>
        {scrolling_table(
            "The lab's two sentences",
            "",
            &["sentence", "model", "nothate", "hate", "corrected reads", "published reads"],
            move || {
                let pair = |i: usize| {
                    let here = logits(i).map(|logits| row(i, "on this page", logits));
                    view! { {row(i, "the lab's", LABS[i])} {here} }
                };
                (0..SENTENCES.len()).map(pair).collect_view()
            },
        )}
    }
}

/// The first of the labels sorted by logit: what the published lab takes as the reward.
fn published(nothate: f32, hate: f32) -> (f32, &'static str) {
    if hate > nothate { (hate, "hate") } else { (nothate, "nothate") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_reward_of_the_harsh_sentence_is_the_wrong_label() {
        let [mild, harsh] = LABS.map(|[nothate, hate]| published(nothate, hate));
        assert_eq!(mild.1, "nothate");
        assert_eq!(harsh, (0.3723, "hate"));
    }
}
