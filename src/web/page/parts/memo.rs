//! Memos whose code is compiled once for each type.

use leptos::prelude::Memo;

/// A memo whose closure is boxed: reactive_graph's code is then compiled once for each type, not for each closure.
pub fn memo<T: PartialEq + Send + Sync + 'static>(compute: impl Fn() -> T + Send + Sync + 'static) -> Memo<T> {
    boxed(Box::new(compute))
}

fn boxed<T: PartialEq + Send + Sync + 'static>(compute: Box<dyn Fn() -> T + Send + Sync>) -> Memo<T> {
    Memo::new(move |_| compute())
}
