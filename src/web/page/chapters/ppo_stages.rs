//! Chapter 3.2: the single stages of a step with their numbers, and "what if": the last rollout with other settings.

use super::common::{Source, asked, when_some};
use crate::protocol::{Ask, Response, RunInfo, Stage};
use crate::settings::{PpoConfig, Preset};
use crate::web::page::browser::later;
use crate::web::page::content::content;
use crate::web::page::draft::Draft;
use crate::web::page::engine::engine;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::settings_edit::values;
use crate::web::page::parts::stage_view::StageView;
use crate::web::page::parts::stages::STAGES;
use crate::web::page::parts::what_if::WhatIf;
use leptos::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The stages that the running step has reached, otherwise those of the step shown.
#[component]
pub fn Stages() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let stages = shown.stages;
    // A stage that is reached is shown, whatever was chosen before.
    Effect::new(move |_| {
        if s.stages.with(|stages| !stages.is_empty()) && s.waiting.get() {
            s.opened.set(None);
        }
    });
    let current = memo(move || {
        let numbers: Vec<u8> = stages.with(|stages| stages.iter().map(|stage| stage.number()).collect());
        let running = s.stages.with(|stages| !stages.is_empty());
        let first = if running { numbers.last() } else { numbers.first() };
        s.opened.get().filter(|n| numbers.contains(n)).or(first.copied())
    });
    let stage = Signal::derive(move || {
        let number = current.get();
        stages.with(|stages| stages.iter().rfind(|stage| Some(stage.number()) == number).cloned())
    });
    let responses = memo(move || stages.with(|stages| stages.iter().find_map(written)));
    // A running step goes through its mini-batches one by one.
    let mini_batch = move || {
        let done =
            s.stages.with(|stages| stages.iter().filter(|stage| matches!(***stage, Stage::MiniBatch { .. })).count());
        let of = |r: &Arc<RunInfo>| r.config.batch_size.div_ceil(r.config.mini_batch_size.max(1)) * r.config.ppo_epochs;
        let of = s.run.with(|run| run.as_ref().map(of)).filter(|_| done > 0 && matches!(current.get(), Some(9 | 10)));
        of.map(|of| format!(" Mini-batch {done} of {of}."))
    };
    let live = Signal::derive(move || shown.live.get() || s.stages.with(|stages| !stages.is_empty()));
    let tab = move |number: u8| {
        let info = STAGES[usize::from(number) - 1];
        let reached = move || stages.with(|stages| stages.iter().any(|stage| stage.number() == number));
        view! {
            <button
                type="button"
                class=format!("stage-tab {}", info.meaning.class())
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
    view! {
        <section id="stages" aria-labelledby="stages-heading">
            <h3 id="stages-heading" tabindex="-1">"The stages, one by one"</h3>
            <p class="caption">
                <Source live=live />
                {mini_batch}
                {move || if s.waiting.get() { " Paused: Stage, Step or Play continues" } else { "" }}
            </p>
            <div class="stage-tabs" role="group" aria-label="Stages of the step">{(3..=11_u8).map(tab).collect_view()}</div>
            {when_some(move || stage.get(), move |stage| view! { <StageView stage=stage responses=responses /> }.into_any())}
        </section>
    }
}

/// The responses, if the stage has them.
fn written(stage: &Arc<Stage>) -> Option<Arc<Vec<Response>>> {
    match &**stage {
        Stage::Responses { rows } => Some(Arc::new(rows.clone())),
        _ => None,
    }
}

/// The last live step with other settings. At most one request is open; newer changes replace those that still wait.
#[component]
pub fn WhatIfs() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
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
    // The preset of the run; the draft may already have another one.
    let preset = Signal::derive(move || {
        let loaded = shown.loaded.get();
        loaded.map_or(Preset::Corrected, |loaded| shown.config.with(|run| Draft::like(run, &loaded).preset))
    });
    view! {
        <h3>"What if?"</h3>
        <p>
            "The last rollout stays the same; only the settings change, and with them rewards, advantages and losses. "
            "No text is generated, so the result appears at once."
        </p>
        {move || {
            if shown.live.get() && shown.whole.get() {
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
                        <span class="note">"This needs a live step"</span>
                    </p>
                }
                    .into_any()
            }
        }}
    }
}

/// All settings of the run with the changes: the worker applies them to a preset, not to the run.
fn over(run: &PpoConfig, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut all = values(run);
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
