//! One summary: the sampling options, the request, and its tokens as they arrive, with the alternatives.

use super::common::{GREEDY, tick, when_some};
use crate::protocol::{Answer, Ask, Generate, Token};
use crate::web::page::engine::{Engine, engine, on_token};
use crate::web::page::parts::format;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::tokens::{Chips, NextTokens, shown};
use crate::web::page::recorded::Written;
use leptos::prelude::*;

/// How a summary is sampled.
#[derive(Clone, Copy)]
pub struct Choices {
    pub greedy: RwSignal<bool>,
    pub temperature: RwSignal<f64>,
    pub top_k: RwSignal<usize>,
    pub top_p: RwSignal<f64>,
    pub seed: RwSignal<u64>,
    pub tokens: RwSignal<usize>,
}

impl Choices {
    /// Plain softmax, with the page's seed.
    pub fn new() -> Self {
        let seed = engine().state.draft.with_untracked(|d| d.seed);
        Self {
            greedy: RwSignal::new(false),
            temperature: RwSignal::new(1.0),
            top_k: RwSignal::new(0),
            top_p: RwSignal::new(1.0),
            seed: RwSignal::new(seed),
            tokens: RwSignal::new(48),
        }
    }

    /// The fields.
    pub fn view(self) -> impl IntoView {
        let sampled = Signal::derive(move || !self.greedy.get());
        let always = Signal::derive(|| true);
        view! {
            <div class="fields">
                {tick(GREEDY, self.greedy)}
                {field("Temperature", (0.1, 3.0, 0.1), sampled, Signal::derive(move || self.temperature.get()), Callback::new(move |x| self.temperature.set(x)))}
                {field("Top-k, 0 for all", (0.0, 500.0, 1.0), sampled, Signal::derive(move || self.top_k.get() as f64), Callback::new(move |x| self.top_k.set(x as usize)))}
                {field("Top-p", (0.05, 1.0, 0.05), sampled, Signal::derive(move || self.top_p.get()), Callback::new(move |x| self.top_p.set(x)))}
                {field("Seed", (0.0, 9e15, 1.0), sampled, Signal::derive(move || self.seed.get() as f64), Callback::new(move |x| self.seed.set(x as u64)))}
                {field("Max new tokens", (1.0, 128.0, 1.0), always, Signal::derive(move || self.tokens.get() as f64), Callback::new(move |x| self.tokens.set(x as usize)))}
            </div>
        }
    }
}

/// A number with its limits; a number outside them is replaced by the nearest limit.
fn field(
    label: &'static str,
    (min, max, step): (f64, f64, f64),
    enabled: Signal<bool>,
    get: Signal<f64>,
    set: Callback<f64>,
) -> AnyView {
    let change = move |event| {
        if let Some(value) = format::read(&event_target_value(&event)) {
            set.run(value.clamp(min, max));
        }
    };
    view! {
        <label class="field">
            <span>{label}</span>
            <input
                type="number"
                class="num"
                min=min.to_string()
                max=max.to_string()
                step=step.to_string()
                disabled=move || !enabled.get()
                prop:value=move || get.get().to_string()
                on:change=change
            />
        </label>
    }
    .into_any()
}

/// Asks for a summary; `into` shows its tokens as they arrive.
pub fn write(e: Engine, how: Generate, into: RwSignal<Option<Written>>) {
    let written = Written {
        dialogue: how.dialogue.clone(),
        adapter: how.adapter,
        seed: how.seed,
        temperature: how.temperature,
        prompt: vec![],
        tokens: vec![],
        text: String::new(),
    };
    let heard = move |token: &Token| {
        into.update(|w| {
            if let Some(w) = w {
                w.text.push_str(&token.text);
                w.tokens.push(token.clone());
            }
        });
    };
    let before = into.get_untracked();
    into.set(Some(written));
    e.ask_live(Ask::Generate(how), on_token(heard), move |end| match end {
        Ok((Answer::Generated { text, .. }, _)) => into.update(|w| {
            if let Some(w) = w {
                w.text.clone_from(text);
            }
        }),
        // A stopped summary stays as far as it was written; after a failure the previous one comes back.
        _ if into.with_untracked(|w| w.as_ref().is_none_or(|w| w.tokens.is_empty())) => into.set(before),
        _ => {}
    });
}

/// A summary's text and tokens.
#[component]
pub fn Summary(#[prop(into)] written: Signal<Option<Written>>) -> impl IntoView {
    let chosen = RwSignal::new(None::<usize>);
    let tokens = memo(move || written.with(|w| w.as_ref().map(|w| w.tokens.clone()).unwrap_or_default()));
    let chips = Signal::derive(move || {
        let said =
            |t: &Token| format!("{}, probability {}", shown(&t.text), format::probability(f64::from(t.logprob).exp()));
        tokens.with(|t| t.iter().map(|t| (t.text.clone(), Some(said(t)))).collect::<Vec<_>>())
    });
    view! {
        <p class="said">
            {move || written.with(|w| w.as_ref().map_or_else(|| "Nothing written yet".to_owned(), |w| w.text.clone()))}
        </p>
        <Chips tokens=chips chosen label="Tokens of the summary" />
        {when_some(
            move || tokens.with(|t| chosen.get().and_then(|k| t.get(k).cloned())),
            |token| view! { <NextTokens token=token /> }.into_any(),
        )}
    }
}
