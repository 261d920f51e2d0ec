//! Chapter 3.2, the rooms of a step one by one with their numbers, and what if: the last rollout under other settings.

use super::common::{Source, asked};
use crate::protocol::{Ask, Response, Room};
use crate::settings::{PpoConfig, Preset};
use crate::web::browser::later;
use crate::web::draft::Draft;
use crate::web::engine::engine;
use crate::web::parts::room_view::RoomView;
use crate::web::parts::rooms::ROOMS;
use crate::web::parts::what_if::WhatIf;
use crate::web::shown::shown;
use leptos::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The rooms of the running step as they are reached, else those of the step shown.
#[component]
pub fn Rooms() -> impl IntoView {
    let s = engine().state;
    let shown = shown();
    let rooms = shown.rooms;
    // A room that is reached shows itself, whatever was looked at before.
    Effect::new(move |_| {
        if s.rooms.with(|rooms| !rooms.is_empty()) && s.waiting.get() {
            s.opened.set(None);
        }
    });
    let current = Memo::new(move |_| {
        let numbers: Vec<u8> = rooms.with(|rooms| rooms.iter().map(|room| room.number()).collect());
        let running = s.rooms.with(|rooms| !rooms.is_empty());
        let first = if running { numbers.last() } else { numbers.first() };
        s.opened.get().filter(|n| numbers.contains(n)).or(first.copied())
    });
    let room = Signal::derive(move || {
        let number = current.get();
        rooms.with(|rooms| rooms.iter().rfind(|room| Some(room.number()) == number).cloned())
    });
    let responses = Memo::new(move |_| rooms.with(|rooms| rooms.iter().find_map(written)));
    let live = Signal::derive(move || shown.live.get() || s.rooms.with(|rooms| !rooms.is_empty()));
    let tab = move |number: u8| {
        let info = ROOMS[usize::from(number) - 1];
        let reached = move || rooms.with(|rooms| rooms.iter().any(|room| room.number() == number));
        view! {
            <button
                type="button"
                class=format!("room-tab {}", info.meaning.class())
                class:lit=move || s.pointed.get() == Some(number)
                disabled=move || !reached()
                aria-pressed=move || (current.get() == Some(number)).to_string()
                on:click=move |_| s.opened.set(Some(number))
                on:mouseenter=move |_| s.pointed.set(Some(number))
                on:mouseleave=move |_| s.pointed.set(None)
            >
                <span class="num">{number}</span>
                " "
                {info.name}
            </button>
        }
    };
    let any = Memo::new(move |_| room.with(Option::is_some));
    view! {
        <section id="rooms" aria-labelledby="rooms-heading">
            <h3 id="rooms-heading" tabindex="-1">"The rooms, one by one"</h3>
            <p class="caption">
                <Source live=live />
                {move || if s.waiting.get() { " The step waits here for you" } else { "" }}
            </p>
            <div class="room-tabs" role="group" aria-label="Rooms of the step">{(3..=11_u8).map(tab).collect_view()}</div>
            {move || {
                any.get()
                    .then(|| room.get_untracked())
                    .flatten()
                    .map(|first| {
                        let room = Signal::derive(move || room.get().unwrap_or_else(|| first.clone()));
                        view! { <RoomView room=room responses=responses /> }
                    })
            }}
        </section>
    }
}

/// The responses, where a room tells them.
fn written(room: &Arc<Room>) -> Option<Arc<Vec<Response>>> {
    match &**room {
        Room::Responses { rows } => Some(Arc::new(rows.clone())),
        _ => None,
    }
}

/// The last live step under other settings. At most one question is out; what is overtaken is not asked.
#[component]
pub fn WhatIfs() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = shown();
    let busy = asked(|ask| matches!(ask, Ask::WhatIf { .. }));
    let next = StoredValue::new(None::<(Preset, Map<String, Value>)>);
    let ask_next = move || {
        if let Some((preset, config)) = next.try_update_value(Option::take).flatten() {
            e.ask(Ask::WhatIf { config, preset });
        }
    };
    Effect::new(move |_| {
        if !busy.get() {
            ask_next();
        }
    });
    let change = Callback::new(move |(preset, changes): (Preset, Map<String, Value>)| {
        next.set_value(Some((preset, shown.config.with_untracked(|run| over(run, &changes)))));
        if !busy.get_untracked() {
            ask_next();
        }
    });
    // The run's own preset; the draft may be of another already.
    let preset = Signal::derive(move || {
        let loaded = shown.loaded.get();
        loaded.map_or(Preset::Corrected, |loaded| shown.config.with(|run| Draft::like(run, &loaded).preset))
    });
    view! {
        <h3>"What if?"</h3>
        <p>
            "The last rollout stays as it was written; only the settings change, and with them rewards, advantages and losses. "
            "Nothing is generated, so it answers at once."
        </p>
        {move || {
            if shown.live.get() {
                view! {
                    <WhatIf
                        step=later(shown.step)
                        config=shown.config
                        preset=preset
                        result=s.what_if
                        busy=busy
                        row=s.row
                        on_change=change
                    />
                }
                    .into_any()
            } else {
                view! {
                    <p class="row">
                        <button type="button" class="primary" on:click=move |_| e.one_step()>"Take one live step"</button>
                        <span class="note">"It needs a rollout of your own"</span>
                    </p>
                }
                    .into_any()
            }
        }}
    }
}

/// Every setting of the run, and what is changed over them: the worker lays them over a preset, not over the run.
fn over(run: &PpoConfig, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut all = match serde_json::to_value(run) {
        Ok(Value::Object(all)) => all,
        _ => Map::new(),
    };
    all.extend(changes.clone());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_run_changed_stays() {
        let run = PpoConfig { gamma: 0.9, ..PpoConfig::default() };
        let all = over(&run, &Map::from_iter([("kl_coef".to_owned(), 0.5.into())]));
        assert_eq!((all["gamma"].as_f64(), all["kl_coef"].as_f64()), (Some(0.9), Some(0.5)));
    }
}
