//! Scrolls to a chapter and stays there while the text above it grows; finds the chapter that is being read.

use super::address::Chapter;
use core::time::Duration;
use leptos::ev;
use leptos::prelude::*;
use std::cell::RefCell;
use wasm_bindgen::JsCast;
use web_sys::{Element, FocusOptions, HtmlElement, ScrollRestoration};

/// The root has this attribute once every chapter has been laid out.
const LAID_OUT: &str = "data-settled";

/// How long the page must be quiet before chapters out of sight are measured.
const QUIET: Duration = Duration::from_millis(300);

/// The chapter at this part of the window's height is the one being read.
const READ_AT: f64 = 0.3;

/// At least so many pixels from the top: `show` leaves headings above them.
const READ_AT_LEAST: f64 = 160.0;

thread_local! {
    /// The element to scroll to, until it is reached or the person scrolls elsewhere.
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps `chapter` at the one being read, except on the way to another one. Called once, when the page starts.
pub fn watch(chapter: RwSignal<Chapter>) {
    // Otherwise the browser would scroll to the position in its history.
    if let Ok(history) = window().history() {
        let _ = history.set_scroll_restoration(ScrollRestoration::Manual);
    }
    let quiet = StoredValue::new(None::<TimeoutHandle>);
    let resized = window_event_listener(ev::resize, move |_| {
        if let Some(handle) = quiet.get_value() {
            handle.clear();
        }
        quiet.set_value(set_timeout_with_handle(measure, QUIET).ok());
    });
    // A person who scrolls, types or touches goes elsewhere.
    let moves = ["wheel", "touchmove", "keydown"].map(|name| window_event_listener_untyped(name, |_| forget()));
    let pressed = window_event_listener(ev::pointerdown, |event| {
        // A link sets its own target when it is followed.
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        if !target.is_some_and(|element| matches!(element.closest("a"), Ok(Some(_)))) {
            forget();
        }
    });
    let scrolled = window_event_listener(ev::scroll, move |_| {
        let on_the_way = ASKED.with_borrow(|id| id.as_deref().and_then(Chapter::from_slug).is_some());
        if !on_the_way
            && let Some(read) = being_read()
            && chapter.get_untracked() != read
        {
            chapter.set(read);
        }
    });
    on_cleanup(move || {
        resized.remove();
        pressed.remove();
        scrolled.remove();
        moves.into_iter().for_each(WindowListenerHandle::remove);
    });
}

/// Scrolls to an element; with `focus`, its heading takes the focus.
pub fn show(id: &str, focus: bool) {
    ASKED.set(Some(id.to_owned()));
    arrive();
    if laid_out() {
        // What comes into sight is laid out again and may have another height than before.
        request_animation_frame(|| request_animation_frame(stay));
    }
    let heading = document().get_element_by_id(&format!("{id}-heading")).and_then(|e| e.dyn_into::<HtmlElement>().ok());
    if focus && let Some(heading) = heading {
        let without_scrolling = FocusOptions::new();
        without_scrolling.set_prevent_scroll(true);
        let _ = heading.focus_with_options(&without_scrolling);
    }
}

/// Scrolls to the target again: the text above it may have grown.
pub fn arrive() {
    let element = ASKED.with_borrow(|id| document().get_element_by_id(id.as_deref()?));
    if let Some(element) = element {
        element.scroll_into_view();
    }
}

/// Scrolls there and forgets the target.
fn stay() {
    arrive();
    forget();
}

/// All text is there: measures the chapters as soon as the page is quiet.
pub fn settle() {
    set_timeout(measure, QUIET);
}

fn forget() {
    ASKED.set(None);
}

/// The last chapter that begins above the line where a person reads; if there is none, the first.
fn being_read() -> Option<Chapter> {
    let line = (window().inner_height().ok()?.as_f64()? * READ_AT).max(READ_AT_LEAST);
    let above = |chapter: &Chapter| {
        let section = document().get_element_by_id(chapter.slug());
        section.is_some_and(|section| section.get_bounding_client_rect().top() <= line)
    };
    Some(Chapter::ALL.into_iter().rfind(above).unwrap_or_default())
}

fn laid_out() -> bool {
    document().document_element().is_some_and(|root| root.has_attribute(LAID_OUT))
}

/// Lays out every chapter once, one per frame: chapters out of sight then have their true sizes (page.css), so that
/// scrolling to one of them ends at the right position.
fn measure() {
    if let Some(root) = document().document_element() {
        let _ = root.remove_attribute(LAID_OUT);
    }
    lay_out(0);
}

fn lay_out(nth: u32) {
    let chapter = document().query_selector_all(".chapter").ok().and_then(|all| all.item(nth));
    let Some(chapter) = chapter.and_then(|node| node.dyn_into::<Element>().ok()) else {
        stay();
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute(LAID_OUT, "");
        }
        return;
    };
    let _ = chapter.class_list().add_1("whole");
    let next = move || {
        let _ = chapter.class_list().remove_1("whole");
        lay_out(nth + 1);
    };
    // The first of the two frames is the one with the chapter in it.
    request_animation_frame(move || request_animation_frame(next));
}
