//! The run's controls in the header: play, step, stage, stop, speed, preset, seed, start over; and the status line below
//! them. They call `engine`.

use super::address::Chapter;
use super::browser;
use super::content::content;
use super::draft::{Play, Speed};
use super::engine::engine;
use super::parts::format;
use super::scroll;
use super::state::Worker;
use super::working::Working;
use crate::protocol::Ask;
use crate::settings::Preset;
use core::time::Duration;
use leptos::prelude::*;

/// The bar.
#[component]
pub fn Controls() -> impl IntoView {
    let changed = content().changed;
    let e = engine();
    let s = e.state;
    let playing = move || s.play.get() != Play::Paused;
    let unable = move || matches!(s.worker.get(), Worker::Unable(_));
    let over = move || s.run.with(|r| r.as_ref().is_some_and(|r| r.step >= r.steps));
    let busy = move || s.busy.with(Option::is_some);
    let toggle = move |_| if s.play.get_untracked() == Play::Playing { e.pause() } else { e.play() };
    let off = move || unable() || over();
    let more = NodeRef::<leptos::html::Details>::new();
    let close = move || {
        if let Some(more) = more.get_untracked() {
            more.set_open(false);
        }
    };
    let escape = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" && more.get_untracked().is_some_and(|more| more.open()) {
            close();
            browser::focus_opener(&event, "summary");
        }
    };
    let leave = move |event: web_sys::FocusEvent| {
        if browser::left(&event) {
            close();
        }
    };
    view! {
        <div class="controls" role="group" aria-label="The run">
            <button type="button" class="primary play" disabled=off on:click=toggle>
                <span class="glyph" aria-hidden="true">{move || if playing() { "❚❚" } else { "▶" }}</span>
                {move || match s.play.get() {
                    Play::Playing => "Pause",
                    Play::Pausing => "Pausing…",
                    Play::Paused => "Play",
                }}
            </button>
            <button type="button" disabled=off title="One PPO step" on:click=move |_| e.one_step()>"Step"</button>
            <button type="button" disabled=off title="To the next stage of the PPO step" on:click=move |_| e.one_stage()>
                "Stage"
            </button>
            <button
                type="button"
                disabled=move || !busy()
                title="Stops the current computation; an unfinished PPO step is undone"
                on:click=move |_| e.stop()
            >
                "Stop"
            </button>
            <details class="more" node_ref=more on:keydown=escape on:focusout=leave>
                <summary aria-label="More: speed, preset, seed, start over">"More"</summary>
                <div class="more-box">
                    <SpeedChoice />
                    <PresetChoice />
                    <SeedField />
                    <label class="tick">
                        <input
                            type="checkbox"
                            prop:checked=move || s.presenter.get()
                            on:change=move |event| s.presenter.set(event_target_checked(&event))
                        />
                        <span>"Presenter mode: large type; keys n (next stage), s (step), p (play or pause)"</span>
                    </label>
                    <StartOver />
                    <p class="note" role="status">
                        {move || changed.get().then_some("The current run keeps its settings until you start over")}
                    </p>
                </div>
            </details>
        </div>
    }
}

#[component]
fn SpeedChoice() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let choose = move |event| {
        let value = event_target_value(&event);
        if let Some((speed, ..)) = Speed::ALL.into_iter().find(|(_, name, _)| *name == value) {
            s.speed.set(speed);
            e.speed_changed();
        }
    };
    view! {
        <label class="field">
            <span>"Speed"</span>
            <select on:change=choose>
                {Speed::ALL
                    .into_iter()
                    .map(|(speed, name, words)| {
                        view! { <option value=name prop:selected=move || s.speed.get() == speed>{words}</option> }
                    })
                    .collect_view()}
            </select>
        </label>
    }
}

#[component]
fn PresetChoice() -> impl IntoView {
    let s = engine().state;
    let choose = move |event| {
        let published = event_target_value(&event) == "published";
        let preset = if published { Preset::Published } else { Preset::Corrected };
        s.draft.update(|draft| draft.preset = preset);
    };
    let is = move |preset| s.draft.with(|draft| draft.preset == preset);
    view! {
        <label class="field">
            <span>"Preset"</span>
            <select on:change=choose>
                <option value="corrected" prop:selected=move || is(Preset::Corrected)>"Corrected"</option>
                <option value="published" prop:selected=move || is(Preset::Published)>"As published"</option>
            </select>
        </label>
    }
}

#[component]
fn SeedField() -> impl IntoView {
    let s = engine().state;
    let change = move |event| {
        if let Ok(seed) = event_target_value(&event).parse() {
            s.draft.update(|draft| draft.seed = seed);
        }
    };
    view! {
        <label class="field">
            <span>"Seed"</span>
            <input
                type="number"
                inputmode="numeric"
                min="0"
                max="9007199254740991"
                step="1"
                class="num"
                prop:value=move || s.draft.with(|draft| draft.seed.to_string())
                on:change=change
            />
        </label>
    }
}

/// Starts a new run with the chosen settings; asks again if steps would be lost.
#[component]
pub fn StartOver(#[prop(optional)] primary: bool) -> impl IntoView {
    let e = engine();
    let s = e.state;
    let changed = content().changed;
    let sure = browser::Flag::new(Duration::from_secs(4));
    let press = move |_| {
        let lost = s.run.with_untracked(|r| r.as_ref().is_some_and(|r| r.step > 0));
        if lost && !sure.get_untracked() {
            sure.raise();
        } else {
            sure.lower();
            e.begin();
        }
    };
    let label = move || match (sure.get(), changed.get()) {
        (true, _) => "Press again: the run's steps are lost",
        (false, true) => "Start over with these settings",
        (false, false) => "Start over",
    };
    view! {
        <button type="button" class:primary=primary class:wanted=move || changed.get() on:click=press>{label}</button>
    }
}

/// The status in one line.
#[component]
pub fn Status() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
    let where_it_is = move || match (s.run.get(), shown.run.get()) {
        (Some(run), _) => format!("step {} of {}", run.step, run.steps),
        (None, Some(_)) => format!("step {} of a recorded run", shown.step.with(|step| step.step)),
        (None, None) => String::new(),
    };
    let worker = move || match s.worker.get() {
        Worker::Starting => Some("The worker is starting…".to_owned()),
        Worker::Restarting(_) => Some("The worker has stopped and is being restarted…".to_owned()),
        Worker::Unable(why) => Some(format!("Live runs are not possible here: {why}")),
        Worker::Listening => None,
    };
    let size = move || {
        let bytes = shown.loaded.with(|l| l.as_ref().map(|l| l.bytes));
        bytes.map(|b| format!(" ({})", format::bytes(b))).unwrap_or_default()
    };
    let loadable = move || s.loaded.with(Option::is_none) && s.busy.with(Option::is_none) && worker().is_none();
    let waiting = move || s.waiting.get().then(|| s.stages.with(|r| r.last().map(|stage| stage.number()))).flatten();
    let behind = move || {
        s.busy.with(|b| b.as_ref().map_or(0, |b| b.behind.iter().filter(|a| !matches!(a, Ask::Train { .. })).count()))
    };
    let chosen = move || s.draft.with(|d| Some(d.words()).filter(|words| !words.is_empty()));
    let next = move || if s.run.with(Option::is_none) || shown.changed.get() { "Next run with" } else { "With" };
    let over = move || s.run.with(|r| r.as_ref().is_some_and(|r| r.step >= r.steps));
    let to = |chapter: Chapter| move |_| scroll::show(chapter.slug(), true);
    view! {
        <section class="status" aria-label="Status">
            <span class="source" class:live=move || s.run.with(Option::is_some)>
                {move || if s.run.with(Option::is_some) { "live" } else { "recorded" }}
            </span>
            <span class="num">{where_it_is}</span>
            {move || chosen().map(|words| view! {
                <button type="button" class="link" on:click=to(Chapter::Trainer)>{next} " " {words}</button>
            })}
            {move || over().then(|| view! {
                <button type="button" class="link" on:click=to(Chapter::Numbers)>"The run is complete: compare before and after"</button>
            })}
            {move || worker().map(|words| view! { <span class="note">{words}</span> })}
            {move || {
                loadable()
                    .then(|| {
                        view! {
                            <button type="button" class="link" on:click=move |_| e.load()>
                                "Load the models" {size}
                            </button>
                        }
                    })
            }}
            {move || match (waiting(), s.busy.with(Option::is_some)) {
                (Some(stage), _) => view! { <span>{format!("Paused at stage {stage}")}</span> }.into_any(),
                (None, true) => view! { <Working /> }.into_any(),
                (None, false) => ().into_any(),
            }}
            {move || (behind() > 0).then(|| view! { <span class="note">{format!("{} more waiting", behind())}</span> })}
        </section>
    }
}
