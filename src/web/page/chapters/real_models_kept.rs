//! The real models that this browser keeps and those that are loaded.

use crate::protocol::{Ask, KeptModel, Role};
use crate::settings::{PpoConfig, Preset};
use crate::web::page::browser;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::settings_edit::{spoken, values};
use crate::web::page::parts::table::scrolling_table;
use leptos::prelude::*;

/// The models that this browser keeps, and partial downloads.
#[component]
pub fn Kept(
    /// Continues partial downloads.
    resume: Callback<()>,
) -> impl IntoView {
    let e = engine();
    let s = e.state;
    let chosen: [RwSignal<String>; 2] = [RwSignal::default(), RwSignal::default()];
    // The first two of the list, until others are chosen or after these were removed.
    Effect::new(move |_| {
        let models = s.models.get();
        for role in [Role::Policy, Role::Reward] {
            let chosen = chosen[role.index()];
            let mut of =
                models.iter().filter(|model| model.role == role && model.downloaded.is_none()).map(|model| &model.key);
            if !of.clone().any(|key| *key == chosen.get_untracked()) {
                chosen.set(of.next().cloned().unwrap_or_default());
            }
        }
    });
    let remove = move |keys: Vec<String>| {
        e.ask(Ask::Remove { keys, partial: false });
    };
    let row = move |model: KeptModel| {
        let role = model.role;
        let chosen = chosen[role.index()];
        let (key, choose, removed) = (model.key.clone(), model.key.clone(), model.key);
        let kind = if role == Role::Policy { "policy" } else { "reward model" };
        let labels = model.labels.as_ref().map(|labels| format!(" ({labels})"));
        let checked = move || chosen.with(|chosen| *chosen == key);
        let whole = format::bytes(model.bytes);
        let size = model.downloaded.map_or(whole.clone(), |here| format!("{} of {whole}", format::bytes(here)));
        let name = match &model.revision {
            Some(commit) => {
                let name = model.name.replace(&format!("@{commit}"), "");
                format!("{name} ({})", &commit[..commit.len().min(8)])
            }
            None => model.name.clone(),
        };
        let label = format!("Remove {} ({kind}, {})", model.name, model.weights.name());
        view! {
            <tr>
                <th scope="row">
                    <label class="tick">
                        <input
                            type="radio"
                            name=if role == Role::Policy { "kept-policy" } else { "kept-reward" }
                            disabled=model.downloaded.is_some()
                            prop:checked=checked
                            on:change=move |_| chosen.set(choose.clone())
                        />
                        <span>{name}</span>
                    </label>
                </th>
                <td>{kind}{labels}</td>
                <td>{model.weights.name()}</td>
                <td class="num">{size}</td>
                <td class="num">{browser::date(model.used)}</td>
                <td>
                    <button type="button" aria-label=label on:click=move |_| remove(vec![removed.clone()])>"Remove"</button>
                </td>
            </tr>
        }
    };
    // Whether both are chosen, in one number type.
    let same = move || {
        let models = s.models.get();
        let [policy, reward] =
            chosen.map(|key| models.iter().find(|model| key.with(|key| model.key == *key)).map(|model| model.weights));
        policy.is_some() && policy == reward
    };
    let load = move |_| e.use_models(chosen.map(|key| key.get_untracked()));
    let some = memo(move || s.models.with(|models| !models.is_empty()));
    let partial = memo(move || s.models.with(|models| models.iter().any(|model| model.downloaded.is_some())));
    let storage = RwSignal::new(String::new());
    Effect::new(move |_| {
        if s.models.with(|models| !models.is_empty()) {
            leptos::task::spawn_local(async move { storage.set(browser::storage_note().await) });
        }
    });
    move || {
        some.get().then(|| {
            let heads = ["model", "role", "number type", "size", "last used", ""];
            let rows = move || s.models.get().into_iter().map(row).collect_view();
            view! {
                <h4>"Kept in this browser"</h4>
                {scrolling_table("Models kept in this browser", "", &heads, rows)}
                <p class="note">{storage}</p>
                <p class="row">
                    <button type="button" class="primary" disabled=move || !same() on:click=load>"Load these two"</button>
                    {move || {
                        partial.get().then(|| {
                            view! { <button type="button" on:click=move |_| resume.run(())>"Continue the download"</button> }
                        })
                    }}
                    <button
                        type="button"
                        on:click=move |_| remove(s.models.get_untracked().into_iter().map(|model| model.key).collect())
                    >
                        "Remove all"
                    </button>
                    {move || {
                        let words = "Choose a policy and a reward model of the same number type";
                        (!same()).then(|| view! { <span class="note">{words}</span> })
                    }}
                </p>
            }
        })
    }
}

/// The real models that are loaded: how their settings differ from the lab's, and the way back.
#[component]
pub fn InUse() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let memory = move || match s.memory.get() {
        0 => String::new(),
        bytes => format!("The worker has taken {} of memory so far.", format::bytes(bytes)),
    };
    move || {
        let loaded = s.loaded.get()?;
        let real = loaded.real.clone()?;
        let [policy, reward] = &real.names;
        let lab = values(&PpoConfig::preset(Preset::Corrected));
        let cut = values(&loaded.corrected).into_iter().filter(|(name, value)| lab.get(name) != Some(value));
        let cut = cut.map(|(name, value)| {
            let was = lab.get(&name).map(spoken).unwrap_or_default();
            view! { <li>{format!("{name}: {} (the lab: {was})", spoken(&value))}</li> }
        });
        Some(view! {
            <h4>"Loaded"</h4>
            <p>{format!("{policy} and {reward}, in {}. Everything on this page now works with them.", real.weights.name())}</p>
            <p class="note">{real.accuracy.clone()}</p>
            <p>"Settings that differ from the lab's, so that a step is short enough for a tab:"</p>
            <ul class="note">{cut.collect_view()}</ul>
            <p class="note">{memory}</p>
            <p class="row">
                <button type="button" on:click=move |_| e.use_small()>"Back to the small models"</button>
            </p>
        })
    }
}
