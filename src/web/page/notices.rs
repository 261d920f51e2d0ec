//! Messages to the person: errors with what to do, warnings, no network, and the run that this browser saved.

use super::browser;
use super::engine::engine;
use super::state::{Notice, Worker};
use crate::protocol::{Ask, RunInfo};
use leptos::prelude::*;
use std::sync::Arc;

/// The notices, newest last, in view wherever one reads; each can be closed. With the offer of the saved run.
#[component]
pub fn Notices() -> impl IntoView {
    let s = engine().state;
    let online = RwSignal::new(browser::online());
    for (event, is) in [("online", true), ("offline", false)] {
        let handle = window_event_listener_untyped(event, move |_| online.set(is));
        on_cleanup(move || handle.remove());
    }
    let offline = move || !online.get() && s.loaded.with(Option::is_none);
    let unable = move || matches!(s.worker.get(), Worker::Unable(_));
    let close = move |number| s.notices.update(|notices| notices.retain(|n| n.number != number));
    let notice = move |Notice { number, error, what, hint }: Notice| {
        view! {
            <div class="notice" class:error=error role=if error { "alert" } else { "status" }>
                <p>
                    <strong>{if error { "Error. " } else { "Note. " }}</strong>
                    {what}
                    {(!hint.is_empty()).then(|| view! { <br /> <span class="hint">{format!("{hint}.")}</span> })}
                </p>
                <button type="button" class="close" aria-label="Close this notice" on:click=move |_| close(number)>
                    <span aria-hidden="true">"×"</span>
                </button>
            </div>
        }
    };
    let fixed = |error: bool, title: &'static str, text: &'static str| {
        view! {
            <div class="notice" class:error=error role=if error { "alert" } else { "status" }>
                <p><strong>{title}</strong> {text}</p>
            </div>
        }
    };
    let no_network = "The recorded run works. The models work too if this browser has loaded them before.";
    let recorded_only = "The worker could not start in this browser, so nothing can be computed live. All recorded numbers \
                         remain. Reload the page to try again.";
    view! {
        <div class="notices">
            {move || offline().then(|| fixed(false, "No network. ", no_network))}
            {move || unable().then(|| fixed(true, "Recorded only. ", recorded_only))}
            <For each=move || s.notices.get() key=|n| n.number children=notice />
            <Kept />
        </div>
    }
}

/// Offers the run that this browser saved.
#[component]
fn Kept() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let elsewhere = RwSignal::new(false);
    Effect::new(move |_| {
        if s.kept.with(Option::is_some) {
            leptos::task::spawn_local(async move { elsewhere.set(browser::run_is_open().await) });
        }
    });
    // From here on, other tabs know that a run is open.
    Effect::new(move |open: Option<bool>| {
        let now = s.run.with(Option::is_some);
        if now && open != Some(true) {
            browser::open_run();
        }
        now || open == Some(true)
    });
    let offer = move |run: Arc<RunInfo>| {
        let saved = if run.saved > 0.0 { format!(" Saved on {}.", browser::date(run.saved)) } else { String::new() };
        let open = move || elsewhere.get();
        view! {
            <div class="kept" id="kept" role="status">
                <p id="kept-heading" tabindex="-1">{format!("This browser has a saved run: step {} of {}.{saved}", run.step, run.steps)}</p>
                {move || open().then(|| view! {
                    <p>"A run is open in another tab. You can continue a copy here, but the browser keeps only the run that was saved last."</p>
                })}
                <p class="row">
                    <button type="button" class="primary" on:click=move |_| e.restore()>
                        {move || if open() { "Continue a copy" } else { "Continue it" }}
                    </button>
                    <button type="button" on:click=move |_| { e.ask(Ask::Forget); }>"Remove it"</button>
                </p>
            </div>
        }
    };
    move || s.kept.get().map(offer)
}
