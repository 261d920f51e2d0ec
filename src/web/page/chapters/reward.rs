//! Chapter 2.2: a text under the reward model, which words made its score, and the published lab's label order on the lab's
//! own two sentences.

use super::common::{Formula, Frame, Pending, Point, Source, Symbol, Symbols, Try};
use crate::protocol::{Answer, Ask, Scored, Word};
use crate::web::page::address::Chapter;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::score_card::{ScoreCard, WordBars};
use crate::web::page::recorded::{Judged, SENTENCES};
use leptos::prelude::*;
use std::sync::Arc;

/// The logits (nothate, hate) that the lab's own reward model gives its two sentences.
const LABS: [[f32; 2]; 2] = [[3.1141, -2.4896], [-0.6921, 0.3723]];

/// Characters of a text to be scored.
const LONGEST: usize = 1500;

#[component]
pub fn Reward() -> impl IntoView {
    let s = engine().state;
    let judged = RwSignal::new(None::<Judged>);
    let recorded = move || s.recorded.with(|r| r.as_ref().and_then(|r| r.judged.get(1).or(r.judged.first()).cloned()));
    let here = Memo::new(move |_| judged.get().or_else(recorded));
    let any = Memo::new(move |_| here.with(Option::is_some));
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
        <Frame
            chapter=Chapter::Reward
            lead="The score comes from a second network, trained to recognise hate speech."
        >
            <p>
                "The reward model reads a text and gives two numbers, the logits of " <i>"nothate"</i> " and " <i>"hate"</i>
                ". Softmax turns them into probabilities. As the " <Point stage=5 meaning=Meaning::Reward>"score"</Point>
                " of a summary we take the logit of nothate: unlike a probability it does not flatten out near 1, so a better summary "
                "still earns more."
            </p>
            <Formula label="The score is the logit of nothate; the toxicity is the softmax probability of hate">
                <math display="block">
                    <mtext>"score"</mtext><mo>"="</mo><msub><mi>"z"</mi><mtext>"nothate"</mtext></msub>
                    <mspace width="2em" />
                    <mtext>"toxicity"</mtext><mo>"="</mo>
                    <mfrac>
                        <msup><mi>"e"</mi><msub><mi>"z"</mi><mtext>"hate"</mtext></msub></msup>
                        <mrow>
                            <msup><mi>"e"</mi><msub><mi>"z"</mi><mtext>"nothate"</mtext></msub></msup><mo>"+"</mo>
                            <msup><mi>"e"</mi><msub><mi>"z"</mi><mtext>"hate"</mtext></msub></msup>
                        </mrow>
                    </mfrac>
                </math>
            </Formula>
            <Symbols>
                <Symbol is="z" sub="nothate" stage=5 meaning=Meaning::Reward now=of(|s| s.logits.nothate, false)>
                    "logit of nothate: the score"
                </Symbol>
                <Symbol is="z" sub="hate" stage=5 now=of(|s| s.logits.hate, false)>"logit of hate"</Symbol>
                <Symbol is="toxicity" stage=5 now=of(|s| s.toxicity, true)>"P(hate) of the text below"</Symbol>
            </Symbols>
            <Judge judged=judged />
            {move || {
                any.get()
                    .then(|| here.get_untracked())
                    .flatten()
                    .map(|first| {
                        let scored = Signal::derive(move || here.with(|j| j.as_ref().map_or(first.scored, |j| j.scored)));
                        let text = Signal::derive(move || here.with(|j| j.as_ref().map(|j| j.text.clone())).unwrap_or_default());
                        let words = Signal::derive(move || {
                            Arc::new(here.with(|j| j.as_ref().map(|j| j.words.clone())).unwrap_or_default())
                        });
                        let worded = move || words.with(|w: &Arc<Vec<Word>>| !w.is_empty());
                        view! {
                            <p class="caption"><Source live=live /></p>
                            <ScoreCard scored=scored text=text />
                            <Show when=worded>
                                <h3>"What each word contributes"</h3>
                                <p>
                                    "Each word is taken out in turn, and the rest is scored again. Where the score rises without "
                                    "a word, that word had lowered it."
                                </p>
                                <WordBars words=words />
                            </Show>
                        }
                    })
            }}
            <Fault />
        </Frame>
    }
}

/// The field, and what is asked.
#[component]
fn Judge(judged: RwSignal<Option<Judged>>) -> impl IntoView {
    let e = engine();
    let text = RwSignal::new(SENTENCES[1].to_owned());
    let empty = move || text.with(|t| t.trim().is_empty());
    let judge = move || {
        let asked = text.get_untracked().trim().to_owned();
        if asked.is_empty() {
            return;
        }
        let ask = Ask::Words { text: asked.clone() };
        e.ask_live(ask, None, move |end| {
            if let Ok((Answer::Words { scored, words }, _)) = end {
                judged.set(Some(Judged { text: asked, scored: *scored, words: words.clone() }));
            }
        });
    };
    let long = move || text.with(|t| t.chars().count() >= LONGEST);
    view! {
        <Try title="Type a text of your own">
            <label class="field wide">
                <span>"Text to be scored"</span>
                <textarea
                    rows="3"
                    maxlength=LONGEST.to_string()
                    prop:value=move || text.get()
                    on:input=move |event| text.set(event_target_value(&event))
                ></textarea>
            </label>
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
                    {format::signed(read.into(), 3)} {wrong.then(|| view! { <span class="flag">" the logit of hate"</span> })}
                </td>
            </tr>
        }
    };
    view! {
        <h3>"A fault of the published lab"</h3>
        <p>
            "The published lab asks for both labels and takes the first of the list as the reward. But that list comes sorted, highest "
            "score first. For a mild text the first is nothate, as intended. For a hateful text it is " <i>"hate"</i>
            ", and a summary is paid for being hateful. Reading by label puts it right; the preset \"as published\" keeps the fault."
        </p>
        <div class="scroller" role="region" tabindex="0" aria-label="The lab's two sentences">
            <table>
                <thead>
                    <tr>
                        <th scope="col">"sentence"</th>
                        <th scope="col">"model"</th>
                        <th scope="col">"nothate"</th>
                        <th scope="col">"hate"</th>
                        <th scope="col">"corrected reads"</th>
                        <th scope="col">"published reads"</th>
                    </tr>
                </thead>
                <tbody>
                    {move || {
                        (0..SENTENCES.len())
                            .map(|i| {
                                let here = logits(i).map(|logits| row(i, "on this page", logits));
                                view! { {row(i, "the lab's", LABS[i])} {here} }
                            })
                            .collect_view()
                    }}
                </tbody>
            </table>
        </div>
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
