//! The token strip: a response token by token, with one quantity under each token as colour and number. Clipped tokens
//! also have another shape. Below it is the calculation of the chosen number, above it the rows of the batch, sorted by
//! score. Calculations are in `sums`, colours in `heat`.

use super::format;
use super::heat::{Scale, paths};
use super::keys::{Direction, follow, fresh_id, moved, tab_index};
use super::order::rising;
use super::sum_view::SumView;
use super::sums::{Quantity, StepSums};
use super::tokens::shown;
use crate::protocol::Step;
use crate::settings::PpoConfig;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use std::sync::Arc;

/// One response of a step, with the choice of quantity, of row and of token.
#[component]
pub fn TokenStrip(
    #[prop(into)] step: Signal<Arc<Step>>,
    /// The settings that the step's grids were made with.
    #[prop(into)]
    config: Signal<Arc<PpoConfig>>,
    quantity: RwSignal<Quantity>,
    /// The row's number in the batch.
    row: RwSignal<usize>,
    /// Whether a row can be chosen here.
    #[prop(default = true)]
    stack: bool,
    /// Whether the quantity can be chosen here.
    #[prop(default = true)]
    choice: bool,
    /// The token's position; strips that share it move together.
    #[prop(optional)]
    column: Option<RwSignal<usize>>,
    #[prop(optional, into)] label: String,
) -> impl IntoView {
    let column = column.unwrap_or_else(|| RwSignal::new(0));
    let order = memo(move || by_score(&step.read()));
    let here = memo(move || row.get().min(step.read().responses.len().saturating_sub(1)));
    let scale = memo(move || Scale::over(quantity.get(), &step.read().grids));
    let label = if label.is_empty() { "Tokens of a response".to_string() } else { label };
    view! {
        <section class="strip" aria-label=label>
            {choice.then(|| view! { <QuantityChoice quantity /> })}
            {stack.then(|| view! { <Stack step order here row quantity scale /> })}
            <Legend quantity scale />
            <Tokens step config quantity scale here column row order />
            {move || {
                let (step, config) = (step.get(), config.get());
                let (i, k) = (here.get(), column.get());
                let token = step.responses.get(i).and_then(|response| response.pieces.get(k));
                let token = token.map(|piece| piece.text.clone());
                token.map(|token| {
                    let frame = StepSums { grids: &step.grids, config: &config };
                    let of = step.responses[i].pieces.len();
                    let sum = frame.sum(quantity.get(), i, k);
                    view! { <SumView token place=(k, of) quantity=quantity.get() sum /> }
                })
            }}
        </section>
    }
}

/// The batch's rows, highest score first.
pub fn by_score(step: &Step) -> Vec<usize> {
    let score = |i: usize| step.rewards.get(i).copied().unwrap_or(f32::NEG_INFINITY);
    rising((0..step.responses.len()).map(|i| f64::from(-score(i))))
}

/// One radio button for each quantity.
#[component]
fn QuantityChoice(quantity: RwSignal<Quantity>) -> impl IntoView {
    let name = fresh_id("quantity");
    let choices = Quantity::ALL.map(|choice| {
        view! {
            <label class=format!("choice {}", choice.meaning().class())>
                <input
                    type="radio"
                    name=name.clone()
                    prop:checked=move || quantity.get() == choice
                    on:change=move |_| quantity.set(choice)
                />
                <span>{choice.name()}</span>
            </label>
        }
    });
    view! {
        <fieldset class="choices">
            <legend>"Show under each token"</legend>
            {choices.into_iter().collect_view()}
        </fieldset>
    }
}

/// All rows of the batch, small.
#[component]
fn Stack(
    step: Signal<Arc<Step>>,
    order: Memo<Vec<usize>>,
    here: Memo<usize>,
    row: RwSignal<usize>,
    quantity: RwSignal<Quantity>,
    scale: Memo<Scale>,
) -> impl IntoView {
    let place = move || order.read().iter().position(|i| *i == here.get()).unwrap_or(0);
    let keys = move |event| {
        let len = order.read_untracked().len();
        if let Some(next) = follow(&event, untrack(place), len, Direction::Down)
            && let Some(i) = order.read_untracked().get(next).copied()
        {
            row.set(i);
        }
    };
    let rows = move || {
        let step = step.get();
        let cols = step.grids.mask.cols.max(1);
        let item = |(place, i): (usize, usize)| {
            let response = step.responses[i].clone();
            let len = response.pieces.len();
            let score = step.rewards.get(i).map_or(format::NONE.into(), |score| format::signed(f64::from(*score), 2));
            let shades = step.clone();
            let strip = move || {
                let grid = quantity.get().of(&shades.grids);
                let row = if i < grid.rows { grid.row(i) } else { &[] };
                paths(&row[..len.min(row.len())], &scale.get())
                    .into_iter()
                    .map(|(class, d)| view! { <path class=class d=d /> })
                    .collect_view()
            };
            view! {
                <li
                    role="option"
                    class="stack-row"
                    data-item=place.to_string()
                    tabindex=move || tab_index(here.get() == i)
                    aria-selected=move || (here.get() == i).to_string()
                    on:click=move |_| row.set(i)
                >
                    <span class="stack-score m-reward">{score}</span>
                    <span class="stack-text">{format::or_empty(&response.text)}</span>
                    <svg class="mini" viewBox=format!("0 0 {cols} 1") preserveAspectRatio="none" aria-hidden="true">
                        {strip}
                    </svg>
                </li>
            }
        };
        order.get().into_iter().enumerate().map(item).collect_view()
    };
    view! {
        <ul class="stack" role="listbox" aria-label="Responses of the batch, highest score first" on:keydown=keys>
            {rows}
        </ul>
    }
}

/// The colours and their numbers.
#[component]
fn Legend(quantity: RwSignal<Quantity>, scale: Memo<Scale>) -> impl IntoView {
    let swatches = move || {
        let scale = scale.get();
        scale
            .levels()
            .map(|level| view! { <span class=format!("swatch {}", scale.class(level))></span> })
            .collect_view()
    };
    let end = move |high: bool| {
        let scale = scale.get();
        let (low, top) = scale.ends();
        let x = f64::from(if high { top } else { low });
        if scale.centre == 0.0 { format::signed(x, 2) } else { format::fixed(x, 2) }
    };
    view! {
        <p class="strip-legend">
            <span class="strip-says">{move || quantity.get().says()}</span>
            <span class="strip-scale">
                <span class="num">{move || end(false)}</span>
                <span class="swatches" aria-hidden="true">{swatches}</span>
                <span class="num">{move || end(true)}</span>
            </span>
        </p>
    }
}

/// The chosen row, large.
#[component]
#[allow(clippy::too_many_arguments)] // what the strip shares with its parts
fn Tokens(
    step: Signal<Arc<Step>>,
    config: Signal<Arc<PpoConfig>>,
    quantity: RwSignal<Quantity>,
    scale: Memo<Scale>,
    here: Memo<usize>,
    column: RwSignal<usize>,
    row: RwSignal<usize>,
    order: Memo<Vec<usize>>,
) -> impl IntoView {
    let len = move || step.read().responses.get(here.get()).map_or(0, |response| response.pieces.len());
    // The new row may be shorter.
    Effect::new(move |_| {
        let len = len();
        if len > 0 && column.get_untracked() >= len {
            column.set(len - 1);
        }
    });
    let keys = move |event: leptos::ev::KeyboardEvent| {
        if let Some(next) = follow(&event, column.get_untracked(), untrack(len), Direction::Across) {
            column.set(next);
            return;
        }
        let on = match event.key().as_str() {
            "ArrowUp" => false,
            "ArrowDown" => true,
            _ => return,
        };
        event.prevent_default();
        let order = order.read_untracked();
        let place = order.iter().position(|i| *i == here.get_untracked()).unwrap_or(0);
        let next = if on { place + 1 } else { place.wrapping_sub(1) };
        if let Some(i) = order.get(next) {
            row.set(*i);
        }
    };
    // As many cells as the longest row has, so that a change of row or step keeps the elements and the focus.
    let cols = memo(move || step.read().responses.iter().map(|row| row.pieces.len()).max().unwrap_or(0));
    let cells =
        move || (0..cols.get()).map(|k| view! { <Cell step config quantity scale here column k /> }).collect_view();
    let label = move || {
        let score = step.read().rewards.get(here.get()).map_or(String::new(), |x| format::signed(f64::from(*x), 2));
        format!("Tokens of the response with score {score}: {}", quantity.get().name())
    };
    view! {
        <div class="cells" role="listbox" aria-orientation="horizontal" aria-label=label on:keydown=keys>
            {cells}
        </div>
    }
}

/// One token.
#[component]
fn Cell(
    step: Signal<Arc<Step>>,
    config: Signal<Arc<PpoConfig>>,
    quantity: RwSignal<Quantity>,
    scale: Memo<Scale>,
    here: Memo<usize>,
    column: RwSignal<usize>,
    k: usize,
) -> impl IntoView {
    let text = memo(move || {
        let step = step.read();
        step.responses.get(here.get()).and_then(|response| response.pieces.get(k)).map(|piece| piece.text.clone())
    });
    let number = memo(move || {
        let step = step.read();
        let grid = quantity.get().of(&step.grids);
        let inside = here.get() < grid.rows && k < grid.cols;
        if inside { grid.row(here.get())[k] } else { f32::NAN }
    });
    let state = memo(move || {
        let (step, config) = (step.read(), config.read());
        let frame = StepSums { grids: &step.grids, config: &config };
        (frame.trained(here.get(), k), frame.clipped(here.get(), k))
    });
    let class = move || {
        let (trained, clipped) = state.get();
        let text = text.get().unwrap_or_default();
        let scale = scale.get();
        let mut class = format!("cell {}", scale.class(if trained { scale.level(number.get()) } else { 0 }));
        for (is, name) in [(clipped, " is-clipped"), (!trained, " is-untrained"), (text.starts_with(' '), " is-word")] {
            class.push_str(if is { name } else { "" });
        }
        class
    };
    let hidden = move || match state.get() {
        (_, true) => ", clipped",
        (false, _) => ", not trained",
        _ => "",
    };
    view! {
        <button
            type="button"
            role="option"
            class=class
            hidden=move || text.read().is_none()
            data-item=k.to_string()
            tabindex=move || tab_index(column.get() == k)
            aria-selected=move || (column.get() == k).to_string()
            on:click=move |_| column.set(k)
            on:focus=move |_| column.set(k)
            on:pointermove=move |event| {
                if moved(&event) {
                    column.set(k);
                }
            }
        >
            <span class="cell-token">{move || text.get().map(|text| shown(&text))}</span>
            <span class="cell-number">{move || format::fixed(f64::from(number.get()), 2)}</span>
            <span class="sr-only">{hidden}</span>
        </button>
    }
}
