//! The numbers of one stage, for going through a step stage by stage. The diagram of all stages is in `machine`.

use super::format;
use super::grid_view::{GridView, Named};
use super::meaning::Meaning;
use super::stages::STAGES;
use super::table::scrolling_table;
use crate::protocol::{Grid, MiniBatchStats, Query, Response, Scored, Stage, Statistics};
use leptos::prelude::*;
use std::sync::Arc;

/// One stage. With the step's `responses` the grids show the tokens.
#[component]
pub fn StageView(
    #[prop(into)] stage: Signal<Arc<Stage>>,
    #[prop(optional, into)] responses: Option<Signal<Option<Arc<Vec<Response>>>>>,
) -> impl IntoView {
    let body = move || numbers(&stage.read(), responses.and_then(|responses| responses.get()));
    let info = move || STAGES[usize::from(stage.read().number()) - 1];
    view! {
        <section class="stage-view" aria-live="polite">
            <p class="stage-title">
                <span class="stage-number num">{move || info().number}</span>
                <span class=move || info().meaning.class()>{move || info().name}</span>
            </p>
            <p class="stage-does">{move || info().does}</p>
            {body}
        </section>
    }
}

fn numbers(stage: &Stage, responses: Option<Arc<Vec<Response>>>) -> AnyView {
    match stage {
        Stage::Queries { rows } => queries(rows),
        Stage::Responses { rows } => written(rows),
        Stage::Scores { rows, .. } => scores(rows, responses.as_deref()),
        Stage::Forward { mask, old_logprobs, ref_logprobs, old_values } => {
            let grids = vec![
                named("logprob", Meaning::Policy, old_logprobs, false),
                named("reference logprob", Meaning::Reference, ref_logprobs, false),
                named("value", Meaning::Value, old_values, true),
            ];
            view! { <GridView grids mask=Some(mask.clone()) responses /> }.into_any()
        }
        Stage::Rewards { kl, kl_coef, non_score, rewards, .. } => {
            let grids = vec![
                named("reward", Meaning::Reward, rewards, true),
                named("KL", Meaning::Plain, kl, true),
                named("KL penalty", Meaning::Reference, non_score, true),
            ];
            let coefficient = format::number(*kl_coef, 4);
            let mask = filled(rewards, responses.as_deref());
            view! {
                <p class="num">
                    "KL coefficient " {coefficient}
                    ": each token's reward is minus that many times its KL; the score is added at the last token"
                </p>
                <GridView grids mask responses />
            }
            .into_any()
        }
        Stage::Advantages { advantages, returns } => {
            let grids = vec![
                named("advantage", Meaning::Plain, advantages, true),
                named("return", Meaning::Value, returns, true),
            ];
            let mask = filled(advantages, responses.as_deref());
            view! { <GridView grids mask responses /> }.into_any()
        }
        Stage::MiniBatch { indices, advantages, ratio, stats } => {
            mini_batch(indices, advantages, ratio, stats, responses).into_any()
        }
        Stage::Optimizer { updates, grad_norm, learning_rate } => facts(vec![
            ("updates so far", format::count(*updates)),
            ("gradient norm", format::number(*grad_norm, 4)),
            ("learning rate", format::setting(*learning_rate)),
        ])
        .into_any(),
        Stage::Statistics(all) => statistics(all).into_any(),
    }
}

/// A mask of all tokens, for a stage that does not say which are trained.
fn filled(grid: &Grid, responses: Option<&Vec<Response>>) -> Option<Grid> {
    let responses = responses?;
    let mut mask = Grid::zeros(grid.rows, grid.cols);
    for (i, response) in responses.iter().enumerate().take(grid.rows) {
        let len = response.pieces.len().min(grid.cols);
        mask.row_mut(i)[..len].fill(1.0);
    }
    Some(mask)
}

fn named(name: &'static str, meaning: Meaning, grid: &Grid, diverging: bool) -> Named {
    Named { name, class: meaning.class(), grid: grid.clone(), centre: 0.0, diverging }
}

fn queries(rows: &[Query]) -> AnyView {
    let row = |query: &Query| {
        view! {
            <li class="stage-row">
                <p class="stage-row-head">
                    <span>{query.id.clone()}</span>
                    <span class="num">{query.tokens} " tokens"</span>
                </p>
                <p class="stage-text">{query.dialogue.clone()}</p>
            </li>
        }
    };
    list("Dialogues", rows.iter().map(row).collect_view().into_any())
}

fn written(rows: &[Response]) -> AnyView {
    let row = |response: &Response| {
        view! {
            <li class="stage-row">
                <p class="stage-text m-policy">{format::or_empty(&response.text)}</p>
                <p class="stage-row-head num">{response.pieces.len()} " tokens"</p>
            </li>
        }
    };
    list("Responses", rows.iter().map(row).collect_view().into_any())
}

fn list(label: &'static str, rows: AnyView) -> AnyView {
    view! { <ol class="scroller stage-rows" tabindex="0" aria-label=label>{rows}</ol> }.into_any()
}

fn scores(rows: &[Scored], responses: Option<&Vec<Response>>) -> AnyView {
    let row = |(i, scored): (usize, &Scored)| {
        let text = responses.and_then(|all| all.get(i)).map(|response| format::or_empty(&response.text));
        view! {
            <tr>
                <th scope="row" class="num">{i + 1}</th>
                <td class="num">{format::signed(f64::from(scored.logits.nothate), 4)}</td>
                <td class="num">{format::signed(f64::from(scored.logits.hate), 4)}</td>
                <td class="num">{format::probability(f64::from(scored.toxicity))}</td>
                <td class="num m-reward">{format::signed(f64::from(scored.score), 4)}</td>
                <td class="stage-scored">{text}</td>
            </tr>
        }
    };
    let rows = rows.iter().enumerate().map(row).collect_view();
    scrolling_table(
        "Scores",
        "stage-rows",
        &["row", "nothate logit", "hate logit", "P(hate)", "score", "response"],
        rows,
    )
}

fn mini_batch(
    indices: &[usize],
    advantages: &Grid,
    ratio: &Grid,
    stats: &MiniBatchStats,
    responses: Option<Arc<Vec<Response>>>,
) -> impl IntoView + use<> {
    let grids = vec![
        Named { centre: 1.0, ..named("ratio", Meaning::Policy, ratio, true) },
        named("whitened advantage", Meaning::Plain, advantages, true),
    ];
    let here: Option<Vec<Response>> =
        responses.as_ref().map(|all| indices.iter().filter_map(|i| all.get(*i).cloned()).collect());
    let mask = filled(ratio, here.as_ref());
    let whole = indices.iter().enumerate().all(|(i, row)| i == *row); // of a finished step
    let numbers: Vec<String> = indices.iter().map(|i| (i + 1).to_string()).collect();
    let rows = indices.to_vec();
    view! {
        {(!whole).then(|| view! { <p class="num">"Rows " {numbers.join(", ")} " of the batch"</p> })}
        {losses(stats)}
        <GridView grids mask responses rows />
    }
}

/// The losses and other statistics of a mini-batch.
fn losses(stats: &MiniBatchStats) -> impl IntoView + use<> {
    facts(vec![
        ("policy loss", format::signed(stats.policy_loss, 4)),
        ("value loss", format::signed(stats.value_loss, 4)),
        ("total loss", format::signed(stats.total_loss, 4)),
        ("clipped", format::percent(stats.clip_fraction, 1)),
        ("entropy, nats per token", format::fixed(stats.entropy, 3)),
        ("mean ratio", format::fixed(stats.ratio_mean, 4)),
    ])
}

fn statistics(all: &Statistics) -> impl IntoView + use<> {
    let row = |(key, number): (&'static str, f64)| {
        let number = format::number(number, 5);
        view! { <tr><th scope="row"><code>{key}</code></th> <td class="num">{number}</td></tr> }
    };
    let rows = all.numbers().filter(|(_, number)| number.is_finite()).map(row).collect_view();
    view! {
        <div class="scroller stage-rows" role="region" tabindex="0" aria-label="Statistics">
            <table><tbody>{rows}</tbody></table>
        </div>
    }
}

/// Names with their numbers.
fn facts(all: Vec<(&'static str, String)>) -> impl IntoView {
    let fact = |(name, number): (&'static str, String)| {
        view! { <div class="fact"><dt>{name}</dt> <dd class="num">{number}</dd></div> }
    };
    view! { <dl class="facts">{all.into_iter().map(fact).collect_view()}</dl> }
}
