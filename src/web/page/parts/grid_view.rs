//! A grid of per-token numbers: a line for each response, a cell for each token. Tokens cannot be chosen here; that is
//! for the token strip.

use super::format;
use super::heat::Scale;
use super::tokens::shown;
use crate::protocol::{Grid, Response};
use leptos::prelude::*;
use std::sync::Arc;

/// Rows shown at first: enough to see a pattern, few enough for a phone.
const FIRST: usize = 4;

/// A named grid (B, R), or the rows `rows` of the batch (M, R).
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub name: &'static str,
    /// CSS class of its meaning.
    pub class: &'static str,
    pub grid: Grid,
    /// The number without colour: 0, or 1 for ratios.
    pub centre: f32,
    /// Whether there are numbers on both sides of it.
    pub diverging: bool,
}

/// Grids of one shape, one of them shown at a time; with the tokens' texts if the responses are known.
#[component]
pub fn GridView(
    grids: Vec<Named>,
    /// 1 where a token is trained; without a mask, all tokens.
    #[prop(optional_no_strip)]
    mask: Option<Grid>,
    #[prop(optional_no_strip)] responses: Option<Arc<Vec<Response>>>,
    /// The rows' numbers in the batch; by default 0, 1, …
    #[prop(optional)]
    rows: Vec<usize>,
) -> impl IntoView {
    let grids = Arc::new(grids);
    let count = grids.first().map_or(0, |named| named.grid.rows);
    let chosen = RwSignal::new(0usize);
    let all = RwSignal::new(false);
    let named = grids.clone();
    let body = move || {
        let Some(named) = named.get(chosen.get()) else { return ().into_any() };
        let mask = mask.clone().unwrap_or_else(|| named.grid.map(|_| 1.0));
        let scale = Scale {
            centre: named.centre,
            diverging: named.diverging,
            ..Scale::signed(&named.grid.map(|x| x - named.centre), &mask)
        };
        let until = if all.get() { count } else { count.min(FIRST) };
        let line = |j: usize| {
            let i = rows.get(j).copied().unwrap_or(j);
            let pieces =
                responses.as_ref().and_then(|responses| responses.get(i)).map(|response| response.pieces.as_slice());
            let cell = |(k, x): (usize, &f32)| {
                let token = pieces.and_then(|pieces| pieces.get(k)).map(|piece| shown(&piece.text));
                view! {
                    <span class=format!("cell {}", scale.class(scale.level(*x)))>
                        <span class="cell-token">{token}</span>
                        <span class="cell-number">{format::fixed(f64::from(*x), 2)}</span>
                    </span>
                }
            };
            let trained = mask.row(j).iter().zip(named.grid.row(j)).enumerate().filter(|(_, (m, _))| **m > 0.0);
            let cells = trained.map(|(k, (_, x))| cell((k, x))).collect_view();
            view! {
                <div class="grid-line-row">
                    <span class="grid-row-number num">{i + 1}</span>
                    <div class="grid-cells">{cells}</div>
                </div>
            }
        };
        let lines = (0..until).map(line).collect_view();
        let label = format!("{}, token by token", named.name);
        view! { <div class="scroller grid-rows" role="region" tabindex="0" aria-label=label>{lines}</div> }.into_any()
    };
    let switch = (grids.len() > 1).then(|| {
        let button = |(g, named): (usize, &Named)| {
            view! {
                <button
                    type="button"
                    class=format!("choice-button {}", named.class)
                    aria-pressed=move || (chosen.get() == g).to_string()
                    on:click=move |_| chosen.set(g)
                >
                    {named.name}
                </button>
            }
        };
        let buttons = grids.iter().enumerate().map(button).collect_view();
        view! { <div class="choices" role="group" aria-label="Which numbers">{buttons}</div> }
    });
    view! {
        <div class="grid-view">
            {switch}
            {body}
            {(count > FIRST).then(|| view! {
                <button
                    type="button"
                    class="quiet"
                    aria-expanded=move || all.get().to_string()
                    on:click=move |_| all.update(|all| *all = !*all)
                >
                    {move || match all.get() {
                        true => format!("Show the first {FIRST}"),
                        false => format!("Show all {count} rows"),
                    }}
                </button>
            })}
        </div>
    }
}
