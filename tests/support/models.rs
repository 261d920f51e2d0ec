//! Loads small reference models from their folders.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use candle_core::{Device, Tensor};
use detox_lab::model::config::T5Config;
use detox_lab::model::policy::{POLICY, Policy, ValueHead};
use detox_lab::model::t5::T5;
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use std::collections::HashMap;
use std::path::Path;

/// Every tensor of a safetensors file.
pub fn tensors(file: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(file, &Device::Cpu).unwrap()
}

/// A model's tensors, sharded or not.
pub fn model_tensors(folder: &Path) -> HashMap<String, Tensor> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            all.extend(tensors(&path));
        }
    }
    all
}

/// The T5 in a folder.
pub fn t5(folder: &Path, trainable: bool) -> (T5, Params) {
    let config = T5Config::from_json("config.json", &std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let tensors = model_tensors(folder);
    let params = if trainable { Params::trainable(tensors) } else { Params::frozen(tensors) };
    (T5::load(config, &params).unwrap(), params)
}

/// A PEFT adapter's pairs with one scale for all.
pub fn adapter(folder: &Path, scale: f64) -> Vec<LoraSpec> {
    let tensors = tensors(&folder.join("adapter_model.safetensors"));
    let a_names = tensors.keys().filter_map(|k| k.strip_suffix(".lora_A.weight"));
    a_names
        .map(|name| LoraSpec {
            module: name.strip_prefix("base_model.model.").unwrap().to_string(),
            a: tensors[&format!("{name}.lora_A.weight")].clone(),
            b: tensors[&format!("{name}.lora_B.weight")].clone(),
            scale,
        })
        .collect()
}

/// A policy with a new value head and no adapter.
pub fn bare_policy(folder: &Path) -> Policy {
    let (t5, _) = t5(folder, false);
    let head = ValueHead::fresh(t5.config.d_model, &mut Rng::new(0, Purpose::Init, 0, 0)).unwrap();
    Policy::new(t5, head)
}

/// The golden policy: base, trainable adapter (scale 2), value head.
pub fn golden_policy(golden: &Path) -> Policy {
    golden_policy_over(golden, model_tensors(&golden.join("policy_base")))
}

/// The same with base tensors that the caller can compare afterwards.
pub fn golden_policy_over(golden: &Path, base: HashMap<String, Tensor>) -> Policy {
    let config = std::fs::read(golden.join("policy_base/config.json")).unwrap();
    let t5 = T5::load(T5Config::from_json("config.json", &config).unwrap(), &Params::frozen(base)).unwrap();
    let head = tensors(&golden.join("v_head.safetensors"));
    let head = ValueHead::new(&head["v_head.summary.weight"], &head["v_head.summary.bias"], t5.config.d_model).unwrap();
    let mut policy = Policy::new(t5, head);
    policy.add_adapter(POLICY, adapter(&golden.join("adapter"), 2.0), 0.0, true).unwrap();
    policy
}
