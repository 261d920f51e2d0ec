//! A table that scrolls inside itself.

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
