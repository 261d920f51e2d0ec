//! The progress line of the request that is being computed: in the status line, and below the button that asked for it.

use super::engine::engine;
use super::parts::progress::Progress;
use super::state::{Counted, doing};
use crate::protocol::Phase;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

/// The request that is worked on: what it does, how far it is, how to end it.
#[component]
pub fn Working() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let what = move || s.busy.with(|b| b.as_ref().map(|b| doing(&b.ask)).unwrap_or_default());
    let label = Signal::derive(move || match s.counted.get().and_then(|c| c.phase) {
        Some(phase) => format!("{}: {}", what(), phase_name(phase)),
        None => what(),
    });
    let counted = move |f: fn(&Counted) -> f64| s.counted.with(|c| c.as_ref().map_or(0.0, f));
    let bytes = memo(move || s.counted.with(|c| c.is_some_and(|c| c.phase.is_none())));
    let cancel = Callback::new(move |()| e.stop());
    move || {
        let bytes = bytes.get();
        let seconds =
            Signal::derive(move || s.counted.with(|c| c.map(|c| (c.now - c.since) / 1000.0).filter(|s| *s > 0.5)));
        view! {
            <Progress
                label=label
                done=Signal::derive(move || counted(|c| c.done))
                of=Signal::derive(move || counted(|c| c.of))
                bytes=bytes
                seconds=seconds
                on_cancel=cancel
            />
        }
    }
}

/// What is counted, in words.
fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Load => "reading the models",
        Phase::Generate => "writing responses",
        Phase::Score => "scoring",
        Phase::Old => "log-probs and values",
        Phase::Reference => "reference log-probs",
        Phase::Train => "mini-batches",
        Phase::Evaluate => "dialogues",
    }
}
