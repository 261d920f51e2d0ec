//! Chapter 2.3: how toxic the summaries are before training: mean, standard deviation, histogram, the most toxic ones.

use super::common::{
    ChapterFrame, DialogueCount, Formula, Pending, Point, Source, Symbol, Symbols, Try, tick, when_some,
};
use crate::protocol::{Adapter, Ask, EvaluatedRow, Toxicity as Measured};
use crate::web::page::address::Chapter;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::compare_numbers::ToxicityNumbers;
use crate::web::page::parts::format;
use crate::web::page::parts::histogram::Histogram;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::order::rising;
use leptos::prelude::*;

/// How many of the most toxic summaries are listed.
const WORST: usize = 5;

#[component]
pub fn Toxicity() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let toxicity = memo(move || shown.toxicity.with(|e| e.as_ref().map(|e| e.numbers.before.toxicity.clone())));
    let live = Signal::derive(move || s.toxicity.with(Option::is_some));
    let of = move |f: fn(&Measured) -> String| {
        Signal::derive(move || toxicity.with(|t| t.as_ref().map_or_else(|| format::NONE.into(), f)))
    };
    view! {
        <ChapterFrame
            chapter=Chapter::Toxicity
            lead="Before training we measure: how hateful are the summaries of dialogues that training never uses?"
        >
            <p>
                "For each of n dialogues the policy writes one summary, and the " <Point stage=5 meaning=Meaning::Reward>"reward model"</Point>
                " gives the probability of \"hate\". That probability is the summary's toxicity. One summary says little, because another seed "
                "gives another summary. So we look at the mean and the standard deviation over many."
            </p>
            <Formula
                label="Mean and standard deviation of the toxicity"
                math="<math display='block'>\
                    <mi>μ</mi><mo>=</mo><mfrac><mn>1</mn><mi>n</mi></mfrac>\
                    <munder><mo>∑</mo><mi>i</mi></munder>\
                    <msub><mi>p</mi><mi>i</mi></msub>\
                    <mspace width='2em'></mspace>\
                    <mi>σ</mi><mo>=</mo>\
                    <msqrt>\
                    <mfrac><mn>1</mn><mi>n</mi></mfrac>\
                    <munder><mo>∑</mo><mi>i</mi></munder>\
                    <msup>\
                    <mrow><mo stretchy='false'>(</mo><msub><mi>p</mi><mi>i</mi></msub><mo>−</mo><mi>μ</mi><mo stretchy='false'>)</mo></mrow>\
                    <mn>2</mn>\
                    </msup>\
                    </msqrt>\
                    </math>"
            />
            <Symbols>
                <Symbol is="p" sub="i" stage=5 meaning=Meaning::Reward>"P(hate) of summary i, from 0 to 1"</Symbol>
                <Symbol is="n" now=of(|t| t.spread.n.to_string())>"dialogues"</Symbol>
                <Symbol is="μ" now=of(|t| format::probability(t.spread.mean))>"mean"</Symbol>
                <Symbol is="σ" now=of(|t| format::probability(t.spread.std))>"standard deviation"</Symbol>
            </Symbols>
            <p class="caption"><Source live=live />
                {move || if live.get() { " Your own measurement" } else { " Policy before training, on held-out dialogues" }}</p>
            {when_some(move || toxicity.get(), |toxicity| {
                view! {
                    <ToxicityNumbers toxicity=toxicity />
                    <Histogram title="Summaries by toxicity" before=Signal::derive(move || toxicity.get().all) />
                }
                .into_any()
            })}
            <h3>"The most toxic summaries, the most toxic first"</h3>
            <Worst />
            <Measure />
        </ChapterFrame>
    }
}

/// The most toxic summaries.
#[component]
fn Worst() -> impl IntoView {
    let shown = content();
    let item = |row: EvaluatedRow| {
        view! {
            <li>
                <p class="said">{row.before}</p>
                <p class="note num">
                    {format!("P(hate) {} · score {} · {}", format::probability(row.toxicity_before.into()), format::signed(row.score_before.into(), 2), row.id)}
                </p>
            </li>
        }
    };
    let rows = move || shown.toxicity.with(|e| e.as_ref().map(|e| worst(&e.rows))).unwrap_or_default();
    view! { <ol class="worst">{move || rows().into_iter().map(item).collect_view()}</ol> }
}

fn worst(rows: &[EvaluatedRow]) -> Vec<EvaluatedRow> {
    let places = rising(rows.iter().map(|row| f64::from(-row.toxicity_before)));
    places.into_iter().take(WORST).map(|i| rows[i].clone()).collect()
}

#[component]
fn Measure() -> impl IntoView {
    let e = engine();
    let n = RwSignal::new(20_usize);
    let off = RwSignal::new(false);
    let measure = move |_| {
        let adapter = if off.get_untracked() { Adapter::Off } else { Adapter::Policy };
        let seed = e.state.draft.with_untracked(|d| d.seed);
        let ask = Ask::Evaluate { n: n.get_untracked(), seed, greedy: false, before: adapter, after: adapter };
        e.ask_live(ask, None, |_| {});
    };
    let kind = |ask: &Ask| matches!(ask, Ask::Evaluate { before, after, .. } if before == after);
    view! {
        <Try title="Measure it yourself">
            <p>"With few dialogues the mean varies a lot from seed to seed; with many it varies little. Try 5, then 50."</p>
            <p class="row">
                <DialogueCount n=n />
                {tick("without the adapter", off)}
                <button type="button" class="primary" on:click=measure>"Measure"</button>
            </p>
            <Pending kind=kind />
        </Try>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_come_first() {
        let row = |toxicity_before: f32| EvaluatedRow { toxicity_before, ..EvaluatedRow::default() };
        let rows: Vec<EvaluatedRow> = [0.1, 0.9, 0.5, 0.2, 0.3, 0.4, 0.8].map(row).into();
        let worst: Vec<f32> = worst(&rows).iter().map(|r| r.toxicity_before).collect();
        assert_eq!(worst, [0.9, 0.8, 0.5, 0.4, 0.3]);
    }
}
