//! Chapter 3.4: before and after in text, as a table and as csv.

use super::common::{ChapterFrame, Source, Try};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::compare_table::CompareTable;
use crate::web::page::parts::memo::memo;
use crate::web::page::scroll;
use leptos::prelude::*;
use std::sync::Arc;

#[component]
pub fn Texts() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let live = Signal::derive(move || s.evaluated.with(Option::is_some));
    let any = memo(move || shown.evaluated.with(|e| e.as_ref().is_some_and(|e| !e.rows.is_empty())));
    let rows = memo(move || Arc::new(shown.evaluated.with(|e| e.as_ref().map(|e| e.rows.clone())).unwrap_or_default()));
    let save = move |_| {
        let csv = shown.evaluated.with_untracked(|e| e.as_ref().map(|e| e.csv.clone())).unwrap_or_default();
        if browser::download("comparison.csv", "text/csv", csv.as_bytes()).is_err() {
            s.tell(true, "The table could not be saved".into(), "Allow this page to download files".into());
        }
    };
    view! {
        <ChapterFrame chapter=Chapter::Texts lead="Numbers can mislead, so read the summaries too.">
            <p>
                "Each row is one dialogue, summarised before and after training. Look for summaries that score high but no longer "
                "summarise the dialogue: that is reward hacking."
            </p>
            <p class="caption"><Source live=live /></p>
            {move || {
                if any.get() {
                    view! { <CompareTable rows=rows /> }.into_any()
                } else {
                    view! { <p class="note">"No pairs yet"</p> }.into_any()
                }
            }}
            <Try title="Save the table">
                <p class="row">
                    <button type="button" disabled=move || !any.get() on:click=save>"Save as csv"</button>
                    <a class="link" href="#numbers" on:click=move |event| {
                        event.prevent_default();
                        scroll::show("numbers", true);
                    }>"Compare your own run in 3.3"</a>
                </p>
            </Try>
        </ChapterFrame>
    }
}
