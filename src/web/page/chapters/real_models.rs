//! The lab's real models: choosing a hub id, an address or files, what they will need, bringing them into this browser, and loading
//! them.

use super::common::{Pending, Try, text_field, tick};
use super::real_models_bring::{Choice, path};
use super::real_models_kept::{InUse, Kept};
use crate::protocol::{Ask, Needs, NumberType, Role};
use crate::web::page::browser;
use crate::web::page::parts::format;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::progress::Progress;
use crate::web::page::parts::table::scrolling_table;
use crate::web::page::state::Counted;
use leptos::prelude::*;
use web_sys::File;

/// The id of this part, for links.
pub const ID: &str = "real-models";

#[component]
pub fn RealModels() -> impl IntoView {
    let choice = Choice::new();
    let folders = RwSignal::new(false);
    let bar = move |f: fn(Counted) -> f64| Signal::derive(move || choice.counted.get().map_or(0.0, f));
    let seconds = Signal::derive(move || choice.counted.get().map(seconds).filter(|seconds| *seconds > 0.5));
    Effect::new(move |before: Option<()>| {
        choice.addresses.iter().for_each(|address| address.track());
        if before.is_some() {
            choice.forget_needs();
        }
    });
    // A paused download has no speed.
    let label = move || {
        let counted = choice.counted.get().filter(|_| choice.paused.get() != Some(true));
        speed(&choice.doing.get(), counted)
    };
    let working = memo(move || !choice.doing.with(String::is_empty));
    view! {
        <div id=ID>
            <Try title="The lab's own models">
                <p>
                    "This page can also run the models of the lab: a " <b class="m-policy">"FLAN-T5"</b> " such as google/flan-t5-small, with a "
                    "new LoRA adapter, and the " <b class="m-reward">"RoBERTa"</b> " facebook/roberta-hate-speech-dynabench-r4-target. "
                    "They are downloaded once, or read from files on this machine, converted, and kept in this browser. "
                    "No other server is asked before you press the button that names it, and nothing of yours is sent."
                </p>
                {text_field("Policy (T5): hub id or address", "1", 300, choice.addresses[0])}
                {text_field("Reward model (RoBERTa): hub id or address", "1", 300, choice.addresses[1])}
                <p class="row">
                    <button type="button" on:click=move |_| choice.ask_servers()>
                        {move || format!("Ask {} what they need", hosts(&choice.addresses.map(|address| address.get())))}
                    </button>
                </p>
                <p>"Or choose their files, or drop them on the fields: config.json, tokenizer.json, and the weights as safetensors, .bin or GGUF."</p>
                {tick("whole folders instead of files", folders)}
                <Files choice=choice role=Role::Policy label="Files of the policy (T5)" folders=folders />
                <Files choice=choice role=Role::Reward label="Files of the reward model (RoBERTa)" folders=folders />
                <WhatItNeeds choice=choice />
                {move || {
                    working.get().then(|| {
                        view! {
                            <Progress
                                label=Signal::derive(label)
                                done=bar(|counted| counted.done)
                                of=bar(|counted| counted.of)
                                bytes=true
                                seconds=seconds
                                on_cancel=Callback::new(move |()| choice.cancel())
                            />
                            <p class="note" role="status">{choice.note}</p>
                            {move || {
                                choice.paused.get().map(|paused| {
                                    let words = if paused { "Continue" } else { "Pause" };
                                    view! { <button type="button" on:click=move |_| choice.pause()>{words}</button> }
                                })
                            }}
                        }
                    })
                }}
                <Kept resume=Callback::new(move |()| choice.resume()) />
                <Pending kind=|ask: &Ask| matches!(ask, Ask::Use { .. } | Ask::Remove { .. }) />
                <InUse />
            </Try>
        </div>
    }
}

/// The servers that two addresses name.
fn hosts(addresses: &[String; 2]) -> String {
    let [policy, reward] = addresses.each_ref().map(|address| match address.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => "huggingface.co",
    });
    if policy == reward { policy.to_owned() } else { format!("{policy} and {reward}") }
}

/// What is done, with its speed.
fn speed(doing: &str, counted: Option<Counted>) -> String {
    match counted {
        Some(counted) if seconds(counted) > 0.5 => {
            format!("{doing}: {} per second", format::bytes((counted.done / seconds(counted)) as u64))
        }
        _ => doing.to_owned(),
    }
}

/// Bytes of the policy and of the reward model.
fn both([policy, reward]: [u64; 2]) -> String {
    format!("{} + {}", format::bytes(policy), format::bytes(reward))
}

fn seconds(counted: Counted) -> f64 {
    (counted.now - counted.since) / 1000.0
}

/// A field for the files of one model; files can be dropped on it.
#[component]
fn Files(choice: Choice, role: Role, label: &'static str, folders: RwSignal<bool>) -> impl IntoView {
    let choose = move |event: web_sys::Event| {
        // Only files directly in the folder belong to the model.
        let direct = |file: &File| path(file).is_none_or(|path| path.matches('/').count() == 1);
        let files: Vec<File> = browser::files(&event).into_iter().filter(direct).collect();
        if !files.is_empty() {
            choice.choose(role, files);
        }
    };
    view! {
        <label class="field wide">
            <span>{label}</span>
            <input type="file" multiple=true prop:webkitdirectory=move || folders.get() on:click=move |event| browser::empty(&event) on:change=choose />
        </label>
        <p class="note">{choice.said[role.index()]}</p>
    }
}

/// What the chosen models will need in each number type, and the button that keeps and loads them.
#[component]
fn WhatItNeeds(choice: Choice) -> impl IntoView {
    let rows = move |needs: &Needs| {
        let row = |needs: &crate::protocol::TypeNeeds| {
            let (at, fits) =
                (NumberType::ALL.iter().position(|weights| *weights == needs.weights).unwrap_or(0), needs.fits);
            view! {
                <tr>
                    <th scope="row">
                        <label class="tick">
                            <input
                                type="radio"
                                name="number-type"
                                disabled=!fits
                                prop:checked=move || choice.weights.get() == at
                                on:change=move |_| choice.weights.set(at)
                            />
                            <span>{needs.weights.name()}</span>
                        </label>
                    </th>
                    <td class="num">{both(needs.storage)}</td>
                    <td class="num">{format::bytes(needs.loading)}</td>
                    <td class="num">{format::bytes(needs.training)}</td>
                    <td>{if fits { "yes" } else { "no: a tab can have 4 GB" }}</td>
                </tr>
            }
        };
        needs.types.iter().map(row).collect_view()
    };
    move || {
        let needs = choice.needs.get()?;
        let fits = needs.types.iter().any(|needs| needs.fits);
        let (remote, unclear) = (needs.download != [0; 2], !needs.labels.is_empty());
        let download = if remote { format!("Download: {}. ", both(needs.download)) } else { String::new() };
        let heads = ["number type", "storage (policy + reward model)", "memory, loading", "memory, PPO step", "fits"];
        Some(view! {
            <h4>"What they need"</h4>
            <p>{download}{needs.words.clone()}</p>
            {scrolling_table("What the models need", "", &heads, rows(&needs))}
            {unclear
                .then(|| {
                    let options = needs.labels.iter().map(|label| view! { <option>{label.clone()}</option> }).collect_view();
                    view! {
                        <label class="field">
                            <span>"The reward model's harmless label"</span>
                            <select on:change=move |event| choice.harmless.set(event_target_value(&event))>
                                <option value="">"choose one"</option>
                                {options}
                            </select>
                        </label>
                    }
                })}
            <p class="note">{browser::memory_note()}</p>
            <p class="row">
                <button
                    type="button"
                    class="primary"
                    disabled=move || !fits || unclear && choice.harmless.with(String::is_empty) || !choice.doing.with(String::is_empty)
                    on:click=move |_| choice.bring(choice.models().into(), NumberType::ALL[choice.weights.get_untracked()])
                >
                    {if remote { "Download, keep and load them" } else { "Keep them in this browser and load them" }}
                </button>
                {(!fits).then(|| view! { <span class="note">"These models are too large for a tab, even in q8_0: choose flan-t5-small or -base"</span> })}
            </p>
        })
    }
}
