//! Chapter 3.3: before and after in numbers: paired differences with intervals, and what they allow one to say.

use super::common::{
    ChapterFrame, DialogueCount, Formula, GREEDY, Pending, Source, Symbol, Symbols, Try, tick, when_some,
};
use crate::protocol::{Adapter, Ask, Difference, Evaluation, Verdict};
use crate::web::page::address::Chapter;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::compare_numbers::CompareNumbers;
use crate::web::page::parts::format;
use crate::web::page::parts::histogram::Histogram;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use std::sync::Arc;

#[component]
pub fn Numbers() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let numbers = memo(move || shown.evaluated.with(|e| e.as_ref().map(|e| Arc::new(e.numbers.clone()))));
    let live = Signal::derive(move || s.evaluated.with(Option::is_some));
    let of = move |f: fn(&Evaluation) -> String| {
        Signal::derive(move || numbers.with(|n| n.as_ref().map_or_else(|| format::NONE.into(), |n| f(n))))
    };
    view! {
        <ChapterFrame
            chapter=Chapter::Numbers
            lead="Did it help? Two policies, the same dialogues, the same random numbers. Is the difference more than chance?"
        >
            <p>
                "Both policies summarise each held-out dialogue with the same random numbers. So each dialogue gives a pair, and we look at "
                "the difference within each pair. Resampling the pairs with replacement many times (the bootstrap) shows how much the "
                "mean difference varies by chance: the middle 95 % is the interval. If it contains 0, the difference may be noise."
            </p>
            <Formula
                label="The mean paired difference with its bootstrap interval"
                math="<math display='block'>\
                    <mover><mi>d</mi><mo>¯</mo></mover><mo>=</mo>\
                    <mfrac><mn>1</mn><mi>n</mi></mfrac>\
                    <munder><mo>∑</mo><mi>i</mi></munder>\
                    <mo stretchy='false'>(</mo><msubsup><mi>p</mi><mi>i</mi><mtext>after</mtext></msubsup><mo>−</mo>\
                    <msubsup><mi>p</mi><mi>i</mi><mtext>before</mtext></msubsup><mo stretchy='false'>)</mo>\
                    </math>"
            />
            <Symbols>
                <Symbol is="n" now=of(|e| e.n.to_string())>"pairs"</Symbol>
                <Symbol is="p" sub="i" stage=5 meaning=Meaning::Reward>"toxicity of a summary of dialogue i"</Symbol>
                <Symbol is="d̄" now=of(|e| difference(&e.toxicity_difference))>"mean difference and its 95 % interval"</Symbol>
                <Symbol is="KL" meaning=Meaning::Reference now=of(|e| format::number(e.kl, 3))>"nats per response: how far the policy has moved"</Symbol>
            </Symbols>
            <p class="finding">{move || numbers.with(|n| n.as_ref().map(|n| verdict(n)))}</p>
            <p class="caption"><Source live=live /> {move || numbers.with(|n| n.as_ref().map(|n| format!(" {} dialogues, seed {}", n.n, n.options.seed)))}</p>
            {when_some(move || numbers.get(), |numbers| {
                let before = Signal::derive(move || numbers.with(|n| n.before.toxicity.all.clone()));
                let after = Signal::derive(move || Some(numbers.with(|n| n.after.toxicity.all.clone())));
                view! {
                    <CompareNumbers numbers=numbers />
                    <Histogram title="Summaries by toxicity, before and after" before=before after=after />
                }
                .into_any()
            })}
            <p>
                "Less toxic is not always better: a policy that always says the same polite sentence is not toxic at all. ROUGE compares "
                "with the human summary, and distinct words show whether the policy repeats itself. Toxicity is measured by the reward "
                "model that PPO trained against, and this is one run with one seed."
            </p>
            <Compare />
        </ChapterFrame>
    }
}

/// A difference with its interval.
fn difference(d: &Difference) -> String {
    format!("{} [{}, {}]", format::signed(d.mean, 4), format::signed(d.low, 4), format::signed(d.high, 4))
}

/// What the numbers allow one to say about the toxicity.
fn verdict(numbers: &Evaluation) -> String {
    let [before, after] = [&numbers.before, &numbers.after].map(|side| format::fixed(side.toxicity.spread.mean, 3));
    match numbers.toxicity_difference.verdict {
        Verdict::Lower => format!("Toxicity fell from {before} to {after}, beyond noise."),
        Verdict::Higher => format!("Toxicity rose from {before} to {after}, beyond noise."),
        Verdict::NoDifference => "No difference beyond noise.".into(),
        Verdict::TooFewPairs => "Too few pairs to tell a difference from noise.".into(),
    }
}

/// Evaluates the live run.
#[component]
pub fn Compare() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let n = RwSignal::new(20_usize);
    let greedy = RwSignal::new(false);
    let untrained = move || s.run.with(|r| r.as_ref().is_none_or(|r| r.step == 0));
    let compare = move |_| {
        let ask = Ask::Evaluate {
            n: n.get_untracked(),
            seed: s.draft.with_untracked(|d| d.seed),
            greedy: greedy.get_untracked(),
            before: Adapter::Initial,
            after: Adapter::Policy,
        };
        e.ask_live(ask, None, |_| {});
    };
    view! {
        <Try title="Compare your own run">
            {move || untrained().then(|| view! { <p class="note">"No step has been trained here yet, so before and after would be the same. Run some steps first"</p> })}
            <p class="row">
                <DialogueCount n=n />
                {tick(GREEDY, greedy)}
                <button type="button" class="primary" disabled=untrained on:click=compare>"Compare"</button>
            </p>
            <Pending kind=|ask: &Ask| matches!(ask, Ask::Evaluate { before, after, .. } if before != after) />
        </Try>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_written_with_signs() {
        let d = Difference { n: 20, mean: -0.12, low: -0.2, high: 0.05, verdict: Verdict::NoDifference };
        assert_eq!(difference(&d), "−0.1200 [−0.2000, +0.0500]");
    }
}
