//! Chapter 3.1: every setting of the run, the two presets and their differences.

use super::common::{ChapterFrame, Formula, Point, Symbol, Symbols, Try, copy_button};
use crate::settings::{PpoConfig, Preset};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::controls::StartOver;
use crate::web::page::draft::Draft;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::settings::Settings;
use leptos::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

#[component]
pub fn Trainer() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
    // The settings of the next run; those of the current run if they are not valid together.
    let next = memo(move || {
        let config = shown.loaded.with(|l| l.as_ref().and_then(|l| s.draft.with(|d| d.over(l))));
        Arc::new(config.unwrap_or_else(|| (*shown.config.get()).clone()))
    });
    let of = move |f: fn(&PpoConfig) -> f64| Signal::derive(move || next.with(|c| format::setting(f(c))));
    let preset = Signal::derive(move || s.draft.with(|d| d.preset));
    let changes = Signal::derive(move || {
        s.draft.with(|d| {
            let mut changes = d.changes.clone();
            if d.seed != 0 {
                changes.insert("seed".into(), d.seed.into());
            }
            changes
        })
    });
    let change = Callback::new(move |(preset, changes): (Preset, Map<String, Value>)| {
        let seed = changes.get("seed").and_then(Value::as_u64).unwrap_or(0);
        s.draft.set(Draft::of(preset, changes, seed));
    });
    view! {
        <ChapterFrame
            chapter=Chapter::Trainer
            lead="PPO raises the score, within limits: the policy must stay close to the model that it started from."
        >
            <p>
                "Without a penalty, the policy would find any text that gets a high score, even one word repeated forever. "
                "So every nat of KL divergence from the " <Point stage=6 meaning=Meaning::Reference>"reference"</Point>
                ", a frozen copy of the policy from before PPO, is penalised. PPO maximises the " <Point stage=5 meaning=Meaning::Reward>"score"</Point>
                " minus that penalty:"
            </p>
            <Formula
                label="The objective: expected score minus beta times the KL divergence of policy from reference"
                math="<math display='block'>\
                    <munder><mi>max</mi><mi>θ</mi></munder>\
                    <mspace width='0.4em'></mspace>\
                    <msub><mi>E</mi><mrow><mi>y</mi><mo>∼</mo><msub><mi class='m-policy'>π</mi><mi>θ</mi></msub></mrow></msub>\
                    <mo stretchy='false'>[</mo><mi class='m-reward'>r</mi><mo stretchy='false'>(</mo><mi>y</mi><mo stretchy='false'>)</mo><mo stretchy='false'>]</mo>\
                    <mo>−</mo><mi>β</mi>\
                    <mspace width='0.2em'></mspace>\
                    <mtext>KL</mtext>\
                    <mo stretchy='false'>(</mo><msub><mi class='m-policy'>π</mi><mi>θ</mi></msub><mo>‖</mo>\
                    <msub><mi class='m-reference'>π</mi><mtext>ref</mtext></msub><mo stretchy='false'>)</mo>\
                    </math>"
            />
            <Symbols>
                <Symbol is="β" stage=7 now=of(|c| c.kl_coef)>"kl_coef, the penalty for one nat"</Symbol>
                <Symbol is="r" stage=5 meaning=Meaning::Reward>"score of the response"</Symbol>
                <Symbol is="π" sub="θ" stage=10 meaning=Meaning::Policy>"policy: base weights and adapter"</Symbol>
                <Symbol is="π" sub="ref" stage=6 meaning=Meaning::Reference>"reference: never trained"</Symbol>
                <Symbol is="B" stage=3 now=of(|c| c.batch_size as f64)>"dialogues per step"</Symbol>
                <Symbol is="M" stage=9 now=of(|c| c.mini_batch_size as f64)>"rows per mini-batch"</Symbol>
            </Symbols>
            <p class="num">
                {move || {
                    let c = next.get();
                    let updates = c.batch_size / c.rows_per_update().max(1) * c.ppo_epochs;
                    format!(
                        "A step: {} summaries, {} update{} of the weights, learning rate {}.",
                        c.batch_size,
                        updates,
                        if updates == 1 { "" } else { "s" },
                        format::setting(c.learning_rate),
                    )
                }}
            </p>
            <h3>"Every setting"</h3>
            <p>
                "The published lab has bugs that change its numbers. Each is one setting here; the preset \"as published\" has all of them."
            </p>
            <Settings
                corrected=shown.corrected
                published=shown.published
                preset=preset
                changed=changes
                on_change=change
            />
            <Try title="Change something, then start over">
                <p>
                    "Your changes are part of this page's address: whoever opens the link gets the same settings, and from the same seed the same numbers, except for roundings."
                </p>
                <p class="row">
                    <StartOver primary=true />
                    <button type="button" on:click=move |_| s.draft.set(Draft::default())>"Back to the defaults"</button>
                    {copy_button("Copy the link", Box::new(browser::link))}
                </p>
            </Try>
        </ChapterFrame>
    }
}
