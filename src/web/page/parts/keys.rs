//! Keyboard navigation in a list: one item is in the tab order, and the arrow keys move to the others.

use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, HtmlElement};
use std::sync::atomic::{AtomicU32, Ordering};

/// The direction of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Across,
    Down,
}

/// Whether the pointer itself moved, and not only the page below it.
pub fn moved(event: &PointerEvent) -> bool {
    event.movement_x() != 0 || event.movement_y() != 0
}

/// The item to which a key moves from item `now` of `len`; none for other keys.
pub fn target(key: &str, now: usize, len: usize, runs: Direction) -> Option<usize> {
    let last = len.checked_sub(1)?;
    let (back, on) = match runs {
        Direction::Across => ("ArrowLeft", "ArrowRight"),
        Direction::Down => ("ArrowUp", "ArrowDown"),
    };
    match key {
        "Home" => Some(0),
        "End" => Some(last),
        "PageUp" => Some(now.saturating_sub(10)),
        "PageDown" => Some((now + 10).min(last)),
        key if key == back => Some(now.saturating_sub(1)),
        key if key == on => Some((now + 1).min(last)),
        _ => None,
    }
}

/// Handles a key press in a list whose items have `data-item`: focuses the next item and returns it.
pub fn follow(event: &KeyboardEvent, now: usize, len: usize, runs: Direction) -> Option<usize> {
    let next = target(&event.key(), now, len, runs)?;
    event.prevent_default();
    let list: Element = event.current_target()?.dyn_into().ok()?;
    focus_item(&list, next);
    Some(next)
}

/// Focuses an item of a list.
pub fn focus_item(list: &Element, item: usize) {
    let found = list.query_selector(&format!("[data-item=\"{item}\"]")).ok().flatten();
    if let Some(element) = found.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // Nothing happens if it cannot be focused.
        let _ = element.focus();
    }
}

/// The tab order's entry: "0" for the item that is in it.
pub fn tab_index(current: bool) -> &'static str {
    if current { "0" } else { "-1" }
}

/// An id that no other element has.
pub fn fresh_id(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_and_stop_at_the_ends() {
        let from = |key, now| target(key, now, 12, Direction::Across);
        assert_eq!((from("ArrowRight", 3), from("ArrowLeft", 3)), (Some(4), Some(2)));
        assert_eq!((from("ArrowRight", 11), from("ArrowLeft", 0)), (Some(11), Some(0)));
        assert_eq!((from("Home", 5), from("End", 5)), (Some(0), Some(11)));
        assert_eq!((from("PageDown", 5), from("PageUp", 5)), (Some(11), Some(0)));
        assert_eq!((from("ArrowDown", 5), from("a", 5)), (None, None));
        assert_eq!(target("ArrowDown", 0, 2, Direction::Down), Some(1));
        assert_eq!(target("End", 0, 0, Direction::Down), None);
    }

    #[test]
    fn ids_differ() {
        assert_ne!(fresh_id("x"), fresh_id("x"));
    }
}
