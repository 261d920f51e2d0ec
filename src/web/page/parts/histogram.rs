//! Histogram of probabilities, before and after: outlined and filled bars side by side, and the counts as a table.

use super::axis::Axis;
use super::chart::ticks;
use super::format;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

/// Bars from 0 to 1.
const BINS: usize = 10;

/// The number of `values`, each in 0..=1, in each tenth; 1 counts for the last.
fn counts(values: &[f64]) -> [usize; BINS] {
    let mut counts = [0; BINS];
    for value in values.iter().filter(|value| value.is_finite()) {
        counts[((value.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// The histogram of `before`, and of `after` if there is one.
#[component]
pub fn Histogram(
    #[prop(into)] title: String,
    #[prop(into)] before: Signal<Vec<f64>>,
    #[prop(optional, into)] after: Option<Signal<Option<Vec<f64>>>>,
) -> impl IntoView {
    let both = memo(move || (counts(&before.read()), after.and_then(|after| after.get()).map(|after| counts(&after))));
    let up = memo(move || {
        let (before, after) = both.get();
        let highest = before.iter().chain(after.iter().flatten()).copied().max().unwrap_or(0);
        Axis::around([0.0, highest.max(3) as f64].into_iter(), 3)
    });
    let bars = move || {
        let (before, after) = both.get();
        let up = up.get();
        let bar = |class: &'static str, counts: [usize; BINS], offset: f64, width: f64| {
            let rect = |(i, n): (usize, usize)| {
                let height = 100.0 * up.place(n as f64);
                let x = 100.0 * i as f64 / BINS as f64 + offset;
                view! { <rect class=class x=x y=100.0 - height width=width height=height /> }
            };
            counts.into_iter().enumerate().filter(|(_, n)| *n > 0).map(rect).collect_view()
        };
        match after {
            Some(after) => {
                view! { {bar("bar-before", before, 1.0, 3.8)} {bar("bar-after", after, 5.2, 3.8)} }.into_any()
            }
            None => bar("bar-after", before, 1.0, 8.0).into_any(),
        }
    };
    let compared = move || both.read().1.is_some();
    let rows = move || {
        let (before, after) = both.get();
        let row = |i: usize| {
            let range = format!("{} to {}", format::fixed(i as f64 / 10.0, 1), format::fixed((i + 1) as f64 / 10.0, 1));
            let after = after.map(|after| view! { <td class="num">{after[i]}</td> });
            view! { <tr><th scope="row" class="num">{range}</th> <td class="num">{before[i]}</td> {after}</tr> }
        };
        (0..BINS).map(row).collect_view()
    };
    let summary = move || {
        let n = |counts: &[usize; BINS]| counts.iter().sum::<usize>();
        let upper = |counts: &[usize; BINS]| counts[BINS / 2..].iter().sum::<usize>();
        let (before, after) = both.get();
        let first = format!("{} of {} at 0.5 or above", upper(&before), n(&before));
        after.map_or(first.clone(), |after| format!("before: {first}; after: {} of {}", upper(&after), n(&after)))
    };
    let label = title.clone();
    view! {
        <figure class="chart histogram">
            <figcaption class="chart-head">
                <span class="chart-title">{title}</span>
                <span class="chart-read num">{summary}</span>
            </figcaption>
            {move || compared().then(|| view! {
                <p class="histogram-key" aria-hidden="true">
                    <span class="key-before"></span> "before " <span class="key-after"></span> "after"
                </p>
            })}
            <div class="chart-body">
                <div class="chart-up num" aria-hidden="true">{move || ticks(&up.get(), true)}</div>
                <div class="chart-plot" role="img" aria-label=move || format!("{label}: {}", summary())>
                    <svg class="chart-lines" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
                        {bars}
                    </svg>
                </div>
                <div class="chart-across num" aria-hidden="true">
                    <span style:left="0%">"0"</span>
                    <span style:left="50%">"0.5"</span>
                    <span style:left="100%">"1"</span>
                </div>
            </div>
            <details class="as-table">
                <summary>"As a table"</summary>
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"P(hate)"</th>
                            <th scope="col">{move || if compared() { "before" } else { "texts" }}</th>
                            {move || compared().then(|| view! { <th scope="col">"after"</th> })}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </details>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn every_probability_falls_into_one_bar() {
        let counts = counts(&[0.0, 0.05, 0.1, 0.999, 1.0, f64::NAN]);
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    }
}
