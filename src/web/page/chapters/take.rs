//! Take it with you: saving the adapter and the run as zip files, opening them again, the command that continues the run
//! on the command line, and removing the saved run.

use super::common::{ChapterFrame, Pending, Try, copy_button};
use crate::protocol::{Answer, Ask, Saved};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::{Engine, engine};
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

#[component]
pub fn Take() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let none = move || s.run.with(Option::is_none);
    view! {
        <ChapterFrame chapter=Chapter::Take lead="Save what you train here, in formats that other tools read.">
            <p>
                "The " <b class="m-policy">"adapter"</b> " is a zipped folder in the format of Python's PEFT. The "
                <b>"run"</b> " is the whole run folder: settings, metrics, samples, per-token rollouts, checkpoint with optimizer state. "
                "Both open again here, and the command line opens the same files."
            </p>
            <Try title="Save">
                <p class="row">
                    <button type="button" class="primary" disabled=none on:click=move |_| save(e, Saved::Adapter)>"Save the adapter"</button>
                    <button type="button" disabled=none on:click=move |_| save(e, Saved::Run)>"Save the run"</button>
                    {move || none().then(|| view! { <span class="note">"There is no live run yet"</span> })}
                </p>
                <Pending kind=|ask: &Ask| matches!(ask, Ask::Save { .. }) />
            </Try>
            <OpenZip />
            <Command />
            <Try title="Saved in this browser">
                <p>
                    "After every step this browser saves the adapter, optimizer state, metrics and settings, so that a reload or a crash loses "
                    "nothing. It stays on this machine."
                </p>
                <p class="row">
                    <button type="button" on:click=move |_| { e.ask(Ask::Forget); }>"Remove the saved run"</button>
                </p>
                <Pending kind=|ask: &Ask| matches!(ask, Ask::Forget) />
            </Try>
        </ChapterFrame>
    }
}

/// Asks for a zip and downloads it.
fn save(e: Engine, what: Saved) {
    let s = e.state;
    e.ask_then(Ask::Save { what }, None, None, move |end| {
        if let Ok((Answer::Zip { name }, Some(bytes))) = end
            && browser::download(name, "application/zip", bytes).is_err()
        {
            s.tell(true, format!("{name} could not be saved"), "Allow this page to download files".into());
        }
    });
}

#[component]
fn OpenZip() -> impl IntoView {
    let e = engine();
    let opened = RwSignal::new(String::new());
    let choose = move |event: web_sys::Event| {
        opened.set(String::new());
        let then = move |files: Vec<(String, usize)>, bytes| {
            let name = files[0].0.clone();
            e.open_zip(files, bytes, move |end| {
                opened.set(match end {
                    Ok((Answer::Adapter { lora_r, lora_alpha, .. }, _)) => {
                        format!(
                            "{name} is open (r {lora_r}, α {lora_alpha}): the next run starts from it, so start over"
                        )
                    }
                    Ok(_) => format!("{name} is open"),
                    Err(_) => String::new(),
                });
            });
        };
        e.read_chosen(&event, then);
    };
    view! {
        <Try title="Open">
            <p>
                "An adapter or a run that was saved here, by the command line, or by PEFT: a zip, or the files of an adapter's folder "
                "(adapter_config.json with adapter_model.safetensors or .bin). It replaces the current run."
            </p>
            <label class="field wide">
                <span>"A zip file, or the files of a PEFT folder"</span>
                <input type="file" multiple=true accept=".zip,application/zip,.json,.safetensors,.bin" on:change=choose />
            </label>
            <p class="note" role="status">{move || opened.get()}</p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Open { .. }) />
        </Try>
    }
}

/// The command that continues the run on the command line.
#[component]
fn Command() -> impl IntoView {
    let shown = content();
    let command = memo(move || {
        let command = shown.run.with(|r| r.as_ref().map(|r| r.command.clone()));
        command.filter(|c| !c.is_empty())
    });
    move || {
        command.get().map(|line| {
            view! {
                <Try title="Continue on the command line">
                    <p>"Save the run. This command then continues it on the command line, with the same numbers as here."</p>
                    <pre class="command" tabindex="0"><code>{line}</code></pre>
                    <p class="row">{copy_button("Copy the command", Box::new(move || command.get_untracked().unwrap_or_default()))}</p>
                </Try>
            }
        })
    }
}
