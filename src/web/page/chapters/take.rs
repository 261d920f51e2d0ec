//! Take it with you: the adapter and the run as zip files, opening them again, the command that goes on natively, and
//! removing what this browser kept.

use super::common::{Frame, Pending, Try};
use crate::protocol::{Answer, Ask, Saved};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::{Engine, engine};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

/// A larger zip is no run of this lab.
const LARGEST: f64 = 300e6;

#[component]
pub fn Take() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let none = move || s.run.with(Option::is_none);
    view! {
        <Frame chapter=Chapter::Take lead="What you train here is yours, in the formats that other tools read.">
            <p>
                "The " <b class="m-policy">"adapter"</b> " is a folder as Python's PEFT writes and reads it, zipped. The "
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
            <Open />
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
        </Frame>
    }
}

/// Asks for a zip and gives it to the person.
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
fn Open() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let opened = RwSignal::new(String::new());
    let choose = move |event: web_sys::Event| {
        let input = event.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
        let file = input.as_ref().and_then(HtmlInputElement::files).and_then(|files| files.get(0));
        let Some(file) = file else { return };
        // The same file can then be chosen again.
        if let Some(input) = input {
            input.set_value("");
        }
        opened.set(String::new());
        if file.size() > LARGEST {
            let hint = "Choose a zip that this page or `detox-lab` saved";
            return s.tell(true, format!("{} is too large to be a run", file.name()), hint.into());
        }
        leptos::task::spawn_local(async move {
            let name = file.name();
            match browser::read(file).await {
                Ok(bytes) => e.open_zip(name.clone(), bytes, move |end| {
                    opened.set(match end {
                        Ok((Answer::Adapter { lora_r, lora_alpha, .. }, _)) => {
                            format!("{name} is open (r {lora_r}, α {lora_alpha}): the next run starts from it, so start over")
                        }
                        Ok(_) => format!("{name} is open"),
                        Err(_) => String::new(),
                    });
                }),
                Err(what) => s.tell(true, what, "Choose the file again".into()),
            }
        });
    };
    view! {
        <Try title="Open">
            <p>"An adapter or a run that was saved here, by the command line, or by PEFT. It takes the place of the run that is open."</p>
            <label class="field wide">
                <span>"A zip file"</span>
                <input type="file" accept=".zip,application/zip" on:change=choose />
            </label>
            <p class="note" role="status">{move || opened.get()}</p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Open { .. }) />
        </Try>
    }
}

/// The command that goes on natively.
#[component]
fn Command() -> impl IntoView {
    let shown = content();
    let command = Memo::new(move |_| {
        let command = shown.run.with(|r| r.as_ref().map(|r| r.command.clone()));
        command.filter(|c| !c.is_empty())
    });
    let done = RwSignal::new(false);
    let copy = move |_| {
        browser::copy(&command.get_untracked().unwrap_or_default());
        done.set(true);
        set_timeout(move || done.set(false), core::time::Duration::from_secs(2));
    };
    move || {
        command.get().map(|line| {
            view! {
                <Try title="Continue on the command line">
                    <p>"Save the run, then this continues it on the command line, with the same numbers as here."</p>
                    <pre class="command" tabindex="0"><code>{line}</code></pre>
                    <p class="row">
                        <button type="button" on:click=copy>{move || if done.get() { "Copied" } else { "Copy the command" }}</button>
                    </p>
                </Try>
            }
        })
    }
}
