//! What LoRA adds to the policy, in numbers counted from the loaded tensors.

use super::common::{Formula, Symbol, Symbols};
use crate::protocol::PolicyInfo;
use crate::web::page::content::content;
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use leptos::prelude::*;

#[component]
pub fn Lora() -> impl IntoView {
    let shown = content();
    let of = move |f: fn(&PolicyInfo) -> String| {
        Signal::derive(move || shown.loaded.with(|l| l.as_ref().map_or_else(|| format::NONE.into(), |l| f(&l.policy))))
    };
    view! {
        <h3>"What LoRA adds"</h3>
        <p>
            "Training all weights would need memory for all of them three times over. LoRA leaves each weight matrix W as it is and adds "
            "the product of two thin ones. B starts at zero, so at first nothing changes; training moves A and B alone. Switching the "
            "adapter off gives the base model back, which is why policy and reference can share it."
        </p>
        <Formula label="LoRA: W x plus alpha over r times B A x">
            <math display="block">
                <mi>"h"</mi><mo>"="</mo><mi>"W"</mi><mi>"x"</mi><mo>"+"</mo>
                <mfrac><mi>"α"</mi><mi>"r"</mi></mfrac>
                <mi class="m-policy">"B"</mi><mi class="m-policy">"A"</mi><mi>"x"</mi>
            </math>
        </Formula>
        <Symbols>
            <Symbol is="r" meaning=Meaning::Policy now=of(|p| p.lora_r.to_string())>"rank: how thin A and B are"</Symbol>
            <Symbol is="α" meaning=Meaning::Policy now=of(|p| format::setting(p.lora_alpha))>"α, how loud the adapter speaks"</Symbol>
            <Symbol is="α/r" now=of(|p| format::setting(p.lora_alpha / p.lora_r.max(1) as f64))>"scale"</Symbol>
            <Symbol is="n" sub="LoRA" meaning=Meaning::Policy now=of(|p| format::count(p.adapter_parameters as u64))>
                "weights of all A and B"
            </Symbol>
            <Symbol is="n" sub="base" now=of(|p| format::count(p.base_parameters as u64))>"weights that stay"</Symbol>
            <Symbol is="share" now=of(|p| format::percent(p.adapter_parameters as f64 / p.base_parameters.max(1) as f64, 2))>
                "the adapter beside the base"
            </Symbol>
        </Symbols>
        <details class="fold">
            <summary>{move || of(|p| format!("The {} layers under the adapter", p.lora_layers.len())).get()}</summary>
            <ul class="names">
                {move || {
                    let names = shown.loaded.with(|l| l.as_ref().map(|l| l.policy.lora_layers.clone())).unwrap_or_default();
                    names.into_iter().map(|name| view! { <li><code>{name}</code></li> }).collect_view()
                }}
            </ul>
        </details>
    }
}
