//! Reads TRL's recorded runs, and compares with them with the project's tolerances.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use super::flat;
use candle_core::{Device, Tensor};
use detox_lab::ppo::batch::{Grid, Row};
use detox_lab::settings::{PpoConfig, Preset, WhitenOver};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

pub const CASES: [&str; 4] = ["A_one_minibatch", "B_two_minibatches_two_epochs", "C_clipping", "D_lab_config"];
pub const VERSIONS: [&str; 2] = ["trl-25fa1bd", "trl-0.11.4"];
pub const BIAS: &str = "v_head.summary.bias";

pub type Tensors = HashMap<String, Tensor>;

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn tensors(path: &Path) -> Tensors {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// TRL's settings of a case in one of its versions.
pub fn settings(version: &str, config: &Value) -> PpoConfig {
    let mut base = PpoConfig { value_head_dropout: 0.0, ..PpoConfig::preset(Preset::Published) };
    if version == "trl-0.11.4" {
        (base.whiten_over, base.ratio_threshold) = (WhitenOver::Batch, Some(10.0));
    }
    PpoConfig::from_json(base, config).unwrap()
}

/// One step's `{queries, responses, scores}`.
pub fn rows(step: &Value) -> Vec<Row> {
    let ids = |v: &Value| v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect::<Vec<u32>>();
    let row = |i: usize| Row {
        query_ids: ids(&step["queries"][i]),
        decoder_ids: ids(&step["responses"][i]),
        score: step["scores"][i].as_f64().unwrap() as f32,
        generated: None,
    };
    (0..step["queries"].as_array().unwrap().len()).map(row).collect()
}

/// Calls `work(version, case, its inputs, its log, its settings)` for each recorded case of both versions.
pub fn for_cases(golden: &Path, mut work: impl FnMut(&str, &str, &Value, &Value, &PpoConfig)) {
    for (version, case) in VERSIONS.into_iter().flat_map(|version| CASES.map(|case| (version, case))) {
        let spec = json(&golden.join(format!("cases/{case}.json")));
        let log = json(&golden.join(format!("{version}/{case}.json")));
        work(version, case, &spec, &log, &settings(version, &spec["config"]));
    }
}

/// The recorded row orders, one list per PPO epoch.
pub fn orders(step: &Value) -> Vec<Vec<usize>> {
    serde_json::from_value(step["permutations"].clone()).unwrap()
}

/// Any nesting of numbers, flat.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// |a - b| ≤ relative · |b| + 1e-6 (1e-6 is for numbers that are 0 except for rounding).
pub fn assert_close(what: &str, a: f64, b: f64, relative: f64) {
    assert!((a - b).abs() <= relative * b.abs() + 1e-6, "{what}: {a} != {b}");
}

/// Equal within `tolerance` where the mask is 1.
pub fn assert_grid(what: &str, ours: &Grid, recorded: &Tensor, mask: &Grid, tolerance: f32) {
    let recorded = flat(recorded);
    assert_eq!(recorded.len(), ours.data.len(), "{what}");
    for (k, (a, b)) in ours.data.iter().zip(recorded).enumerate().filter(|(k, _)| mask.data[*k] > 0.0) {
        assert!((a - b).abs() <= tolerance, "{what}[{k}]: {a} != {b}");
    }
}

/// Compares all keys that TRL logged except times: arrays (with padding) and scalars.
pub fn assert_stats(what: &str, ours: &serde_json::Map<String, Value>, recorded: &Value, relative: f64) {
    for (key, expected) in recorded.as_object().unwrap().iter().filter(|(key, _)| !key.contains("time/")) {
        let got = numbers(ours.get(key).unwrap_or_else(|| panic!("{what}: no {key}")));
        let expected = numbers(expected);
        assert_eq!(got.len(), expected.len(), "{what} {key}");
        for (a, b) in got.iter().zip(expected) {
            match key.as_str() {
                // per token, with masked columns: absolute, as for the other per-token numbers
                "ppo/policy/advantages" | "ppo/policy/ratio" | "objective/logprobs" | "objective/ref_logprobs" => {
                    assert!((a - b).abs() <= relative * b.abs().max(1.0), "{what} {key}: {a} != {b}");
                }
                _ => assert_close(&format!("{what} {key}"), *a, b, relative),
            }
        }
    }
}
