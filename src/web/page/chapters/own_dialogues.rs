//! A person's own dialogues in place of the shipped ones.

use super::common::{Pending, Try};
use crate::protocol::Ask;
use crate::web::page::engine::engine;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

#[component]
pub fn OwnDialogues() -> impl IntoView {
    let e = engine();
    let words = memo(move || e.state.loaded.with(|l| l.as_ref().map(|l| l.data.clone()).unwrap_or_default()));
    let choose = move |event: web_sys::Event| {
        e.read_chosen(&event, move |files, bytes| e.use_data(files[0].0.clone(), bytes));
    };
    view! {
        <Try title="Your own dialogues">
            <p>
                "A file (JSON lines, csv, tsv) with the fields dialogue and summary. As in the lab, dialogues of more than 200 and at most 1000 "
                "characters are used, and the last fifth of them is held out."
            </p>
            <label class="field wide">
                <span>"A file of dialogues"</span>
                <input type="file" accept=".jsonl,.json,.csv,.tsv" on:change=choose />
            </label>
            <p class="note" role="status">{words}</p>
            <p class="row">
                <button
                    type="button"
                    disabled=move || words.with(String::is_empty)
                    on:click=move |_| e.use_data(String::new(), Vec::new())
                >
                    "Back to the shipped dialogues"
                </button>
            </p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Data { .. }) />
        </Try>
    }
}
