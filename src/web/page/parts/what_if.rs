//! What if: one finished step with other settings. Sliders and choices change them; the rewards, advantages and losses
//! with these settings are shown beside the original ones. The worker computes them.

use super::format;
use super::keys::fresh_id;
use super::settings_edit::{same, values};
use super::sums::{Quantity, StepSums};
use super::token_strip::TokenStrip;
use crate::protocol::{self, MiniBatchStats, Step};
use crate::settings::{self, Kind, PpoConfig, Preset};
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A setting on a slider.
struct Slider {
    name: &'static str,
    symbol: &'static str,
    low: f64,
    high: f64,
    step: f64,
}

const SLIDERS: [Slider; 4] = [
    Slider { name: "kl_coef", symbol: "β", low: 0.0, high: 2.0, step: 0.01 },
    Slider { name: "gamma", symbol: "γ", low: 0.5, high: 1.0, step: 0.01 },
    Slider { name: "lambda", symbol: "λ", low: 0.0, high: 1.0, step: 0.01 },
    Slider { name: "clip_range", symbol: "ε", low: 0.0, high: 0.5, step: 0.01 },
];

/// The settings in which preset `lab` with `edits` differs from `config`.
fn changes(config: &PpoConfig, run: Preset, lab: Preset, edits: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    if lab != run {
        for difference in PpoConfig::differences() {
            let value = if lab == Preset::Published { difference.published } else { difference.corrected };
            all.insert(difference.setting.into(), value);
        }
    }
    all.extend(edits.clone());
    let was = values(config);
    all.retain(|name, value| !same(was.get(name), value));
    all
}

/// The step with the recomputed numbers.
fn changed_step(step: &Step, result: &protocol::WhatIf, config: &PpoConfig) -> Step {
    let mut changed = Step { grids: result.grids.clone(), ..step.clone() };
    let frame = StepSums { grids: &result.grids, config };
    let scores = (0..changed.rewards.len()).map(|i| frame.score_of(i).map(|score| score as f32));
    changed.rewards = scores.zip(&step.rewards).map(|(new, old)| new.unwrap_or(*old)).collect();
    changed
}

/// The sliders, and both sides of the step.
#[component]
pub fn WhatIf(
    #[prop(into)] step: Signal<Arc<Step>>,
    /// The run's settings, and their preset.
    #[prop(into)]
    config: Signal<Arc<PpoConfig>>,
    #[prop(into)] preset: Signal<Preset>,
    /// The answer to the last change; none before it arrives, and none for another step.
    #[prop(into)]
    result: Signal<Option<Arc<protocol::WhatIf>>>,
    #[prop(into)] busy: Signal<bool>,
    row: RwSignal<usize>,
    #[prop(into)] on_change: Callback<(Preset, Map<String, Value>)>,
) -> impl IntoView {
    let lab = RwSignal::new(preset.get_untracked());
    let edits = RwSignal::new(Map::new());
    let changed = memo(move || changes(&config.read(), preset.get(), lab.get(), &edits.read()));
    let effective = memo(move || {
        let merged = PpoConfig::from_json((*config.get()).clone(), &Value::Object(changed.get()));
        merged.map_or_else(|_| config.get(), Arc::new)
    });
    let shown = memo(move || values(&effective.read()));
    let tell = move || on_change.run((lab.get_untracked(), changed.get_untracked()));
    let put = Callback::new(move |(name, value): (&'static str, Value)| {
        edits.update(|edits| {
            edits.insert(name.into(), value);
        });
        tell();
    });
    let choose = move |which: Preset| {
        lab.set(which);
        edits.set(Map::new());
        tell();
    };
    // Another run has other settings to compare with; for another step the same changes are sent again.
    Effect::new(move |_| {
        lab.set(preset.get());
        edits.set(Map::new());
    });
    Effect::new(move |last: Option<u64>| {
        let now = step.read().step;
        if last.is_some_and(|last| last != now) && !changed.read_untracked().is_empty() {
            tell();
        }
        now
    });
    let reset = move |_| choose(preset.get_untracked());
    let nothing = move || changed.read().is_empty();
    let sliders = SLIDERS.map(|slider| view! { <Range slider shown config put /> });
    let name = fresh_id("lab");
    let radio = |which: Preset, label: &'static str| {
        view! {
            <label class="choice">
                <input
                    type="radio"
                    name=name.clone()
                    prop:checked=move || lab.get() == which
                    on:change=move |_| choose(which)
                />
                <span>{label}</span>
            </label>
        }
    };
    view! {
        <section class="what-if" aria-label="What if">
            <div class="what-if-controls">
                <fieldset class="choices">
                    <legend>"Preset"</legend>
                    {radio(Preset::Corrected, "corrected")} {radio(Preset::Published, "published")}
                </fieldset>
                {sliders.into_iter().collect_view()}
                <Pick name="kl_estimator" label="KL estimator" shown put />
                <Pick name="whiten_over" label="advantages whitened over" shown put />
                <label class="pick">
                    <span>"whiten rewards"</span>
                    <input
                        type="checkbox"
                        role="switch"
                        prop:checked=move || shown.read().get("whiten_rewards") == Some(&json!(true))
                        on:change=move |event| put.run(("whiten_rewards", json!(event_target_checked(&event))))
                    />
                </label>
                <p class="what-if-state" aria-live="polite">
                    <span>
                        {move || match (nothing(), busy.get()) {
                            (true, _) => "Nothing changed: these are the original numbers",
                            (_, true) => "Computing…",
                            _ => "The same tokens, with these settings",
                        }}
                    </span>
                    <button type="button" class="quiet" disabled=nothing on:click=reset>"Reset"</button>
                </p>
            </div>
            <Sides step config effective result row nothing=Signal::derive(nothing) />
        </section>
    }
}

/// One slider, with its number and the original one.
#[component]
fn Range(
    slider: Slider,
    shown: Memo<Map<String, Value>>,
    config: Signal<Arc<PpoConfig>>,
    put: Callback<(&'static str, Value)>,
) -> impl IntoView {
    let Slider { name, symbol, low, high, step } = slider;
    let id = fresh_id(name);
    let value = move || shown.read().get(name).and_then(Value::as_f64).unwrap_or(low);
    let was = move || values(&config.read()).get(name).and_then(Value::as_f64).unwrap_or(low);
    let does = settings::does(name);
    view! {
        <div class="range">
            <label for=id.clone()><span class="symbol">{symbol}</span> " " <code>{name}</code></label>
            <output class="num" for=id.clone()>{move || format::setting(value())}</output>
            <input
                id=id
                type="range"
                min=low
                max=move || high.max(was())
                step=step
                title=does
                prop:value=move || value().to_string()
                on:input=move |event| {
                    if let Some(x) = format::read(&event_target_value(&event)) {
                        put.run((name, json!(x)));
                    }
                }
            />
            <span class="range-was num">"was " {move || format::setting(was())}</span>
        </div>
    }
}

/// One choice among names.
#[component]
fn Pick(
    name: &'static str,
    label: &'static str,
    shown: Memo<Map<String, Value>>,
    put: Callback<(&'static str, Value)>,
) -> impl IntoView {
    let value = move || shown.read().get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let option = |choice: &'static str| {
        view! { <option value=choice selected=move || value() == choice>{choice.replace('_', " ")}</option> }
    };
    let choices = match settings::find(name).map(|setting| setting.kind) {
        Some(Kind::Choice(choices)) => choices,
        _ => &[],
    };
    view! {
        <label class="pick">
            <span>{label}</span>
            <select prop:value=value on:change=move |event| put.run((name, json!(event_target_value(&event))))>
                {choices.iter().map(|choice| choice.name).map(option).collect_view()}
            </select>
        </label>
    }
}

/// The chosen response and the losses, as they were and with these settings.
#[component]
fn Sides(
    step: Signal<Arc<Step>>,
    config: Signal<Arc<PpoConfig>>,
    effective: Memo<Arc<PpoConfig>>,
    result: Signal<Option<Arc<protocol::WhatIf>>>,
    row: RwSignal<usize>,
    nothing: Signal<bool>,
) -> impl IntoView {
    let quantity = RwSignal::new(Quantity::Reward);
    let column = RwSignal::new(0usize);
    let result = Signal::derive(move || if nothing.get() { None } else { result.get() });
    let would = memo(move || match result.get() {
        Some(result) => Arc::new(changed_step(&step.read(), &result, &effective.read())),
        None => step.get(),
    });
    let losses = move || {
        // Without numbers the rows are empty, so that the table keeps its size.
        let known = result.get();
        let (was, is) = known.as_ref().map(|result| (result.was, result.stats)).unwrap_or_default();
        let number = |x: f64| if known.is_some() { format::signed(x, 4) } else { format::NONE.into() };
        let row = |(name, was, is): (&'static str, f64, f64)| {
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    <td class="num">{number(was)}</td>
                    <td class="num">{number(is)}</td>
                    <td class="num">{number(is - was)}</td>
                </tr>
            }
        };
        pairs(&was, &is).into_iter().map(row).collect_view()
    };
    let not_shown = move || {
        let words = result.get()?.not_shown.clone();
        (!words.is_empty()).then(|| {
            let item = |words: String| view! { <li>{words}</li> };
            view! {
                <details class="not-shown">
                    <summary>"What this cannot show without running the models again"</summary>
                    <ul>{words.into_iter().map(item).collect_view()}</ul>
                </details>
            }
        })
    };
    view! {
        <div class="what-if-sides">
            <TokenStrip step config quantity row column label="The response as it was" />
            <p class="what-if-would">"With these settings"</p>
            <TokenStrip
                step=would
                config=effective
                quantity
                row
                column
                stack=false
                choice=false
                label="The same response with these settings"
            />
            <table class="what-if-losses">
                <caption>"Means over the step's mini-batches"</caption>
                <thead>
                    <tr>
                        <th scope="col">"number"</th>
                        <th scope="col">"was"</th>
                        <th scope="col">"would be"</th>
                        <th scope="col">"difference"</th>
                    </tr>
                </thead>
                <tbody>{losses}</tbody>
            </table>
            {not_shown}
        </div>
    }
}

/// The numbers that the settings change, as they were and as they would be.
fn pairs(was: &MiniBatchStats, is: &MiniBatchStats) -> [(&'static str, f64, f64); 7] {
    [
        ("policy loss", was.policy_loss, is.policy_loss),
        ("value loss", was.value_loss, is.value_loss),
        ("total loss", was.total_loss, is.total_loss),
        ("share clipped", was.clip_fraction, is.clip_fraction),
        ("mean return", was.returns_mean, is.returns_mean),
        ("variance of returns", was.returns_var, is.returns_var),
        ("mean whitened advantage", was.advantages_mean, is.advantages_mean),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_asked_for() {
        let config = PpoConfig::default();
        let edits = |json: Value| json.as_object().cloned().unwrap_or_default();
        let none = changes(&config, Preset::Corrected, Preset::Corrected, &edits(json!({"gamma": 1, "kl_coef": 0.2})));
        assert!(none.is_empty(), "{none:?}");
        let one = changes(&config, Preset::Corrected, Preset::Corrected, &edits(json!({"gamma": 0.9})));
        assert_eq!(Value::Object(one), json!({"gamma": 0.9}));
    }

    #[test]
    fn the_other_preset_is_its_differences() {
        let config = PpoConfig::default();
        let all = changes(&config, Preset::Corrected, Preset::Published, &Map::new());
        assert_eq!(all.len(), PpoConfig::differences().len());
        assert_eq!(all.get("whiten_over"), Some(&json!("mini_batch")));
        let back = changes(&PpoConfig::preset(Preset::Published), Preset::Published, Preset::Corrected, &Map::new());
        assert_eq!(back.get("whiten_over"), Some(&json!("batch")));
    }

    #[test]
    fn sliders_reach_the_defaults() {
        let defaults = values(&PpoConfig::default());
        for slider in &SLIDERS {
            let value = defaults.get(slider.name).and_then(Value::as_f64);
            assert!(value.is_some_and(|x| (slider.low..=slider.high).contains(&x)), "{}", slider.name);
        }
    }
}
