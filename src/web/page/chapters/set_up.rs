//! Chapter 1: what this browser can do, the models with their sizes, and loading them.

use super::common::{Formula, Frame, Pending, Source, Symbol, Symbols, Try};
use crate::protocol::{Ask, Loaded};
use crate::web::page::address::Chapter;
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::engine;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use leptos::prelude::*;

#[component]
pub fn SetUp() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
    let live = Signal::derive(move || s.loaded.with(Option::is_some));
    let of = move |f: fn(&Loaded) -> u64| {
        Signal::derive(move || {
            shown.loaded.with(|l| l.as_ref().map_or_else(|| format::NONE.into(), |l| format::count(f(l))))
        })
    };
    let share = Signal::derive(move || {
        shown.loaded.with(|l| l.as_ref().map_or_else(|| format::NONE.into(), |l| format::percent(trained_share(l), 2)))
    });
    let size = move || {
        let bytes = shown.loaded.with(|l| l.as_ref().map(|l| l.bytes));
        bytes.map(|b| format!(", {}", format::bytes(b))).unwrap_or_default()
    };
    view! {
        <Frame
            chapter=Chapter::SetUp
            lead="Two neural networks and a few hundred dialogues. All of it fits into this tab, and stays there."
        >
            <p>
                "The " <b class="m-policy">"policy"</b> " reads a dialogue and writes a summary. It is a T5, an encoder that reads and a "
                "decoder that writes, with a small " <b>"adapter"</b> " (LoRA) that is all we train of it. The "
                <b class="m-reward">"reward model"</b> " is a RoBERTa that reads a text and says how hateful it is; it never changes. "
                "A third part, the " <b class="m-value">"value head"</b> ", is one linear layer on the policy that learns to foresee the score."
            </p>
            <p>
                "Both networks are tiny cousins of the ones in the lab, trained for this page, so that a step takes seconds here. "
                "The code that runs them is the same that trains FLAN-T5 on a big machine."
            </p>
            <Models />
            <Formula label="The trained share: adapter and value head over all weights of the policy">
                <math display="block">
                    <mtext>"trained"</mtext>
                    <mo>"="</mo>
                    <mfrac>
                        <mrow><msub><mi>"n"</mi><mtext>"LoRA"</mtext></msub><mo>"+"</mo><msub><mi>"n"</mi><mtext>"value"</mtext></msub></mrow>
                        <mrow>
                            <msub><mi>"n"</mi><mtext>"base"</mtext></msub><mo>"+"</mo><msub><mi>"n"</mi><mtext>"LoRA"</mtext></msub>
                            <mo>"+"</mo><msub><mi>"n"</mi><mtext>"value"</mtext></msub>
                        </mrow>
                    </mfrac>
                </math>
            </Formula>
            <Symbols>
                <Symbol is="n" sub="base" now=of(|l| l.policy.base_parameters as u64)>"weights that stay as they are"</Symbol>
                <Symbol is="n" sub="LoRA" meaning=Meaning::Policy now=of(|l| l.policy.adapter_parameters as u64)>
                    "weights of the adapter"
                </Symbol>
                <Symbol is="n" sub="value" meaning=Meaning::Value now=of(|l| l.policy.value_head_parameters as u64)>
                    "weights of the value head"
                </Symbol>
                <Symbol is="trained" now=share>"what PPO changes"</Symbol>
            </Symbols>
            <Browser />
            <Try title="Load the models">
                <p>
                    "Until then every number on this page is from a recorded run, and says so: " <Source live=false />
                    ". Once loaded, what you start is computed here and replaces it: " <Source live=true />
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
        </Frame>
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
        Some(view! {
            <tr>
                <th scope="row" class="m-policy">"policy"</th>
                <td class="num">{format::count(p.base_parameters as u64)}</td>
                <td class="num">{format::bytes(p.bytes)}</td>
                <td>{shape}</td>
            </tr>
            <tr>
                <th scope="row" class="m-policy">"adapter"</th>
                <td class="num">{format::count(p.adapter_parameters as u64)}</td>
                <td class="num">{format::bytes(4 * p.adapter_parameters as u64)}</td>
                <td>{format!("rank {} on {} layers", p.lora_r, p.lora_layers.len())}</td>
            </tr>
            <tr>
                <th scope="row" class="m-value">"value head"</th>
                <td class="num">{format::count(p.value_head_parameters as u64)}</td>
                <td class="num">{format::bytes(4 * p.value_head_parameters as u64)}</td>
                <td>"one linear layer"</td>
            </tr>
            <tr>
                <th scope="row" class="m-reward">"reward model"</th>
                <td class="num">{format::count(loaded.reward.parameters as u64)}</td>
                <td class="num">{format::bytes(loaded.reward.bytes)}</td>
                <td>"two labels: nothate, hate"</td>
            </tr>
        })
    };
    view! {
        <div class="scroller" role="region" tabindex="0" aria-label="The models">
            <table>
                <thead>
                    <tr><th scope="col">"model"</th><th scope="col">"weights"</th><th scope="col">"size"</th><th scope="col">"shape"</th></tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

/// What this browser can do, as far as it tells.
#[component]
fn Browser() -> impl IntoView {
    let (memory, processors) = browser::machine();
    let memory = match memory {
        Some(gigabytes) if gigabytes >= 8.0 => "8 GB or more".to_owned(),
        Some(gigabytes) => format!("about {gigabytes} GB"),
        None => "this browser does not tell".to_owned(),
    };
    let kept = RwSignal::new(browser::kept_offline());
    let handle = window_event_listener_untyped("kept", move |_| kept.set(true));
    on_cleanup(move || handle.remove());
    let without = move || match kept.get() {
        true => "kept by this browser: the page, and the models once loaded",
        false => "not kept, or not yet",
    };
    view! {
        <h3>"Your browser"</h3>
        <dl class="about">
            <div><dt>"WebAssembly with SIMD"</dt><dd>"yes, four numbers at a time"</dd></div>
            <div><dt>"Memory of this machine"</dt><dd>{memory}</dd></div>
            <div><dt>"Processors"</dt><dd class="num">{format!("{processors}, of which the engine uses one")}</dd></div>
            <div><dt>"Network"</dt><dd>"only to this page's own address; what you type stays in this tab"</dd></div>
            <div><dt>"Without network"</dt><dd>{without}</dd></div>
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
