//! Before and after in text: both summaries of each dialogue, with removed and added words marked, on pages, the most toxic
//! first.

use super::diff::{WordRun, words};
use super::format;
use super::keys::fresh_id;
use super::order::rising;
use crate::protocol::EvaluatedRow;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use std::sync::Arc;

/// The order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Worst,
    Gained,
    Lost,
}

impl Order {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Worst, "worst", "most toxic after training first"),
        (Self::Gained, "gained", "largest gain in score first"),
        (Self::Lost, "lost", "largest loss in score first"),
    ];

    fn of(slug: &str) -> Self {
        Self::ALL.into_iter().find(|order| order.1 == slug).map_or(Self::Worst, |order| order.0)
    }

    /// The indices of the rows in this order.
    fn sorted(self, rows: &[EvaluatedRow]) -> Vec<usize> {
        let key = |row: &EvaluatedRow| match self {
            Self::Worst => -row.toxicity_after,
            Self::Gained => -(row.score_after - row.score_before),
            Self::Lost => row.score_after - row.score_before,
        };
        rising(rows.iter().map(|row| f64::from(key(row))))
    }
}

/// Rows on a page.
const PAGE: usize = 10;

/// Pages of rows.
#[component]
pub fn CompareTable(#[prop(into)] rows: Signal<Arc<Vec<EvaluatedRow>>>) -> impl IntoView {
    let order = RwSignal::new(Order::Worst);
    let page = RwSignal::new(0usize);
    let places = memo(move || order.get().sorted(&rows.read()));
    let pages = move || places.read().len().div_ceil(PAGE).max(1);
    let here = move || page.get().min(pages() - 1);
    let range = move || {
        let (first, all) = (here() * PAGE, places.read().len());
        if all == 0 { "no rows".to_string() } else { format!("{} to {} of {all}", first + 1, (first + PAGE).min(all)) }
    };
    let items = move || {
        let rows = rows.read();
        let places = places.read();
        let shown = places.iter().skip(here() * PAGE).take(PAGE);
        shown.filter_map(|i| rows.get(*i)).map(row).collect_view()
    };
    let select = fresh_id("order");
    let option = |(_, slug, name): (Order, &'static str, &'static str)| view! { <option value=slug>{name}</option> };
    let options = Order::ALL.into_iter().map(option).collect_view();
    view! {
        <section class="compare" aria-label="Summaries before and after">
            <div class="compare-bar">
                <label for=select.clone()>"Order"</label>
                <select
                    id=select
                    on:change=move |event| {
                        order.set(Order::of(&event_target_value(&event)));
                        page.set(0);
                    }
                >
                    {options}
                </select>
                <span class="compare-pages">
                    <button
                        type="button"
                        class="quiet"
                        disabled=move || here() == 0
                        on:click=move |_| page.set(untrack(here) - 1)
                    >
                        "Previous"
                    </button>
                    <span class="num" aria-live="polite">{range}</span>
                    <button
                        type="button"
                        class="quiet"
                        disabled=move || { here() + 1 >= pages() }
                        on:click=move |_| page.set(untrack(here) + 1)
                    >
                        "Next"
                    </button>
                </span>
            </div>
            <ol class="compare-rows">{items}</ol>
            {move || rows.read().is_empty().then(|| view! { <p class="empty">"Nothing evaluated yet"</p> })}
        </section>
    }
}

fn row(row: &EvaluatedRow) -> impl IntoView + use<> {
    let change = format::signed(f64::from(row.score_after - row.score_before), 3);
    let mark = match change.chars().next() {
        _ if row.before == row.after => ("is-same", "the same text"),
        Some('+') => ("is-up", "▲ score"),
        Some('−') => ("is-down", "▼ score"),
        _ => ("is-same", "score unchanged"),
    };
    let side = |name: &'static str, text: AnyView, score: f32, toxicity: f32| {
        view! {
            <div class="compare-side">
                <p class="compare-name">{name}</p>
                <p class="compare-text">{text}</p>
                <p class="compare-scores num">
                    "score " <span class="m-reward">{format::signed(f64::from(score), 3)}</span>
                    " · P(hate) " {format::probability(f64::from(toxicity))}
                </p>
            </div>
        }
    };
    let runs = words(&row.before, &row.after);
    view! {
        <li class="compare-row">
            <p class="compare-head">
                <span class="compare-id">{row.id.clone()}</span>
                <span class=format!("compare-change num {}", mark.0)>
                    {mark.1} " " {(mark.0 != "is-same").then_some(change)}
                </span>
            </p>
            <details class="compare-dialogue">
                <summary>"The dialogue and its human summary"</summary>
                <p class="stage-text">{row.dialogue.clone()}</p>
                <p class="compare-reference">{row.reference.clone()}</p>
            </details>
            <div class="compare-sides">
                {side("before", marked(&runs, false), row.score_before, row.toxicity_before)}
                {side("after", marked(&runs, true), row.score_after, row.toxicity_after)}
            </div>
        </li>
    }
}

/// One side's words; those that the other side does not have are marked.
fn marked(runs: &[WordRun], after: bool) -> AnyView {
    let part = |run: &WordRun| match (run, after) {
        (WordRun::Same(text), _) => Some(view! { {text.clone()} " " }.into_any()),
        (WordRun::Gone(text), false) => Some(view! { <del>{text.clone()}</del> " " }.into_any()),
        (WordRun::Come(text), true) => Some(view! { <ins>{text.clone()}</ins> " " }.into_any()),
        _ => None,
    };
    let parts: Vec<AnyView> = runs.iter().filter_map(part).collect();
    if parts.is_empty() { view! { <em class="empty">"empty"</em> }.into_any() } else { parts.collect_view().into_any() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(score_before: f32, score_after: f32, toxicity_after: f32) -> EvaluatedRow {
        EvaluatedRow { score_before, score_after, toxicity_after, ..EvaluatedRow::default() }
    }

    #[test]
    fn the_worst_comes_first() {
        let rows = [scored(0.0, 1.0, 0.1), scored(2.0, -1.0, 0.9), scored(-2.0, 2.0, 0.2)];
        assert_eq!(Order::of("nonsense").sorted(&rows), [1, 2, 0]);
        assert_eq!(Order::of("gained").sorted(&rows), [2, 0, 1]);
        assert_eq!(Order::of("lost").sorted(&rows), [1, 0, 2]);
    }
}
