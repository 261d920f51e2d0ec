//! The rail with the chapters, and the same as a menu where the page is narrow. Which chapter is being read is found by
//! watching the sections pass.

use super::address::Chapter;
use super::browser;
use super::engine::state;
use super::place;
use leptos::prelude::*;
use std::collections::BTreeSet;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IntersectionObserver, IntersectionObserverEntry, IntersectionObserverInit};

/// What stands above the first chapter, and counts as it.
const OPENING: &str = "opening";

/// The chapters beside the text.
#[component]
pub fn Rail() -> impl IntoView {
    watch_sections();
    view! {
        <nav class="rail" aria-label="Chapters">
            <ol>{links(|| {})}</ol>
        </nav>
    }
}

/// The chapters behind a button.
#[component]
pub fn Menu() -> impl IntoView {
    let s = state();
    let open = RwSignal::new(false);
    let here = move || {
        let chapter = s.chapter.get();
        format!("{} {}", chapter.number(), chapter.title())
    };
    let escape = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" && open.get_untracked() {
            open.set(false);
            browser::focus_opener(&event, "button");
        }
    };
    let leave = move |event: web_sys::FocusEvent| {
        if browser::left(&event) {
            open.set(false);
        }
    };
    view! {
        <nav class="menu" aria-label="Chapters, as a menu" on:keydown=escape on:focusout=leave>
            <button
                type="button"
                aria-expanded=move || open.get().to_string()
                aria-controls="menu"
                on:click=move |_| open.update(|open| *open = !*open)
            >
                <span class="menu-here">{here}</span>
                <span aria-hidden="true">" ▾"</span>
            </button>
            <ol id="menu" hidden=move || !open.get()>
                {links(move || open.set(false))}
            </ol>
        </nav>
    }
}

/// A link for each chapter; `then` is called when one is followed.
fn links(then: impl Fn() + Copy + 'static) -> impl IntoView {
    let s = state();
    let link = move |chapter: Chapter| {
        let follow = move |event: web_sys::MouseEvent| {
            if event.ctrl_key() || event.meta_key() || event.shift_key() {
                return;
            }
            event.prevent_default();
            then();
            let mut address = untrack(|| s.address());
            address.chapter = chapter;
            browser::set_hash(&address.format(), true);
            s.chapter.set(chapter);
            place::show(chapter.slug(), true);
        };
        let here = move || (s.chapter.get() == chapter).then_some("location");
        view! {
            <li>
                <a
                    href=move || {
                        let mut address = s.address();
                        address.chapter = chapter;
                        format!("#{}", address.format())
                    }
                    aria-current=here
                    on:click=follow
                >
                    <span class="rail-number num">{chapter.number()}</span>
                    <span class="rail-title">{chapter.title()}</span>
                </a>
            </li>
        }
    };
    Chapter::ALL.into_iter().map(link).collect_view()
}

/// The chapter whose section lies across the upper third of the window is the one being read; at a border, the lower one.
fn watch_sections() {
    let s = state();
    // Changes are told section by section: their order does not say which of them was the last.
    let across = StoredValue::new_local(BTreeSet::new());
    let seen = move |entries: js_sys::Array| {
        let mut across = across.write_value();
        for entry in entries.iter().map(|e| e.unchecked_into::<IntersectionObserverEntry>()) {
            let id = entry.target().id();
            let chapter = if id == OPENING { Some(Chapter::default()) } else { Chapter::from_slug(&id) };
            let Some(section) = chapter.map(|chapter| (chapter, id != OPENING)) else { continue };
            let _ = if entry.is_intersecting() { across.insert(section) } else { across.remove(&section) };
        }
        if let Some(&(chapter, _)) = across.last()
            && s.chapter.get_untracked() != chapter
        {
            s.chapter.set(chapter);
        }
    };
    Effect::new(move |_| {
        let callback = Closure::<dyn FnMut(js_sys::Array)>::new(seen);
        let options = IntersectionObserverInit::new();
        options.set_root_margin("-30% 0px -69% 0px");
        let observer = IntersectionObserver::new_with_options(callback.as_ref().unchecked_ref(), &options);
        if let Ok(observer) = &observer {
            for id in Chapter::ALL.map(Chapter::slug).into_iter().chain([OPENING]) {
                if let Some(section) = document().get_element_by_id(id) {
                    observer.observe(&section);
                }
            }
        }
        // Both live as long as the page.
        let _ = observer.map(JsValue::from).map(std::mem::forget);
        callback.forget();
    });
}
