//! A metric over the steps: a line chart that can be read by pointer, touch or arrow keys, and the same values as a table.
//!
//! Not drawn with leptos-chartistry 0.2.3, because it writes `style` attributes (which a strict Content-Security-Policy
//! refuses) and cannot be used by keyboard or screen reader.

use super::axis::Axis;
use super::format;
use super::meaning::Meaning;
use super::order::rising;
use crate::protocol::Statistics;
use crate::web::page::parts::memo::memo;
use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::Div;
use leptos::prelude::*;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: String,
    pub meaning: Meaning,
    /// (step, number), in the order of steps.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// One statistic over the steps of a run, without those where it is not finite.
    pub fn of(steps: &[Statistics], number: fn(&Statistics) -> f64, name: impl Into<String>, meaning: Meaning) -> Self {
        let points = steps.iter().map(|step| (step.step as f64, number(step)));
        Self { name: name.into(), meaning, points: points.filter(|point| point.1.is_finite()).collect() }
    }

    fn at(&self, x: f64) -> Option<f64> {
        self.points.iter().find(|point| point.0 == x).map(|point| point.1)
    }
}

/// All steps of several series, in order.
fn steps(series: &[Series]) -> Vec<f64> {
    let all: Vec<f64> = series.iter().flat_map(|one| one.points.iter().map(|point| point.0)).collect();
    let mut steps: Vec<f64> = rising(all.iter().copied()).into_iter().map(|i| all[i]).collect();
    steps.dedup();
    steps
}

/// The entry of `steps` nearest to `x`.
fn nearest(steps: &[f64], x: f64) -> Option<f64> {
    steps.iter().copied().min_by(|a, b| (a - x).abs().total_cmp(&(b - x).abs()))
}

/// Lines over the steps.
#[component]
pub fn LineChart(
    #[prop(into)] title: String,
    #[prop(into)] series: Signal<Vec<Series>>,
    #[prop(optional, into)] unit: String,
    /// The step whose values are shown; charts that share it move together.
    #[prop(optional)]
    at: Option<RwSignal<Option<f64>>>,
) -> impl IntoView {
    let at = at.unwrap_or_else(|| RwSignal::new(None));
    let plot = NodeRef::<Div>::new();
    let all = memo(move || steps(&series.read()));
    let empty = move || all.read().is_empty();
    let across = memo(move || {
        let all = all.read();
        Axis::whole(all.first().copied().unwrap_or(0.0), all.last().copied().unwrap_or(1.0), 4)
    });
    let up = memo(move || {
        let series = series.read();
        Axis::around(series.iter().flat_map(|one| one.points.iter().map(|point| point.1)), 5)
    });
    // the chosen step, otherwise the newest
    let here = memo(move || at.get().and_then(|x| nearest(&all.read(), x)).or_else(|| all.read().last().copied()));
    let point = move |event: PointerEvent| {
        if let Some(rect) = plot.get_untracked().map(|plot| plot.get_bounding_client_rect()) {
            let part = (f64::from(event.client_x()) - rect.left()) / rect.width().max(1.0);
            let axis = across.get_untracked();
            at.set(nearest(&all.read_untracked(), axis.low + part.clamp(0.0, 1.0) * (axis.high - axis.low)));
        }
    };
    let keys = move |event: KeyboardEvent| {
        let all = all.get_untracked();
        let now = here.get_untracked().and_then(|x| all.iter().position(|step| *step == x)).unwrap_or(0);
        if event.key() == "Escape" {
            at.set(None);
        } else if let Some(next) = super::keys::target(&event.key(), now, all.len(), super::keys::Direction::Across) {
            event.prevent_default();
            at.set(all.get(next).copied());
        }
    };
    let spoken = move || {
        let read = |one: &Series, x: f64| one.at(x).map(|y| format!("{} {}", one.name, format::number(y, 4)));
        let x = here.get()?;
        let values: Vec<String> = series.read().iter().filter_map(|one| read(one, x)).collect();
        Some(format!("step {x}: {}", values.join(", ")))
    };
    let end = move |first: bool| {
        let all = all.read();
        if first { all.first().copied() } else { all.last().copied() }.map(|x| x.to_string())
    };
    view! {
        <figure class="chart">
            <figcaption class="chart-head">
                <span class="chart-title">{title.clone()} " " <span class="chart-unit">{unit}</span></span>
                <span class="chart-read num">
                    {move || here.get().map(|x| view! { <span class="chart-step">"step " {x}</span> })}
                    {move || reading(&series.read(), here.get())}
                </span>
            </figcaption>
            <div class="chart-body">
                <div class="chart-up num" aria-hidden="true">{move || ticks(&up.read(), true)}</div>
                <div
                    class="chart-plot"
                    node_ref=plot
                    role=move || if empty() { "img" } else { "slider" }
                    tabindex=move || (!empty()).then_some("0")
                    aria-label=format!("{title}, by step")
                    aria-valuemin=move || end(true)
                    aria-valuemax=move || end(false)
                    aria-valuenow=move || here.get().map(|x| x.to_string())
                    aria-valuetext=spoken
                    on:pointermove=point
                    on:pointerdown=point
                    on:pointerleave=move |_| at.set(None)
                    on:keydown=keys
                >
                    <svg class="chart-lines" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
                        {move || grid_lines(&up.read())}
                        {move || lines(&series.read(), &across.read(), &up.read())}
                    </svg>
                    {move || dots(&series.read(), here.get(), &across.read(), &up.read())}
                    {move || empty().then(|| view! { <p class="chart-empty">"No step yet"</p> })}
                </div>
                <div class="chart-across num" aria-hidden="true">{move || ticks(&across.read(), false)}</div>
            </div>
        </figure>
    }
}

fn percent(place: f64) -> String {
    format!("{:.3}%", 100.0 * place)
}

/// The ticks' texts, above each other or side by side.
pub fn ticks(axis: &Axis, up: bool) -> impl IntoView + use<> {
    let tick = |(x, text): &(f64, String)| {
        let place = Some(percent(axis.place(*x)));
        let (bottom, left) = if up { (place, None) } else { (None, place) };
        view! { <span style:bottom=bottom style:left=left>{text.clone()}</span> }
    };
    axis.ticks.iter().map(tick).collect_view()
}

fn grid_lines(axis: &Axis) -> impl IntoView + use<> {
    let line = |(y, _): &(f64, String)| {
        let y = 100.0 * (1.0 - axis.place(*y));
        view! { <line class="grid-line" x1="0" x2="100" y1=y y2=y /> }
    };
    axis.ticks.iter().map(line).collect_view()
}

/// All lines but the first are dashed, so that they differ not only by colour.
fn lines(series: &[Series], across: &Axis, up: &Axis) -> impl IntoView + use<> {
    let line = |(i, one): (usize, &Series)| {
        let point =
            |(x, y): &(f64, f64)| format!("{:.3},{:.3}", 100.0 * across.place(*x), 100.0 * (1.0 - up.place(*y)));
        let points: Vec<String> = one.points.iter().map(point).collect();
        let class = format!("line {}{}", one.meaning.class(), if i > 0 { " is-dashed" } else { "" });
        view! { <polyline class=class points=points.join(" ") /> }
    };
    series.iter().enumerate().map(line).collect_view()
}

fn dots(series: &[Series], here: Option<f64>, across: &Axis, up: &Axis) -> impl IntoView + use<> {
    let here = here?;
    let left = percent(across.place(here));
    let dot = |one: &Series| {
        let bottom = percent(up.place(one.at(here)?));
        let class = format!("dot {}", one.meaning.class());
        Some(view! { <span class=class style:left=left.clone() style:bottom=bottom></span> })
    };
    let dots = series.iter().filter_map(dot).collect_view();
    Some(view! { <span class="cursor" style:left=left.clone()></span> {dots} })
}

fn reading(series: &[Series], here: Option<f64>) -> impl IntoView + use<> {
    let several = series.len() > 1;
    let one = |(i, one): (usize, &Series)| {
        let value = here.and_then(|x| one.at(x)).map_or_else(|| format::NONE.to_string(), |y| format::number(y, 4));
        let sample = if i > 0 { "sample is-dashed" } else { "sample" };
        let name = several.then(|| view! { <span class=sample aria-hidden="true"></span> {one.name.clone()} " " });
        view! { <span class=format!("chart-value {}", one.meaning.class())>{name} <strong>{value}</strong></span> }
    };
    series.iter().enumerate().map(one).collect_view()
}

/// The same values as a table, newest step first.
#[component]
pub fn ChartTable(#[prop(into)] title: String, #[prop(into)] series: Signal<Vec<Series>>) -> impl IntoView {
    let heads = move || {
        let head = |one: &Series| view! { <th scope="col" class=one.meaning.class()>{one.name.clone()}</th> };
        series.read().iter().map(head).collect_view()
    };
    let rows = move || {
        let series = series.read();
        let row = |x: &f64| {
            let cell = |one: &Series| {
                let value = one.at(*x).map_or_else(|| format::NONE.to_string(), |y| format::number(y, 5));
                view! { <td class="num">{value}</td> }
            };
            view! { <tr><th scope="row" class="num">{*x}</th> {series.iter().map(cell).collect_view()}</tr> }
        };
        steps(&series).iter().rev().map(row).collect_view()
    };
    let label = format!("{title}, as a table");
    let caption = label.clone();
    view! {
        <div class="scroller chart-table" role="region" tabindex="0" aria-label=label>
            <table>
                <caption class="sr-only">{caption}</caption>
                <thead><tr><th scope="col">"step"</th> {heads}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statistic_becomes_a_line_without_its_gaps() {
        let line = |step, kl| Statistics { step, kl, ..Statistics::default() };
        let lines = [line(1, 0.5), line(2, f64::NAN), line(3, 0.75)];
        let series = Series::of(&lines, |s| s.kl, "KL", Meaning::Policy);
        assert_eq!(series.points, [(1.0, 0.5), (3.0, 0.75)]);
        assert_eq!((series.at(3.0), series.at(2.0)), (Some(0.75), None));
    }

    #[test]
    fn the_nearest_step_is_read() {
        let series =
            |points: &[(f64, f64)]| Series { name: "x".into(), meaning: Meaning::Plain, points: points.to_vec() };
        let all = steps(&[series(&[(1.0, 0.0), (2.0, 0.0)]), series(&[(2.0, 0.0), (5.0, 0.0)])]);
        assert_eq!(all, [1.0, 2.0, 5.0]);
        assert_eq!((nearest(&all, 3.0), nearest(&all, 9.0), nearest(&[], 1.0)), (Some(2.0), Some(5.0), None));
    }
}
