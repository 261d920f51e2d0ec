//! Chapter 1: the models with their sizes, what this browser offers, and loading the models.

use super::common::{ChapterFrame, Formula, Pending, Source, Symbol, Symbols, Try};
use super::own_dialogues::OwnDialogues;
use super::real_models::RealModels;
use crate::protocol::{Ask, Loaded};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::table::scrolling_table;
use leptos::prelude::*;

#[component]
pub fn SetUp() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
    let live = Signal::derive(move || s.loaded.with(Option::is_some));
    let of = move |f: fn(&Loaded) -> String| shown.of_models(f);
    let size = move || {
        let bytes = shown.loaded.with(|l| l.as_ref().map(|l| l.bytes));
        bytes.map(|b| format!(", {}", format::bytes(b))).unwrap_or_default()
    };
    view! {
        <ChapterFrame
            chapter=Chapter::SetUp
            lead="Two neural networks and a few hundred dialogues. Everything runs in this tab."
        >
            <p>
                "The " <b class="m-policy">"policy"</b> " reads a dialogue and writes a summary. It is a T5: an encoder reads, a decoder "
                "writes. PPO trains only a small " <b>"adapter"</b> " (LoRA) in it. The " <b class="m-reward">"reward model"</b>
                " is a RoBERTa that reads a text and rates how hateful it is; it is not trained. "
                "A third part, the " <b class="m-value">"value head"</b> ", is one linear layer on the policy that learns to predict the rewards."
            </p>
            <p>
                "This page follows lab 3 of the course "
                <a class="link" href="https://www.coursera.org/learn/generative-ai-with-llms">
                    "Generative AI with Large Language Models"
                </a>
                " (DeepLearning.AI and AWS): \"Fine-tune FLAN-T5 with reinforcement learning (PPO) and PEFT to generate less-toxic summaries\". "
                "Both networks are small versions of the lab's, trained for this page, so that a step takes seconds here. "
                "The same code trains FLAN-T5 on a larger machine."
            </p>
            <p>
                "What you will see: in 2.1 the policy writes a summary, in 2.2 the reward model scores it. 2.3 measures the policy before training. "
                "3.1 has the settings, and 3.2 shows one step of PPO with all of its numbers. 3.3 and 3.4 compare the policy before and after training. Then you can check whether the run hacked its reward, and try experiments."
            </p>
            <Try title="Load the models">
                <p>
                    "Until then, all numbers on this page are from a recorded run and are marked " <Source live=false />
                    ". What you start afterwards is computed here and marked " <Source live=true />
                </p>
                <p class="row">
                    <button
                        type="button"
                        class="primary"
                        disabled=move || live.get() || s.busy.with(|b| b.as_ref().is_some_and(|b| b.ask == Ask::Load))
                        on:click=move |_| e.load()
                    >
                        {move || if live.get() { "Loaded".to_owned() } else { format!("Load the models{}", size()) }}
                    </button>
                    {move || {
                        s.loaded
                            .with(|l| l.as_ref().map(|l| l.seconds))
                            .map(|seconds| view! { <span class="note num">{format!("in {}", format::seconds(seconds))}</span> })
                    }}
                </p>
                <Pending kind=|ask: &Ask| *ask == Ask::Load />
            </Try>
            <RealModels />
            <OwnDialogues />
            <h3>"The models in numbers"</h3>
            <Models />
            <Formula
                label="The trained share: adapter and value head over all weights of the policy"
                math="<math display='block'>\
                    <mtext>trained</mtext>\
                    <mo>=</mo>\
                    <mfrac>\
                    <mrow><msub><mi>n</mi><mtext>LoRA</mtext></msub><mo>+</mo><msub><mi>n</mi><mtext>value</mtext></msub></mrow>\
                    <mrow>\
                    <msub><mi>n</mi><mtext>base</mtext></msub><mo>+</mo><msub><mi>n</mi><mtext>LoRA</mtext></msub>\
                    <mo>+</mo><msub><mi>n</mi><mtext>value</mtext></msub>\
                    </mrow>\
                    </mfrac>\
                    </math>"
            />
            <Symbols>
                <Symbol is="n" sub="base" now=of(|l| format::count(l.policy.base_parameters as u64))>"frozen weights"</Symbol>
                <Symbol is="n" sub="LoRA" meaning=Meaning::Policy now=of(|l| format::count(l.policy.adapter_parameters as u64))>
                    "weights of the adapter"
                </Symbol>
                <Symbol is="n" sub="value" meaning=Meaning::Value now=of(|l| format::count(l.policy.value_head_parameters as u64))>
                    "weights of the value head"
                </Symbol>
                <Symbol is="trained" now=of(|l| format::percent(trained_share(l), 2))>"share of the weights that PPO trains"</Symbol>
            </Symbols>
            <YourBrowser />
        </ChapterFrame>
    }
}

/// Adapter and value head over all weights of the policy.
fn trained_share(loaded: &Loaded) -> f64 {
    let p = &loaded.policy;
    let trained = (p.adapter_parameters + p.value_head_parameters) as f64;
    trained / (p.base_parameters as f64 + trained)
}

/// The models in numbers.
#[component]
fn Models() -> impl IntoView {
    let shown = content();
    let rows = move || {
        let loaded = shown.loaded.get()?;
        let p = &loaded.policy;
        let shape = format!(
            "{} + {} blocks, width {}, {} heads, {} tokens",
            p.encoder_blocks,
            p.decoder_blocks,
            p.width,
            p.heads,
            format::count(p.vocabulary as u64)
        );
        let row = |class: &'static str, name: &'static str, weights: usize, bytes: u64, shape: String| {
            view! {
                <tr>
                    <th scope="row" class=class>{name}</th>
                    <td class="num">{format::count(weights as u64)}</td>
                    <td class="num">{format::bytes(bytes)}</td>
                    <td>{shape}</td>
                </tr>
            }
        };
        let (adapter, head) = (p.adapter_parameters, p.value_head_parameters);
        let layers = format!("rank {} on {} layers", p.lora_r, p.lora_layers.len());
        Some(view! {
            {row("m-policy", "policy", p.base_parameters, p.bytes, shape)}
            {row("m-policy", "adapter", adapter, 4 * adapter as u64, layers)}
            {row("m-value", "value head", head, 4 * head as u64, "one linear layer".into())}
            {row("m-reward", "reward model", loaded.reward.parameters, loaded.reward.bytes, "two labels: nothate, hate".into())}
        })
    };
    scrolling_table("The models", "", &["model", "weights", "size", "shape"], rows)
}

/// What this browser reports about itself.
#[component]
fn YourBrowser() -> impl IntoView {
    let (memory, processors) = browser::machine();
    let memory = match memory {
        Some(gigabytes) if gigabytes >= 8.0 => "8 GB or more".to_owned(),
        Some(gigabytes) => format!("about {gigabytes} GB"),
        None => "not reported by this browser".to_owned(),
    };
    let kept = RwSignal::new(browser::kept_offline());
    let handle = window_event_listener_untyped("kept", move |_| kept.set(true));
    on_cleanup(move || handle.remove());
    let without = move || match kept.get() {
        true => "the page works offline; the models too, once they have been loaded",
        false => "not stored for offline use yet",
    };
    let uses = engine().state.engine;
    let processors = move || match uses.get() {
        (0, _) => format!("{processors}"),
        (1, _) if processors > 1.0 && kept.get() && !browser::isolated() => {
            format!("{processors}; the engine uses one, and more after the page is loaded again")
        }
        (n, _) => format!("{processors}; the engine uses {n}"),
    };
    let products = move || match uses.with(|(_, kernel)| kernel.starts_with("relaxed")) {
        true => "relaxed SIMD; last digits may differ between browsers",
        false => "SIMD, the same numbers in every browser",
    };
    view! {
        <h3>"Your browser"</h3>
        <dl class="about">
            <div><dt>"Memory of this machine"</dt><dd>{memory}</dd></div>
            <div><dt>"Processors"</dt><dd class="num">{processors}</dd></div>
            <div><dt>"Matrix products"</dt><dd>{products}</dd></div>
            <div><dt>"Network"</dt><dd>"requests go only to this page's own address; what you type stays in this tab"</dd></div>
            <div><dt>"Offline"</dt><dd>{without}</dd></div>
        </dl>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::page::state::tests::loaded;

    #[test]
    fn the_share_counts_adapter_and_value_head() {
        assert!((trained_share(&loaded()) - 29.0 / 1029.0).abs() < 1e-12);
    }
}
