//! The whole page: header with the run's controls, list of chapters, text, diagram of the stages. Also keeps the address
//! up to date and fetches the recorded run.

use super::address::{Address, Chapter};
use super::browser;
use super::chapters::{
    Experiments, Hacking, Numbers, Policy, Ppo, REAL_MODELS, Reward, SetUp, Take, Texts, Toxicity, Trainer,
};
use super::content::{Content, content};
use super::controls::{Controls, Status};
use super::draft::Play;
use super::engine::{Engine, engine};
use super::leash::LeashView;
use super::notices::Notices;
use super::now::Now;
use super::parts::format;
use super::parts::machine::Machine;
use super::parts::stages::STAGES;
use super::rail::{Menu, Rail};
use super::recorded;
use super::scroll;
use super::state::State;
use crate::web::page::parts::memo::memo;
use core::time::Duration;
use leptos::prelude::*;
use std::sync::Arc;
use wasm_bindgen::JsCast;

/// Starts the page.
pub fn main() {
    console_error_panic_hook::set_once();
    let Some(place) = document().get_element_by_id("page") else { return };
    place.set_inner_html("");
    mount_to(place.unchecked_into(), App).forget();
}

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let address = Address::parse(&browser::hash());
    let state = State::new(&address);
    let engine = Engine::start(state);
    provide_context(engine);
    provide_context(Content::new());
    read_recorded(state, address.chapter);
    follow_address(state);
    scroll::watch(state.chapter);
    Effect::new(move |_| {
        if state.waiting.get() && state.stages.with(|stages| !stages.is_empty()) {
            engine.linger();
        }
    });
    present(engine);
    // A link's values that cannot be are reported at once, in the worker's words.
    let shown = content();
    Effect::new(move |_| {
        let fault = shown.loaded.with(|l| l.as_ref().and_then(|l| state.draft.with(|d| d.fault(l))));
        if let Some(fault) = fault {
            state.tell(true, fault.what(), fault.hint().into());
        }
    });
    view! {
        <a class="skip" href="#text" on:click=skip>"Skip to the text"</a>
        <header class="top">
            <p class="brand">"detox-lab"</p>
            <Menu />
            <Controls />
            <Theme />
        </header>
        <Status />
        <Notices />
        <div class="layout">
            <Rail />
            <main id="text" tabindex="-1">
                <Opening />
                <SetUp />
                <Policy />
                <Reward />
                <Toxicity />
                <Trainer />
                <Ppo />
                <Numbers />
                <Texts />
                <Hacking />
                <Experiments />
                <Take />
            </main>
            <Aside />
        </div>
        <p class="unseen" role="status" aria-live="polite">{state.said}</p>
    }
}

/// Presenter mode: the style sheet has the larger type; keys move the run, unless something is typed.
fn present(engine: Engine) {
    let on = engine.state.presenter;
    Effect::new(move |_| browser::set_flag("data-presenter", on.get()));
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        let plain = !(event.ctrl_key() || event.alt_key() || event.meta_key());
        if on.get_untracked() && plain && !browser::typed(&event) {
            match event.key().as_str() {
                "n" => engine.one_stage(),
                "s" => engine.one_step(),
                "p" if engine.state.play.get_untracked() == Play::Playing => engine.pause(),
                "p" => engine.play(),
                _ => {}
            }
        }
    });
    on_cleanup(move || keys.remove());
}

#[component]
fn Opening() -> impl IntoView {
    view! {
        <header class="opening" id="opening">
            <h1>"See PPO happen"</h1>
            <p class="lead">
                "A small language model summarises quarrels, and a second one rates how hateful each summary is. PPO (proximal policy "
                "optimization) trains the first to get better scores from the second, in this tab."
            </p>
            <LeashView />
            <p>
                "All numbers on this page are computed, first in a recorded run, then in your own. PPO is the last part of RLHF (reinforcement learning from human feedback), with which chat models are trained. There the "
                "second model has learnt from people which answers they prefer; here it has learnt to recognise hate speech."
            </p>
            <p>
                "The same page runs the lab's own models, FLAN-T5 and RoBERTa: "
                <button type="button" class="link" on:click=move |_| scroll::show(REAL_MODELS, false)>"how to bring them in"</button>
            </p>
        </header>
    }
}

/// Moves to the text, past header and chapter list; the address keeps its chapter.
fn skip(event: web_sys::MouseEvent) {
    event.prevent_default();
    scroll::show("text", false);
    if let Some(text) = document().get_element_by_id("text").and_then(|e| e.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = text.focus();
    }
}

#[component]
fn Theme() -> impl IntoView {
    let dark = RwSignal::new(browser::theme() == "dark");
    let switch = move |_| {
        dark.update(|dark| *dark = !*dark);
        browser::set_theme(if dark.get_untracked() { "dark" } else { "light" });
    };
    view! {
        <button type="button" class="theme" aria-pressed=move || dark.get().to_string() on:click=switch>
            <span aria-hidden="true">"◐"</span>
            <span class="unseen">"Dark theme"</span>
        </button>
    }
}

/// The diagram of the stages: beside the text on a wide page, otherwise a strip that opens.
#[component]
fn Aside() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let headlines = memo(move || shown.headlines());
    let open = RwSignal::new(false);
    let active = Signal::derive(move || s.reached.get());
    let done = Signal::derive(move || match active.get() {
        Some(stage) => stage,
        None if shown.any.get() => 12,
        None => 0,
    });
    let strip = move || match active.get().and_then(|n| STAGES.get(usize::from(n) - 1)) {
        Some(stage) => format!("Stage {}: {}", stage.number, stage.name),
        None if shown.live.get() => shown.step.with(|step| {
            let (score, kl) = (format::signed(step.statistics.score, 2), format::fixed(step.statistics.kl, 1));
            format!("Step {}: score {score}, KL {kl}", step.step)
        }),
        None => "Stages of a PPO step".into(),
    };
    let go = Callback::new(move |stage: u8| {
        open.set(false);
        s.opened.set(Some(stage));
        let chapter = STAGES.get(usize::from(stage) - 1).map(|info| info.chapter);
        let chapter = Chapter::ALL.into_iter().find(|c| Some(c.number()) == chapter);
        scroll::show(if stage >= 3 { "stages" } else { chapter.unwrap_or_default().slug() }, true);
    });
    let escape = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" && open.get_untracked() {
            open.set(false);
            browser::focus_opener(&event, ".handle");
        }
    };
    view! {
        <aside class="aside" class:open=open data-chapter=move || s.chapter.get().slug() aria-label="Diagram: twelve stages of one PPO step" on:keydown=escape>
            <button
                type="button"
                class="handle"
                aria-expanded=move || open.get().to_string()
                aria-controls="machine"
                on:click=move |_| open.update(|open| *open = !*open)
            >
                <span class="handle-dots" aria-hidden="true">
                    {(1..=12_u8)
                        .map(|n| view! { <i class:on=move || { done.get() >= n } class:at=move || active.get() == Some(n)></i> })
                        .collect_view()}
                </span>
                <span>{strip}</span>
            </button>
            <div id="machine" class="machine-box">
                <Now />
                <Machine
                    active=active
                    headlines=headlines
                    pointed=s.pointed
                    on_open=go
                    done=done
                />
            </div>
        </aside>
    }
}

/// Updates the address when the page changes, and the page when the address changes.
fn follow_address(state: State) {
    Effect::new(move |before: Option<String>| {
        let hash = state.address().format();
        if before.is_some_and(|before| before != hash) {
            browser::set_hash(&hash, false);
        }
        hash
    });
    let changed = move || {
        let address = Address::parse(&browser::hash());
        if untrack(|| state.address()) != address {
            state.go_to(&address);
        }
        scroll::show(&address.place(), false);
    };
    let handle = window_event_listener(leptos::ev::popstate, move |_| changed());
    on_cleanup(move || handle.remove());
}

/// Fetches the recorded run and the dialogues. The text above the linked chapter grows with them, so it scrolls there again.
fn read_recorded(state: State, chapter: Chapter) {
    let drawn = Duration::from_millis(50);
    if chapter != Chapter::default() {
        scroll::show(chapter.slug(), false);
        set_timeout(scroll::arrive, drawn);
    }
    leptos::task::spawn_local(async move {
        match browser::fetch("recorded/page.json").await.and_then(|json| recorded::recorded(&json)) {
            Ok(recorded) => {
                state.recorded_step.set(recorded.steps.len() / 2);
                state.recorded.set(Some(Arc::new(recorded)));
                set_timeout(scroll::arrive, drawn);
            }
            Err(what) => state.tell(
                true,
                format!("The recorded run could not be loaded: {what}"),
                "Load the models and press Play".into(),
            ),
        }
        if let Ok(jsonl) = browser::fetch("dialogues.jsonl").await {
            state.dialogues.set(Arc::new(recorded::dialogues(&jsonl)));
        }
        scroll::settle();
    });
}
