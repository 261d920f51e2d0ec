//! Every setting of a run, in groups: unit, default, what it does, a message for an invalid value, and a button back to the
//! default; and the two presets with their differences. The settings are in `crate::settings`, editing in `settings_edit`.

use super::keys::fresh_id;
use super::settings_edit::{Edits, fault, kept, same, spoken, values};
use super::table::scrolling_table;
use crate::settings::{GROUPS, Kind, PpoConfig, Preset, SETTINGS, Setting};
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A preset and the changes to it.
type Choice = (Preset, Map<String, Value>);

/// All settings; `on_change` is called only with settings that are valid together.
#[component]
pub fn Settings(
    #[prop(into)] corrected: Signal<Arc<PpoConfig>>,
    #[prop(into)] published: Signal<Arc<PpoConfig>>,
    #[prop(into)] preset: Signal<Preset>,
    /// What differs from the preset's settings.
    #[prop(into)]
    changed: Signal<Map<String, Value>>,
    #[prop(into)] on_change: Callback<Choice>,
) -> impl IntoView {
    let draft = RwSignal::new(Edits::default());
    let base = memo(move || match preset.get() {
        Preset::Corrected => corrected.get(),
        Preset::Published => published.get(),
    });
    let defaults = memo(move || values(&base.read()));
    // Whoever else changes the settings (a reset, a link, a run) starts without refused entries.
    let own = StoredValue::new(false);
    Effect::new(move |_| {
        preset.track();
        changed.track();
        if !own.try_update_value(core::mem::take).unwrap_or_default() && *draft.read_untracked() != Edits::default() {
            draft.set(Edits::default());
        }
    });
    let edit = Callback::new(move |(name, text): (&'static str, String)| {
        let valid =
            draft.try_update(|draft| draft.edit(&base.read_untracked(), &changed.read_untracked(), name, &text));
        if let Some(valid) = valid.flatten() {
            own.set_value(true);
            on_change.run((preset.get_untracked(), valid));
        }
    });
    let choose = Callback::new(move |(preset, changed): Choice| {
        draft.set(Edits::default());
        on_change.run((preset, changed));
    });
    let groups = GROUPS.iter().map(|&(group, about)| {
        let fields = SETTINGS.iter().filter(|setting| setting.group == group);
        let fields = fields.map(|setting| view! { <Field setting draft base defaults changed edit /> }).collect_view();
        let count = move || {
            let changed = changed.read();
            let here = |setting: &&Setting| setting.group == group && changed.contains_key(setting.name);
            let here = SETTINGS.iter().filter(here).count();
            (here > 0).then(|| view! { <span class="settings-count num">{here} " changed"</span> })
        };
        view! {
            <details class="settings-group" open=matches!(group, "KL" | "Rewards and advantages")>
                <summary>
                    <span class="settings-name">{group}</span>
                    {count}
                    <span class="settings-about">{about}</span>
                </summary>
                <div class="settings-fields">{fields}</div>
            </details>
        }
    });
    let differing = move || changed.read().len();
    view! {
        <section class="settings" aria-label="Settings">
            <fieldset class="settings-all">
                <legend class="sr-only">"Settings of the run"</legend>
                <Presets preset changed choose />
                <p class="settings-bar">
                    <span class="num" aria-live="polite">
                        {move || match differing() {
                            0 => "All as in the preset".to_string(),
                            1 => "1 setting changed".to_string(),
                            n => format!("{n} settings changed"),
                        }}
                    </span>
                    <button
                        type="button"
                        class="quiet"
                        disabled=move || differing() == 0 && *draft.read() == Edits::default()
                        on:click=move |_| choose.run((preset.get_untracked(), Map::new()))
                    >
                        "Reset all"
                    </button>
                </p>
                {groups.collect_view()}
            </fieldset>
        </section>
    }
}

/// The choice between the two presets, and their differences.
#[component]
fn Presets(preset: Signal<Preset>, changed: Signal<Map<String, Value>>, choose: Callback<Choice>) -> impl IntoView {
    let name = fresh_id("preset");
    let radio = |which: Preset, label: &'static str, about: &'static str| {
        view! {
            <label class="preset">
                <input
                    type="radio"
                    name=name.clone()
                    prop:checked=move || preset.get() == which
                    on:change=move |_| choose.run((which, kept(&changed.read_untracked())))
                />
                <span class="preset-name">{label}</span>
                <span class="preset-about">{about}</span>
            </label>
        }
    };
    let differences = PpoConfig::differences().into_iter().map(|difference| {
        view! {
            <tr>
                <th scope="row"><code>{difference.setting}</code></th>
                <td>{spoken(&difference.published)}</td>
                <td>{spoken(&difference.corrected)}</td>
                <td class="difference-why">{difference.why}</td>
            </tr>
        }
    });
    view! {
        <fieldset class="presets">
            <legend>"Preset"</legend>
            {radio(Preset::Corrected, "corrected", "with the bugs fixed")}
            {radio(Preset::Published, "published", "as the notebook behaves, with its bugs")}
        </fieldset>
        <details class="differences">
            <summary>"What differs between the two"</summary>
            {scrolling_table(
                "Published and corrected",
                "",
                &["setting", "published", "corrected", "what the published one does"],
                differences.collect_view(),
            )}
        </details>
    }
}

/// One setting.
#[component]
fn Field(
    setting: &'static Setting,
    draft: RwSignal<Edits>,
    base: Memo<Arc<PpoConfig>>,
    defaults: Memo<Map<String, Value>>,
    changed: Signal<Map<String, Value>>,
    edit: Callback<(&'static str, String)>,
) -> impl IntoView {
    let Setting { name, unit, does, kind, .. } = *setting;
    let id = fresh_id(name);
    let (about, error) = (format!("{id}-about"), format!("{id}-error"));
    let default = memo(move || defaults.read().get(name).cloned().unwrap_or_default());
    let value = memo(move || changed.read().get(name).cloned().unwrap_or_else(|| default.get()));
    let differs = move || !same(Some(&default.read()), &value.read());
    let text = memo(move || draft.read().text(name, &value.read()));
    // What a link sets has not been checked.
    let given = move || changed.read().get(name).and_then(|value| fault(&base.read(), name, value));
    let wrong = memo(move || draft.read().wrong(name).or_else(given));
    let invalid = move || wrong.read().is_some().then_some("true");
    let described = format!("{about} {error}");
    let put = move |text: String| edit.run((name, text));
    let control = match kind {
        Kind::Switch => view! {
            <input
                id=id.clone()
                type="checkbox"
                role="switch"
                aria-describedby=described
                prop:checked=move || text.get() == "true"
                on:change=move |event| put(event_target_checked(&event).to_string())
            />
        }
        .into_any(),
        Kind::Choice(choices) => {
            let option = |choice: &'static str| {
                view! { <option value=choice selected=move || text.get() == choice>{choice.replace('_', " ")}</option> }
            };
            view! {
                <select
                    id=id.clone()
                    aria-describedby=described
                    aria-invalid=invalid
                    prop:value=move || text.get()
                    on:change=move |event| put(event_target_value(&event))
                >
                    {choices.iter().map(|choice| choice.name).map(option).collect_view()}
                </select>
            }
            .into_any()
        }
        _ => view! {
            <input
                id=id.clone()
                type="text"
                class="num"
                inputmode=if matches!(kind, Kind::Whole | Kind::OptionalWhole) { "numeric" } else { "decimal" }
                autocomplete="off"
                spellcheck="false"
                aria-describedby=described
                aria-invalid=invalid
                placeholder=if matches!(kind, Kind::OptionalNumber | Kind::OptionalWhole) { "none" } else { "" }
                prop:value=move || text.get()
                on:change=move |event| put(event_target_value(&event))
            />
        }
        .into_any(),
    };
    let back = move || {
        differs().then(|| {
            let default = default.get();
            let label = format!("Back to {}", spoken(&default));
            let spoken = format!("{label}: {name}");
            view! {
                <button
                    type="button"
                    class="setting-back"
                    aria-label=spoken
                    on:click=move |_| put(super::settings_edit::typed(&default))
                >
                    {label}
                </button>
            }
        })
    };
    view! {
        <div class="setting" class:is-changed=differs>
            <label class="setting-name" for=id.clone()>
                <code>{name}</code>
                " "
                <span class="setting-unit">{unit}</span>
            </label>
            <div class="setting-control">{control} {back}</div>
            <p class="setting-does" id=about>
                {does} <span class="setting-default">". Default " {move || spoken(&default.read())}</span>
            </p>
            <p class="setting-error" id=error aria-live="polite">{move || wrong.get()}</p>
        </div>
    }
}
