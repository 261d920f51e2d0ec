//! What LoRA adds to the policy, with the numbers of the loaded models.

use super::common::{Formula, Symbol, Symbols};
use crate::protocol::Loaded;
use crate::web::page::content::content;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use leptos::prelude::*;

#[component]
pub fn Lora() -> impl IntoView {
    let shown = content();
    let of = move |f: fn(&Loaded) -> String| shown.of_models(f);
    view! {
        <h3>"What LoRA adds"</h3>
        <p>
            "Training all weights would need memory for a gradient and two Adam moments of each. LoRA freezes all weights. To some of the matrices W it adds "
            "the product of two low-rank matrices, B and A; only these are trained. In a new adapter B is 0, so it changes nothing. The adapter "
            "here is not new: before PPO it was fine-tuned to write summaries. With the adapter off, the base model writes. The base model "
            "is not PPO's reference: the reference is the policy with a frozen copy of the adapter as it was before PPO."
        </p>
        <Formula
            label="LoRA: W x plus alpha over r times B A x"
            math="<math display='block'>\
                <mi>h</mi><mo>=</mo><mi>W</mi><mi>x</mi><mo>+</mo>\
                <mfrac><mi>α</mi><mi>r</mi></mfrac>\
                <mi class='m-policy'>B</mi><mi class='m-policy'>A</mi><mi>x</mi>\
                </math>"
        />
        <Symbols>
            <Symbol is="r" meaning=Meaning::Policy now=of(|l| l.policy.lora_r.to_string())>"rank of A and B"</Symbol>
            <Symbol is="α" meaning=Meaning::Policy now=of(|l| format::setting(l.policy.lora_alpha))>"alpha: scales the adapter's contribution"</Symbol>
            <Symbol is="α/r" now=of(|l| format::setting(l.policy.lora_alpha / l.policy.lora_r.max(1) as f64))>"scaling factor"</Symbol>
            <Symbol is="n" sub="LoRA" meaning=Meaning::Policy now=of(|l| format::count(l.policy.adapter_parameters as u64))>
                "weights of all A and B"
            </Symbol>
            <Symbol is="n" sub="base" now=of(|l| format::count(l.policy.base_parameters as u64))>"frozen weights"</Symbol>
        </Symbols>
        <details class="fold">
            <summary>{move || of(|l| format!("The {} layers with an adapter", l.policy.lora_layers.len())).get()}</summary>
            <ul class="names">
                {move || {
                    let names = shown.loaded.with(|l| l.as_ref().map(|l| l.policy.lora_layers.clone())).unwrap_or_default();
                    names.into_iter().map(|name| view! { <li><code>{name}</code></li> }).collect_view()
                }}
            </ul>
        </details>
    }
}
