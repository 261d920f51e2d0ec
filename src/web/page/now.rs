//! What the run does now, beside the text on a wide page and in the diagram's sheet on a narrow one: the summary that was
//! written last with its score, and the curves of score and KL.

use super::browser::later;
use super::chapters::Source;
use super::content::content;
use super::engine::state;
use super::parts::chart::{LineChart, Series};
use super::parts::format;
use super::parts::meaning::Meaning;
use super::parts::memo::memo;
use crate::protocol::{Stage, Statistics};
use leptos::prelude::*;

/// A response of the step that runs or was shown last, and its score: of the row that is chosen.
#[component]
pub fn Now() -> impl IntoView {
    let s = state();
    let shown = content();
    let text = memo(move || {
        let row = s.row.get();
        shown.stages.with(|stages| {
            stages.iter().find_map(|stage| match &**stage {
                Stage::Responses { rows } => rows.get(row).or(rows.first()).map(|response| response.text.clone()),
                _ => None,
            })
        })
    });
    let score = memo(move || {
        let row = s.row.get();
        shown.stages.with(|stages| {
            stages.iter().find_map(|stage| match &**stage {
                Stage::Scores { rows } => rows.get(row).or(rows.first()).map(|scored| f64::from(scored.score)),
                _ => None,
            })
        })
    });
    let metrics = later(shown.metrics);
    let curve = move |number: fn(&Statistics) -> f64, name: &'static str, meaning: Meaning| {
        memo(move || vec![Series::of(&metrics.get(), number, name, meaning)])
    };
    // Recorded curves go on after the step whose summary is shown.
    let at = RwSignal::new(None::<f64>);
    Effect::new(move |_| at.set((!shown.live.get()).then(|| shown.step.with(|step| step.step as f64))));
    view! {
        <section class="now" aria-label="The run now">
            <p class="caption">
                <Source live=shown.live />
                <span class="num">{move || format!(" Step {}, one of its summaries ", shown.step.with(|step| step.step))}</span>
                <b class="num m-reward">{move || score.get().map(|score| format!("score {}", format::signed(score, 2)))}</b>
            </p>
            <p class="said">{move || text.get().map(|text| format::or_empty(&text))}</p>
            <div class="now-charts">
                <LineChart title="Score" series=curve(|s| s.score, "mean score", Meaning::Reward) at=at />
                <LineChart title="KL" series=curve(|s| s.kl, "KL", Meaning::Reference) at=at />
            </div>
        </section>
    }
}
