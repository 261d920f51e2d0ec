//! Chapter 2.1: the dialogues, one of them as a prompt and its tokens, and a summary written token by token with the
//! alternatives. Browsing is in `policy_dialogues`, the adapter in `policy_lora`.

use super::common::{ChapterFrame, Formula, Pending, Point, Source, Symbol, Symbols, Try};
use super::policy_dialogues::Dialogues;
use super::policy_lora::Lora;
use super::policy_write::{Choices, Summary, write};
use crate::protocol::{Adapter, Answer, Ask, Generate, Piece, Reader};
use crate::web::page::address::Chapter;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::tokens::PromptTokens;
use crate::web::page::recorded::Written;
use leptos::prelude::*;
use std::sync::Arc;

#[component]
pub fn Policy() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let dialogue = RwSignal::new(String::new());
    let choices = Choices::new();
    // The recorded example comes first: the recorded numbers below belong to it.
    Effect::new(move |_| {
        let first = s.recorded.with(|r| r.as_ref().and_then(|r| r.written.first().map(|w| w.dialogue.clone())));
        let first = first.or_else(|| s.dialogues.with(|d| d.iter().find(|d| d.held_out).map(|d| d.dialogue.clone())));
        if let Some(first) = first
            && dialogue.with_untracked(String::is_empty)
        {
            dialogue.set(first);
        }
    });
    view! {
        <ChapterFrame
            chapter=Chapter::Policy
            lead="A dialogue becomes a prompt, the prompt becomes tokens, and the policy answers with a summary, one token at a time."
        >
            <p>
                "The " <Point stage=1>"dialogues"</Point> " are short, and some are heated. Each is wrapped in the same "
                <Point stage=2>"prompt"</Point> ", and a " <Point stage=3>"tokenizer"</Point>
                " cuts it into tokens, each with a number, its id. The model reads only these ids."
            </p>
            <Dialogues chosen=dialogue />
            <Prompt dialogue=dialogue />
            <h3>"Writing"</h3>
            <p>
                "At every position the " <Point stage=4 meaning=Meaning::Policy>"policy"</Point>
                " computes a number for each token of its vocabulary, the logit z. Softmax turns the logits into probabilities, and one "
                "token is sampled. The next one is conditioned on all tokens so far. A higher temperature T flattens the probabilities; top-k "
                "and top-p remove unlikely tokens. During PPO T is 1 and nothing is removed: samples must come from the policy's own distribution."
            </p>
            <Formula
                label="Softmax with temperature"
                math="<math display='block'>\
                    <msub><mi class='m-policy'>π</mi><mi>θ</mi></msub>\
                    <mo stretchy='false'>(</mo><mi>a</mi><mo>∣</mo><mi>s</mi><mo stretchy='false'>)</mo><mo>=</mo>\
                    <mfrac>\
                    <msup><mi>e</mi><mrow><msub><mi>z</mi><mi>a</mi></msub><mo>/</mo><mi>T</mi></mrow></msup>\
                    <mrow>\
                    <munder><mo>∑</mo><mi>b</mi></munder>\
                    <msup><mi>e</mi><mrow><msub><mi>z</mi><mi>b</mi></msub><mo>/</mo><mi>T</mi></mrow></msup>\
                    </mrow>\
                    </mfrac>\
                    </math>"
            />
            <Symbols>
                <Symbol is="s" stage=3>"state: the prompt and the tokens so far"</Symbol>
                <Symbol is="a" stage=4 meaning=Meaning::Policy>"action: the token chosen next"</Symbol>
                <Symbol is="T" now=Signal::derive(move || format::setting(choices.temperature.get()))>"temperature"</Symbol>
            </Symbols>
            <Write dialogue=dialogue choices=choices />
            <Lora />
        </ChapterFrame>
    }
}

/// The prompt as tokens: recorded if the dialogue is the recorded one, otherwise from the worker.
#[component]
fn Prompt(dialogue: RwSignal<String>) -> impl IntoView {
    let e = engine();
    let s = e.state;
    let cut = RwSignal::new(None::<(String, Arc<Vec<Piece>>)>);
    let recorded = move || {
        let text = dialogue.get();
        s.recorded.with(|r| {
            let same = r.as_ref()?.written.iter().find(|w| w.dialogue == text)?;
            Some(Arc::new(same.prompt.clone()))
        })
    };
    let here = memo(move || {
        let text = dialogue.get();
        cut.get().filter(|(of, _)| *of == text).map(|(_, pieces)| pieces).or_else(recorded)
    });
    let ask = move || {
        let text = dialogue.get_untracked();
        let ask = Ask::Tokens { text: text.clone(), by: Reader::Policy };
        e.ask_live(ask, None, move |end| {
            if let Ok((Answer::Tokens(pieces), _)) = end {
                cut.set(Some((text, Arc::new(pieces.clone()))));
            }
        });
    };
    // With loaded models this is quick, so it needs no button; once for each text, because it may fail.
    let asked = StoredValue::new(String::new());
    Effect::new(move |_| {
        let idle = s.loaded.with(Option::is_some) && s.busy.with(Option::is_none);
        let text = dialogue.get();
        if idle && here.with(Option::is_none) && !text.trim().is_empty() && asked.get_value() != text {
            asked.set_value(text);
            ask();
        }
    });
    view! {
        <h3>"The prompt in tokens"</h3>
        {move || match here.get() {
            Some(_) => {
                let pieces = Signal::derive(move || here.get().unwrap_or_default());
                view! { <PromptTokens pieces=pieces /> }.into_any()
            }
            None => {
                view! {
                    <p class="row">
                        <button type="button" disabled=move || dialogue.with(|d| d.trim().is_empty()) on:click=move |_| ask()>
                            "Tokenize this dialogue"
                        </button>
                    </p>
                    <Pending kind=|ask: &Ask| matches!(ask, Ask::Tokens { .. }) />
                }
                    .into_any()
            }
        }}
    }
}

/// The buttons, and the summaries side by side.
#[component]
fn Write(dialogue: RwSignal<String>, choices: Choices) -> impl IntoView {
    let e = engine();
    let s = e.state;
    let (with, without) = (RwSignal::new(None::<Written>), RwSignal::new(None::<Written>));
    let recorded = move |adapter: Adapter| {
        let text = dialogue.get();
        s.recorded.with(|r| {
            r.as_ref().and_then(|r| r.written.iter().find(|w| w.adapter == adapter && w.dialogue == text).cloned())
        })
    };
    let side = move |adapter: Adapter, live: RwSignal<Option<Written>>| {
        let name = if adapter == Adapter::Off { "Adapter off" } else { "Adapter on" };
        // Before anything is trained, the policy's adapter is the initial one.
        let recorded = move || if adapter == Adapter::Off { recorded(adapter) } else { recorded(Adapter::Initial) };
        let shown = Signal::derive(move || live.get().or_else(recorded));
        let is_live = Signal::derive(move || live.with(Option::is_some));
        view! {
            <div class="side">
                <h4 class:m-policy=adapter != Adapter::Off>{name} " " <Source live=is_live /></h4>
                <Summary written=shown />
            </div>
        }
    };
    let generate = move |adapter: Adapter| Generate {
        dialogue: dialogue.get_untracked(),
        adapter,
        greedy: choices.greedy.get_untracked(),
        temperature: choices.temperature.get_untracked() as f32,
        top_k: choices.top_k.get_untracked(),
        top_p: choices.top_p.get_untracked() as f32,
        seed: choices.seed.get_untracked(),
        max_new_tokens: choices.tokens.get_untracked(),
    };
    let empty = move || dialogue.with(|d| d.trim().is_empty());
    view! {
        <Try title="Let it write">
            {choices.view()}
            <p class="row">
                <button type="button" class="primary" disabled=empty on:click=move |_| write(e, generate(Adapter::Policy), with)>
                    "Write a summary"
                </button>
                <button
                    type="button"
                    disabled=empty
                    on:click=move |_| {
                        write(e, generate(Adapter::Policy), with);
                        write(e, generate(Adapter::Off), without);
                    }
                >
                    "With and without the adapter"
                </button>
            </p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Generate(_)) />
        </Try>
        <div class="sides">{side(Adapter::Policy, with)} {side(Adapter::Off, without)}</div>
        <p class="note">"Select a token to see the alternatives at its position and their probabilities."</p>
    }
}
