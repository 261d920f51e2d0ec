//! A calculation written out, first with names, then with numbers, each input in the colour of its origin. `sums` gives the
//! calculation.

use super::expr::Term;
use super::format;
use super::sums::{Quantity, Sum, SumLine};
use super::tokens::shown;
use leptos::prelude::*;

/// The calculation of the chosen token's number; screen readers announce changes.
#[component]
pub fn SumView(
    token: String,
    /// The token's position, counted from 0, and the number of tokens.
    place: (usize, usize),
    quantity: Quantity,
    sum: Sum,
) -> impl IntoView {
    let place = format!("token {} of {}", place.0 + 1, place.1);
    view! {
        <div class=format!("sum lines-{}", quantity.lines()) aria-live="polite">
            <p class="sum-head">
                <span class="sum-token">{shown(&token)}</span>
                <span class="sum-place">{place}</span>
                <span class=quantity.meaning().class()>{quantity.name()}</span>
            </p>
            {sum.lines.iter().map(line).collect_view()}
            <p class="sum-note">{sum.note}</p>
        </div>
    }
}

fn line(line: &SumLine) -> impl IntoView + use<> {
    let result = format::fixed(line.result, 4);
    view! {
        <p class="sum-line">
            <span class=format!("sum-name {}", line.meaning.class())>{line.name}</span>
            <span class="sum-names">" = " {terms(line.expression.names())}</span>
            <span class="sum-numbers num">
                " = " {terms(line.expression.numbers())} " = " <strong>{result}</strong>
            </span>
        </p>
    }
}

/// Inputs in their colours, with their names as titles.
fn terms(terms: Vec<Term>) -> impl IntoView + use<> {
    let term = |term: Term| match term.name {
        Some(name) => view! { <span class=term.meaning.class() title=name>{term.text}</span> }.into_any(),
        None => view! { {term.text} }.into_any(),
    };
    terms.into_iter().map(term).collect_view()
}
