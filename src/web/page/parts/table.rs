//! Tables that scroll inside themselves.

use leptos::prelude::*;

/// The table's label for screen readers, CSS class, column heads and rows.
pub fn scrolling_table(
    label: &'static str,
    class: &'static str,
    heads: &[&'static str],
    rows: impl IntoView + 'static,
) -> AnyView {
    let heads = heads.iter().map(|head| view! { <th scope="col">{*head}</th> }).collect_view();
    view! {
        <div class=format!("scroller {class}") role="region" tabindex="0" aria-label=label>
            <table>
                <thead><tr>{heads}</tr></thead>
                <tbody>{rows.into_any()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// The same with rows as HTML text, for tables of numbers: the page would be larger with a view of each cell.
pub fn text_table(label: &'static str, class: &'static str, heads: &[&'static str], rows: Signal<String>) -> AnyView {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    view! {
        <div class=format!("scroller {class}") role="region" tabindex="0" aria-label=label>
            <table>
                <thead><tr inner_html=heads></tr></thead>
                <tbody inner_html=rows></tbody>
            </table>
        </div>
    }
    .into_any()
}
