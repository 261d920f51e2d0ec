//! Chapter 3.2: one PPO step in words, formulas and numbers; the charts of the run; the token strip. The single stages
//! and "what if" are in `ppo_stages`.

use super::common::{ChapterFrame, Formula, Point, Source, Symbol, Symbols, Try, tick};
use super::ppo_pictures::{ClipPicture, ProbabilityPicture, ValuePicture};
use super::ppo_stages::{Stages, WhatIfs};
use crate::protocol::{Statistics, Step};
use crate::settings::PpoConfig;
use crate::web::page::address::Chapter;
use crate::web::page::browser::later;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::chart::{ChartTable, LineChart, Series};
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::response_table;
use crate::web::page::parts::table::text_table;
use crate::web::page::parts::token_strip::TokenStrip;
use leptos::prelude::*;

#[component]
pub fn Ppo() -> impl IntoView {
    let e = engine();
    let shown = content();
    view! {
        <ChapterFrame
            chapter=Chapter::Ppo
            lead="Write a batch of summaries, score them, find out which tokens did better than expected, and make those a little more likely."
        >
            <PerToken />
            <Advantage />
            <Clipped />
            <Try title="Walk through a step">
                <p>
                    "\"Stage\" computes the next stage of the step and pauses; \"Step\" completes the step; \"Play\" runs one step after another. "
                    "The numbers of each stage appear below and in the diagram."
                </p>
                <p class="row">
                    <button type="button" class="primary" on:click=move |_| e.one_stage()>"One stage"</button>
                    <button type="button" on:click=move |_| e.one_step()>"One step"</button>
                    <button type="button" on:click=move |_| e.play()>"Play"</button>
                </p>
            </Try>
            <Stages />
            <Charts />
            <h3>"Every token of every response"</h3>
            <p class="caption">
                <Source live=shown.live /> {move || format!(" Step {}. Choose a quantity, then a response (sorted by score, the highest first); the arrow keys move along it.", shown.step.with(|s| s.step))}
                " " <RecordedSteps />
            </p>
            {move || {
                if shown.whole.get() {
                    view! { <TokenStrip step=later(shown.step) config=shown.config quantity=e.state.quantity row=e.state.row /> }.into_any()
                } else {
                    view! { <p class="note">"The tokens of this run are shown after its next step"</p> }.into_any()
                }
            }}
            <ResponseTable />
            <WhatIfs />
        </ChapterFrame>
    }
}

/// The chosen response as a table.
#[component]
fn ResponseTable() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let step = later(shown.step);
    let (open, words) = (RwSignal::new(false), RwSignal::new(false));
    let rows = memo(move || {
        let row = step.with(|step| s.row.get().min(step.responses.len().saturating_sub(1)));
        if open.get() { step.with(|step| response_table::rows(step, row, words.get())) } else { String::new() }
    });
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<web_sys::HtmlDetailsElement>(&event).open());
    view! {
        <details class="fold" on:toggle=toggle>
            <summary>"This response as a table"</summary>
            {tick("join the pieces to words", words)}
            <p class="caption">
                "Of a word: the sums of log-probs, KL and rewards; value and return of its first piece; the mean advantage; the product of the ratios. "
                "The score is part of the last reward."
            </p>
            {text_table("The response, token by token", "response-table", &response_table::HEADS, Signal::derive(move || rows.get()))}
        </details>
    }
}

/// The choice among the steps of the recorded run.
#[component]
fn RecordedSteps() -> impl IntoView {
    let s = engine().state;
    let shown = content();
    let numbers = memo(move || {
        s.recorded
            .with(|r| r.as_ref().map(|r| r.steps.iter().map(|step| step.step).collect::<Vec<_>>()))
            .unwrap_or_default()
    });
    let choice = move || {
        let option = |(i, n): (usize, u64)| {
            view! { <option value=i.to_string() prop:selected=move || s.recorded_step.get() == i>{format!("step {n}")}</option> }
        };
        view! {
            <label class="field inline">
                <span>"of the recorded run"</span>
                <select on:change=move |event| s.recorded_step.set(event_target_value(&event).parse().unwrap_or(0))>
                    {numbers.get().into_iter().enumerate().map(option).collect_view()}
                </select>
            </label>
        }
    };
    move || (!shown.live.get() && numbers.with(|n| n.len() > 1)).then(choice)
}

/// A setting of the run shown.
fn setting(f: fn(&PpoConfig) -> f64) -> Signal<String> {
    let shown = content();
    Signal::derive(
        move || if shown.any.get() { shown.config.with(|c| format::setting(f(c))) } else { format::NONE.into() },
    )
}

/// A number of the step shown.
fn of_step(f: fn(&Step) -> f64) -> Signal<String> {
    let shown = content();
    Signal::derive(
        move || if shown.any.get() { shown.step.with(|s| format::number(f(s), 4)) } else { format::NONE.into() },
    )
}

#[component]
fn PerToken() -> impl IntoView {
    view! {
        <h3>"Rewards, one per token"</h3>
        <p>
            "After " <Point stage=4 meaning=Meaning::Policy>"writing"</Point> " and " <Point stage=5 meaning=Meaning::Reward>"scoring"</Point>
            ", policy and reference each compute the log-probability of every token of the response. The difference of the two "
            <Point stage=6 meaning=Meaning::Reference>"logprobs"</Point> ", times β, is subtracted as a penalty. The score is added at the last "
            "token. In step 1 policy and reference are the same, so the KL and the penalty are 0."
        </p>
        <Formula
            label="The reward of token t: minus beta times log pi minus log pi ref, plus the score at the last token"
            math="<math display='block'>\
                <msub><mi class='m-reward'>r</mi><mi>t</mi></msub><mo>=</mo>\
                <mo>−</mo><mi>β</mi>\
                <mo stretchy='false'>(</mo>\
                <mi>log</mi><mspace width='.17em'/><msub><mi class='m-policy'>π</mi><mi>θ</mi></msub><mo stretchy='false'>(</mo><msub><mi>a</mi><mi>t</mi></msub><mo stretchy='false'>)</mo>\
                <mo>−</mo>\
                <mi>log</mi><mspace width='.17em'/><msub><mi class='m-reference'>π</mi><mtext>ref</mtext></msub><mo stretchy='false'>(</mo><msub><mi>a</mi><mi>t</mi></msub><mo stretchy='false'>)</mo>\
                <mo stretchy='false'>)</mo>\
                <mo>+</mo>\
                <mo stretchy='false'>[</mo><mi>t</mi><mo>=</mo><mtext>last</mtext><mo stretchy='false'>]</mo><mspace width='.17em'/>\
                <mtext class='m-reward'>score</mtext>\
                </math>"
        />
        <Symbols>
            <Symbol is="r" sub="t" stage=7 meaning=Meaning::Reward>"reward of token t"</Symbol>
            <Symbol is="β" stage=11 now=of_step(|s| s.statistics.kl_coef)>"KL coefficient in this step"</Symbol>
            <Symbol is="π" sub="θ" stage=6 meaning=Meaning::Policy>"policy that wrote the response"</Symbol>
            <Symbol is="π" sub="ref" stage=6 meaning=Meaning::Reference>"reference"</Symbol>
            <Symbol is="KL" stage=7 now=of_step(|s| s.statistics.kl)>"nats per response, mean of the batch"</Symbol>
            <Symbol is="score" stage=5 meaning=Meaning::Reward now=of_step(|s| s.statistics.score)>"mean of the batch"</Symbol>
        </Symbols>
    }
}

#[component]
fn Advantage() -> impl IntoView {
    view! {
        <h3>"Advantages: better than expected?"</h3>
        <p>
            "A high score does not show which token earned it. The " <Point stage=6 meaning=Meaning::Value>"value head"</Point>
            " predicts at every token the rewards that follow. If the rewards are higher than predicted, that token gets a positive "
            <Point stage=8 meaning=Meaning::Value>"advantage"</Point> ", and a part of it is passed to earlier tokens (GAE)."
        </p>
        <Formula
            label="Delta t is r t plus gamma V t plus one minus V t; A t is delta t plus gamma lambda A t plus one"
            math="<math display='block'>\
                <msub><mi>δ</mi><mi>t</mi></msub><mo>=</mo>\
                <msub><mi class='m-reward'>r</mi><mi>t</mi></msub><mo>+</mo>\
                <mi>γ</mi><msub><mi class='m-value'>V</mi><mrow><mi>t</mi><mo>+</mo><mn>1</mn></mrow></msub>\
                <mo>−</mo><msub><mi class='m-value'>V</mi><mi>t</mi></msub>\
                <mspace width='2em'></mspace>\
                <msub><mi>A</mi><mi>t</mi></msub><mo>=</mo>\
                <msub><mi>δ</mi><mi>t</mi></msub><mo>+</mo><mi>γ</mi><mi>λ</mi>\
                <msub><mi>A</mi><mrow><mi>t</mi><mo>+</mo><mn>1</mn></mrow></msub>\
                </math>"
        />
        <Symbols>
            <Symbol is="V" sub="t" stage=6 meaning=Meaning::Value now=of_step(|s| s.statistics.old_value_mean)>
                "value: the predicted return; mean of the batch"
            </Symbol>
            <Symbol is="A" sub="t" stage=8 meaning=Meaning::Value>"advantage; A + V is the return"</Symbol>
            <Symbol is="return" stage=8 meaning=Meaning::Value now=of_step(|s| s.statistics.returns_mean)>"mean of the batch"</Symbol>
            <Symbol is="γ" stage=8 now=setting(|c| c.gamma)>"gamma: the discount of later rewards, per token"</Symbol>
            <Symbol is="λ" stage=8 now=setting(|c| c.lambda)>"GAE lambda: how much of an advantage is passed back"</Symbol>
        </Symbols>
        <ValuePicture />
    }
}

#[component]
fn Clipped() -> impl IntoView {
    view! {
        <h3>"The clipped loss"</h3>
        <p>
            "Now the " <Point stage=9 meaning=Meaning::Policy>"update"</Point>
            ": tokens with a positive advantage become more likely, tokens with a negative one less likely. The ratio ρ is the token's probability "
            "now, divided by its probability when it was written. Once ρ has left the clip range in the direction of the advantage, its gradient is zero, "
            "so the token is pushed no further. Advantages are whitened first (mean 0, standard deviation 1), so tokens below the mean of the batch get a "
            "negative one, in a good summary too."
        </p>
        <Formula
            label="The policy loss: minus the mean of the smaller of rho A and clipped rho times A"
            math="<math display='block'>\
                <msub><mi>ρ</mi><mi>t</mi></msub><mo>=</mo>\
                <mfrac>\
                <mrow><msub><mi class='m-policy'>π</mi><mtext>new</mtext></msub><mo stretchy='false'>(</mo><msub><mi>a</mi><mi>t</mi></msub><mo stretchy='false'>)</mo></mrow>\
                <mrow><msub><mi class='m-policy'>π</mi><mtext>old</mtext></msub><mo stretchy='false'>(</mo><msub><mi>a</mi><mi>t</mi></msub><mo stretchy='false'>)</mo></mrow>\
                </mfrac>\
                </math>\
                <math display='block'>\
                <mi>L</mi><mo>=</mo><mo>−</mo>\
                <mtext>mean</mtext><mspace width='0.3em'></mspace>\
                <mi>min</mi>\
                <mo stretchy='false'>(</mo>\
                <msub><mi>ρ</mi><mi>t</mi></msub><msub><mi>A</mi><mi>t</mi></msub><mo>,</mo>\
                <mtext>clip</mtext><mo stretchy='false'>(</mo><msub><mi>ρ</mi><mi>t</mi></msub><mo>,</mo><mn>1</mn><mo>±</mo><mi>ε</mi><mo stretchy='false'>)</mo>\
                <msub><mi>A</mi><mi>t</mi></msub>\
                <mo stretchy='false'>)</mo>\
                <mo>+</mo><msub><mi>c</mi><mi>v</mi></msub><msub><mi class='m-value'>L</mi><mtext>value</mtext></msub>\
                </math>"
        />
        <Symbols>
            <Symbol is="ε" stage=9 now=setting(|c| c.clip_range)>"clip range"</Symbol>
            <Symbol is="clipped" stage=9 now=of_step(|s| s.statistics.clip_fraction)>"share of tokens that were clipped"</Symbol>
            <Symbol is="L" stage=9 meaning=Meaning::Policy now=of_step(|s| s.statistics.policy_loss)>"policy loss"</Symbol>
            <Symbol is="L" sub="value" stage=9 meaning=Meaning::Value now=of_step(|s| s.statistics.value_loss)>
                "value loss: the squared error of the predictions"
            </Symbol>
            <Symbol is="c" sub="v" stage=9 now=setting(|c| c.vf_coef)>"weight of the value loss"</Symbol>
            <Symbol is="η" stage=10 now=of_step(|s| s.statistics.learning_rate)>"learning rate of Adam"</Symbol>
        </Symbols>
        <ClipPicture />
        <ProbabilityPicture />
    }
}

/// A statistic over the run: its value, name and colour.
type Curve = (fn(&Statistics) -> f64, &'static str, Meaning);

/// A chart's title, unit, and lines.
type Chart = (&'static str, &'static str, &'static [Curve]);

const CHARTS: [Chart; 7] = [
    ("Mean score", "", &[(|s| s.score, "mean score", Meaning::Reward)]),
    ("KL from the reference", "nats per response", &[(|s| s.kl, "objective/kl", Meaning::Reference)]),
    (
        "Returns",
        "",
        &[
            (|s| s.returns_mean, "ppo/returns/mean", Meaning::Reward),
            (|s| s.old_value_mean, "value before the step", Meaning::Value),
        ],
    ),
    ("Advantages, whitened", "", &[(|s| s.advantages_mean, "ppo/policy/advantages_mean", Meaning::Plain)]),
    (
        "Losses",
        "",
        &[(|s| s.policy_loss, "policy loss", Meaning::Policy), (|s| s.value_loss, "value loss", Meaning::Value)],
    ),
    ("Entropy", "nats per token", &[(|s| s.token_entropy, "entropy", Meaning::Policy)]),
    ("Clip fraction", "", &[(|s| s.clip_fraction, "clip fraction", Meaning::Policy)]),
];

/// The run as curves, and as a table.
#[component]
fn Charts() -> impl IntoView {
    let shown = content();
    let at = RwSignal::new(None::<f64>);
    let metrics = later(shown.metrics);
    let series = move |lines: &'static [Curve]| {
        memo(move || {
            let metrics = metrics.get();
            lines.iter().map(|&(number, name, meaning)| Series::of(&metrics, number, name, meaning)).collect::<Vec<_>>()
        })
    };
    let each = CHARTS.map(|(title, unit, lines)| (title, unit, series(lines)));
    // The table grows with every step, so it is made only while it is open.
    let table = RwSignal::new(false);
    let all = Signal::derive(move || each.iter().flat_map(|(_, _, series)| series.get()).collect::<Vec<_>>());
    let unfolded =
        move |event: leptos::ev::Event| table.set(event_target::<web_sys::HtmlDetailsElement>(&event).open());
    view! {
        <h3>"The run so far"</h3>
        <p class="caption">
            <Source live=shown.live /> " Whitening makes the mean of the advantages 0; here it is a mean of mini-batch means, so a little is left, which says nothing. Compare the score with the KL."
        </p>
        <div class="charts">
            {each.map(|(title, unit, series)| view! { <LineChart title=title series=series unit=unit at=at /> }).into_iter().collect_view()}
        </div>
        <details class="fold" on:toggle=unfolded>
            <summary>"All of it as a table"</summary>
            {move || table.get().then(|| view! { <p class="caption">"Newest step first"</p> <ChartTable title="The run" series=all /> })}
        </details>
    }
}
