//! The list of chapters: beside the text, or as a menu on a narrow page. `scroll` knows which chapter is being read.

use super::address::Chapter;
use super::browser;
use super::engine::state;
use super::scroll;
use leptos::prelude::*;

/// The chapters beside the text.
#[component]
pub fn Rail() -> impl IntoView {
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
            scroll::show(chapter.slug(), true);
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
