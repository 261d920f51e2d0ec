//! Where on the page a person is: scrolling to chapters, and staying at the one that was asked for while the text above it
//! still grows. What the address says of it is `app`'s.

use core::time::Duration;
use leptos::ev;
use leptos::prelude::*;
use std::cell::RefCell;
use wasm_bindgen::JsCast;
use web_sys::{FocusOptions, HtmlElement, ScrollBehavior, ScrollIntoViewOptions};

/// On the root once every chapter has been laid out.
const LAID_OUT: &str = "data-settled";

/// How long the page is left alone before chapters out of sight are measured.
const QUIET: Duration = Duration::from_millis(300);

thread_local! {
    /// The element that was asked for last, until one is there for good or has moved on by oneself.
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Listens to what moves the page. Once, when the page starts.
pub fn watch() {
    let quiet = StoredValue::new(None::<TimeoutHandle>);
    let resized = window_event_listener(ev::resize, move |_| {
        if let Some(handle) = quiet.get_value() {
            handle.clear();
        }
        quiet.set_value(set_timeout_with_handle(measure, QUIET).ok());
    });
    // Whoever scrolls, types or touches goes elsewhere; a link that is followed by it asks anew.
    let moves = ["wheel", "touchmove", "keydown", "pointerdown"];
    let moves = moves.map(|name| window_event_listener_untyped(name, |_| forget()));
    // A slow scroll is led astray where chapters change their size under it.
    let ended = window_event_listener_untyped("scrollend", |_| {
        if laid_out() {
            arrive();
            forget();
        }
    });
    on_cleanup(move || {
        resized.remove();
        ended.remove();
        moves.into_iter().for_each(WindowListenerHandle::remove);
    });
}

/// Scrolls to an element, at once unless a person asked for it; then its heading also takes the focus.
pub fn show(id: &str, focus: bool) {
    ASKED.set(Some(id.to_owned()));
    // Half-way sizes would lead a slow scroll astray.
    let slowly = focus && laid_out();
    scroll(id, if slowly { ScrollBehavior::Auto } else { ScrollBehavior::Instant });
    let heading = document().get_element_by_id(&format!("{id}-heading")).and_then(|e| e.dyn_into::<HtmlElement>().ok());
    if focus && let Some(heading) = heading {
        let without_scrolling = FocusOptions::new();
        without_scrolling.set_prevent_scroll(true);
        let _ = heading.focus_with_options(&without_scrolling);
    }
}

/// To what was asked for, once more: the text above it has grown.
pub fn arrive() {
    if let Some(id) = ASKED.with_borrow(Clone::clone) {
        scroll(&id, ScrollBehavior::Instant);
    }
}

/// The text is whole: measures the chapters, once the page has been left alone for a moment.
pub fn settle() {
    set_timeout(measure, QUIET);
}

fn forget() {
    ASKED.set(None);
}

fn scroll(id: &str, behavior: ScrollBehavior) {
    let Some(element) = document().get_element_by_id(id) else { return };
    let options = ScrollIntoViewOptions::new();
    options.set_behavior(behavior);
    element.scroll_into_view_with_scroll_into_view_options(&options);
}

fn laid_out() -> bool {
    document().document_element().is_some_and(|root| root.has_attribute(LAID_OUT))
}

/// Lays out every chapter once, a frame for each: those out of sight then have their true sizes (page.css), and scrolling
/// to one of them arrives.
fn measure() {
    if let Some(root) = document().document_element() {
        let _ = root.remove_attribute(LAID_OUT);
    }
    lay_out(0);
}

fn lay_out(nth: u32) {
    let chapter = document().query_selector_all(".chapter").ok().and_then(|all| all.item(nth));
    let Some(chapter) = chapter.and_then(|node| node.dyn_into::<web_sys::Element>().ok()) else {
        arrive();
        forget();
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
