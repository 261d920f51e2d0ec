//! PEFT folders: configurations of every version, the modules they select, reading and writing weights, merging as in PEFT.

use crate::support::{fixtures, flat, golden, max_abs_diff, shared_data};
use detox_lab::Error;
use detox_lab::io::adapter::{Module, PeftAdapter};
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::checkpoint::weights;
use detox_lab::io::disk::Folder;
use detox_lab::io::{ByteSource, Memory};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

fn fixture(name: &str) -> Folder {
    Folder::open(fixtures().join(name)).unwrap()
}

fn parse(value: &Value) -> Result<AdapterConfig, Error> {
    AdapterConfig::parse(value.to_string().as_bytes(), "adapter_config.json")
}

/// A LoRA configuration with these keys changed.
fn config(changes: Value) -> AdapterConfig {
    parse(&changed(changes)).unwrap()
}

fn changed(changes: Value) -> Value {
    let mut value = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", "v"]});
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    value
}

/// The linear modules of a T5 checkpoint, from its weights.
fn linear_modules(weights: &HashMap<String, candle_core::Tensor>) -> Vec<Module> {
    let linear = |name: &&String| {
        let table =
            name.contains("relative_attention_bias") || name.contains("shared") || name.contains("embed_tokens");
        !table && weights[*name].rank() == 2
    };
    let module = |name: &String| {
        let dims = weights[name].dims();
        Module { name: name.strip_suffix(".weight").unwrap().to_string(), in_dim: dims[1], out_dim: dims[0] }
    };
    weights.keys().filter(linear).map(module).collect()
}

#[test]
#[ignore = "needs ../shared/data"]
fn configurations_of_every_peft_version_parse_and_keep_their_keys() {
    let shared = shared_data();
    let mut seen = 0;
    for entry in std::fs::read_dir(shared.join("peft-configs")).unwrap() {
        let folder = Folder::open(entry.unwrap().path()).unwrap();
        let bytes = folder.read("adapter_config.json").unwrap();
        let config = AdapterConfig::parse(&bytes, &folder.path("adapter_config.json")).unwrap();
        assert_eq!(config.bias, "none");
        assert!([8, 16, 32].contains(&config.r));

        let before: Value = serde_json::from_slice(&bytes).unwrap();
        let after: Value = serde_json::from_str(&config.to_json()).unwrap();
        let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&before), keys(&after), "the same keys in the same order");
        if folder.name().contains("modules-to-save") {
            let message = config.check_supported().unwrap_err().to_string();
            assert!(message.contains(r#"modules_to_save ["classifier","score"]"#), "{message}");
        } else {
            config.check_supported().unwrap();
            assert_eq!(before, after);
            let written = config.to_json();
            assert_eq!(written.as_bytes(), bytes, "{}: byte for byte", folder.name());
        }
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
#[ignore = "needs ../shared/data"]
fn a_target_without_modules_is_a_warning() {
    let shared = shared_data();
    let folder = Folder::open(shared.join("peft-configs/flan-t5-base-r32-bad-target-w")).unwrap();
    let config = AdapterConfig::parse(&folder.read("adapter_config.json").unwrap(), "a.json").unwrap();
    let warnings = config.check_targets(&["encoder.block.0.layer.0.SelfAttention.q", "lm_head"]).unwrap();
    assert_eq!(warnings, [r#"a.json: no module has the name "w" (target_modules)"#]);
    let message = config.check_targets(&["encoder.block.0.layer.0.SelfAttention.wq"]).unwrap_err().to_string();
    assert!(message.contains(r#"target_modules ["q","w"] match no linear module"#), "{message}");
}

#[test]
fn targets_are_peft_s() {
    const Q0: &str = "encoder.block.0.layer.0.SelfAttention.q";
    const Q1: &str = "decoder.block.1.layer.1.EncDecAttention.q";
    let cases = [
        (json!({}), Q0, true),
        (json!({}), "q", true),
        (json!({}), "encoder.block.0.layer.0.SelfAttention.k", false),
        (json!({}), "encoder.seq", false), // ends with q, but not after a dot
        (json!({"target_modules": null}), Q0, true),
        (json!({"target_modules": ["SelfAttention.q"]}), Q0, true),
        (json!({"target_modules": ["SelfAttention.q"]}), Q1, false),
        // a text is a regular expression for the whole name
        (json!({"target_modules": r".*\.(q|v)"}), Q0, true),
        (json!({"target_modules": r"encoder.*\.q"}), Q1, false),
        (json!({"target_modules": "q"}), Q0, false),
        (json!({"target_modules": r"(?!decoder).*\.q"}), Q0, true), // look-around, as in Python
        (json!({"target_modules": r"(?!decoder).*\.q"}), Q1, false),
        (json!({"target_modules": "q|decoder"}), "q2", false),
        (json!({"target_modules": "all-linear"}), Q0, true),
        (json!({"target_modules": "ALL-LINEAR"}), Q0, true),
        (json!({"target_modules": "all-linear"}), "lm_head", false),
        (json!({"exclude_modules": ["q"]}), Q0, false),
        (json!({"exclude_modules": r"decoder\..*"}), Q1, false),
        (json!({"exclude_modules": r"decoder\..*"}), Q0, true),
        (json!({"exclude_modules": []}), Q0, true),
        // without a pattern PEFT uses the last number before a dot: T5's sub-layer, not its block
        (json!({"layers_to_transform": [1]}), Q0, false),
        (json!({"layers_to_transform": [1]}), Q1, true),
        (json!({"layers_to_transform": 0, "layers_pattern": "block"}), Q0, true),
        (json!({"layers_to_transform": 0, "layers_pattern": ["block"]}), Q1, false),
        (json!({"layers_to_transform": [0, 1], "layers_pattern": ["stage", "block"]}), Q1, true),
        (json!({"layers_to_transform": [0], "layers_pattern": "stage"}), Q0, false),
        (json!({"layers_to_transform": []}), Q1, true),
        // PEFT 0.20 and later use the first number: the block
        (json!({"layers_to_transform": [0], "peft_version": "0.21.2"}), Q0, true),
        (json!({"layers_to_transform": [0], "peft_version": "0.20.1.dev0"}), Q1, false),
        (json!({"layers_to_transform": [1], "peft_version": "1.0"}), Q1, true),
        (json!({"layers_to_transform": [0], "peft_version": "0.19.1"}), Q0, true),
        (json!({"layers_to_transform": [0], "peft_version": "0.19.1"}), Q1, false),
        (json!({"layers_to_transform": [1], "peft_version": "0.19.1"}), Q1, true),
        (json!({"layers_to_transform": [0], "layers_pattern": "block", "peft_version": "0.20.0"}), Q0, true),
        (json!({"layers_to_transform": [0], "layers_pattern": ["layer"], "peft_version": "0.20.0"}), Q0, true),
        (json!({"layers_to_transform": [0], "layers_pattern": ["layer"], "peft_version": "0.20.0"}), Q1, false),
        (json!({"target_modules": [Q1], "layers_to_transform": [7]}), Q1, true), // a full name is selected in any layer
    ];
    for (changes, module, expected) in cases {
        assert_eq!(config(changes.clone()).targets(module), expected, "{changes} {module}");
    }
}

#[test]
fn ranks_and_scales_are_peft_s() {
    let golden: Value = serde_json::from_slice(&std::fs::read(fixtures().join("lora.json")).unwrap()).unwrap();
    for name in ["lora_rs", "lora_pattern"] {
        let adapter = PeftAdapter::read(&fixture(name)).unwrap();
        let scales = golden[format!("{name}_scaling")].as_object().unwrap();
        let ranks = golden[format!("{name}_ranks")].as_object().unwrap();
        assert_eq!(adapter.modules().len(), scales.len());
        for (module, scale) in scales {
            assert!(adapter.config.targets(module), "{module}");
            assert!((adapter.config.scale_for(module) - scale.as_f64().unwrap()).abs() < 1e-12, "{name} {module}");
            assert_eq!(adapter.config.rank_for(module) as u64, ranks[module].as_u64().unwrap(), "{name} {module}");
        }
    }
    // patterns are regular expressions too, and the first match counts
    let c = config(json!({"rank_pattern": {r"block\.\d+\..*q": 2, "q": 3}, "alpha_pattern": {"^q": 5.5}}));
    assert_eq!(c.rank_for("encoder.block.11.layer.0.SelfAttention.q"), 2);
    assert_eq!(c.rank_for("q"), 3);
    assert_eq!(c.rank_for("v"), 4);
    assert_eq!(c.scale_for("q"), 5.5 / 3.0);
}

#[test]
fn bad_configurations_are_named() {
    let cases = [
        (json!({"peft_type": "IA3"}), "peft_type is \"IA3\""),
        (json!({"r": 0}), "r is 0"),
        (json!({"r": "many"}), "r is \"many\""),
        (json!({"lora_alpha": "x"}), "lora_alpha is \"x\""),
        (json!({"lora_dropout": 1.5}), "lora_dropout is 1.5"),
        (json!({"target_modules": "(q"}), "target_modules: "),
        (json!({"target_modules": ["q", 3]}), "target_modules is "),
        (json!({"rank_pattern": {"q": -1}}), "rank_pattern is -1"),
        (json!({"layers_to_transform": "x"}), "layers_to_transform is \"x\""),
    ];
    for (changes, expected) in cases {
        let message = parse(&changed(changes)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
    }
    let unsupported = [
        (json!({"use_dora": true}), "use_dora"),
        (json!({"modules_to_save": ["lm_head"]}), r#"modules_to_save ["lm_head"]"#),
        (json!({"init_lora_weights": "pissa_niter_4"}), "pissa_niter_4"),
        (json!({"trainable_token_indices": [1]}), "trainable_token_indices"),
    ];
    for (changes, expected) in unsupported {
        let message = config(changes).check_supported().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
    }
    assert!(AdapterConfig::parse(b"[]", "x").is_err());
    assert!(AdapterConfig::parse(b"{", "x").is_err());
}

#[test]
fn a_new_configuration_has_the_given_values() {
    let config = AdapterConfig::new(32, 32.0, 0.05, &["v", "q"], "google/flan-t5-base").unwrap();
    let json: Value = serde_json::from_str(&config.to_json()).unwrap();
    let expected = json!({
        "base_model_name_or_path": "google/flan-t5-base", "bias": "none", "fan_in_fan_out": false,
        "inference_mode": true, "init_lora_weights": true, "lora_alpha": 32, "lora_dropout": 0.05,
        "modules_to_save": null, "peft_type": "LORA", "r": 32, "target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM",
    });
    assert_eq!(json, expected);
    let pinned = AdapterConfig::new(32, 32.0, 0.05, &["v", "q"], "google/flan-t5-base@0f1a2b").unwrap();
    let json: Value = serde_json::from_str(&pinned.to_json()).unwrap();
    assert_eq!([&json["base_model_name_or_path"], &json["revision"]], ["google/flan-t5-base", "0f1a2b"]);
    let half = config.with("lora_alpha", json!(0.5)).unwrap();
    assert_eq!(half.scale_for("q"), 0.5 / 32.0);
    assert!(config.with("r", json!(-1)).is_err());
}

#[test]
fn an_adapter_written_and_read_is_the_same() {
    for name in ["lora_rs", "lora_pattern"] {
        let adapter = PeftAdapter::read(&fixture(name)).unwrap();
        let files = adapter.to_files().unwrap();
        assert_eq!(files["adapter_config.json"], fixture(name).read("adapter_config.json").unwrap());
        assert_eq!(files["adapter_model.safetensors"], fixture(name).read("adapter_model.safetensors").unwrap());
        let again = PeftAdapter::read(&Memory::new("again", files)).unwrap();
        assert_eq!(again.modules(), adapter.modules());
    }
}

#[test]
fn the_old_form_is_the_same_adapter() {
    let new = Folder::open(golden().join("adapter")).unwrap();
    let file = |name: &str| (name.to_string(), new.read(name).unwrap());
    let old = BTreeMap::from([file("adapter_config.json"), file("adapter_model.bin")]);
    let (old, new) = (PeftAdapter::read(&Memory::new("old", old)).unwrap(), PeftAdapter::read(&new).unwrap());
    assert_eq!(old.to_files().unwrap(), new.to_files().unwrap());
}

#[test]
fn a_live_model_s_names_are_accepted() {
    let mut adapter = PeftAdapter::read(&fixture("lora_rs")).unwrap();
    let expected = adapter.to_files().unwrap();
    adapter.tensors = adapter.tensors.into_iter().map(|(n, t)| (n.replace(".weight", ".default.weight"), t)).collect();
    let live = Memory::new("live", adapter.to_files().unwrap());
    assert_eq!(PeftAdapter::read(&live).unwrap().to_files().unwrap(), expected);
}

#[test]
fn names_that_a_wrapper_changed_are_the_same_adapter() {
    let adapter = PeftAdapter::read(&fixture("lora_rs")).unwrap();
    let expected = adapter.to_files().unwrap();
    let written = |name: &dyn Fn(&str) -> String| {
        let tensors = adapter.tensors.iter().map(|(n, t)| (name(n), t.clone())).collect();
        PeftAdapter::read(&Memory::new("x", PeftAdapter { tensors, ..adapter.clone() }.to_files().unwrap()))
    };
    let front = "base_model.model.";
    let names: [&dyn Fn(&str) -> String; 6] = [
        &|n| n.replacen(front, "", 1),
        &|n| format!("{front}{n}"),
        &|n| format!("pretrained_model.{n}"),
        &|n| format!("module._orig_mod.{n}"),
        &|n| n.replace(".weight", ".detox.weight"),
        &|n| n.replace("encoder.", "encoder._orig_mod."),
    ];
    for name in names {
        assert_eq!(written(name).unwrap().to_files().unwrap(), expected);
    }
    // the same message each time
    for _ in 0..3 {
        let message = written(&|n| format!("{n}.x")).unwrap_err().to_string();
        let first = adapter.tensors.keys().next().unwrap();
        assert!(message.contains(&format!("tensor {first}.x is not LoRA's A or B")), "{message}");
    }
}

#[test]
fn adapters_that_cannot_be_used_say_what_to_do() {
    let adapter = PeftAdapter::read(&fixture("lora_rs")).unwrap();
    let (a, t) = adapter.tensors.iter().next().map(|(n, t)| (n.clone(), t.clone())).unwrap();
    let with = |more: &[&str]| {
        let mut changed = adapter.clone();
        changed.tensors.extend(more.iter().map(|name| (name.to_string(), t.clone())));
        PeftAdapter::read(&Memory::new("x", changed.to_files().unwrap()))
    };
    let empty = PeftAdapter { tensors: BTreeMap::new(), ..adapter.clone() };
    let message = PeftAdapter::read(&Memory::new("x", empty.to_files().unwrap())).unwrap_err().to_string();
    assert!(message.contains("x/adapter_model.safetensors: no tensors in it"), "{message}");
    let message = with(&[&a.replace(".weight", ".other.weight")]).unwrap_err().to_string();
    assert!(message.contains("adapters for the same layer") && message.contains("selected_adapters"), "{message}");
    let message = with(&["base_model.model.shared.lora_embedding_A"]).unwrap_err().to_string();
    assert!(message.contains("adapts embeddings") && message.contains("merge"), "{message}");
    let message = with(&["base_model.model.encoder.q.base_layer.weight"]).unwrap_err().to_string();
    assert!(message.contains("to the base model") && message.contains("save_pretrained"), "{message}");
    assert_eq!(with(&["v_head.summary.weight"]).unwrap().modules(), adapter.modules());

    let base = linear_modules(&weights::load(&fixture("t5_sharded")).unwrap());
    let base: Vec<Module> = base.into_iter().filter(|m| m.name != "lm_head").collect();
    let head = with(&["base_model.model.lm_head.lora_A.weight", "base_model.model.lm_head.lora_B.weight"]).unwrap();
    let message = head.check(&base).unwrap_err().to_string();
    assert!(message.contains("the adapter changes lm_head") && message.contains("merge"), "{message}");
}

#[test]
fn tensors_that_are_not_lora_are_named() {
    let mut adapter = PeftAdapter::read(&fixture("lora_rs")).unwrap();
    let tensor = adapter.tensors.values().next().unwrap().clone();
    adapter.tensors.insert("base_model.model.lm_head.weight".to_string(), tensor);
    let message = PeftAdapter::read(&Memory::new("x", adapter.to_files().unwrap())).unwrap_err().to_string();
    assert!(message.contains("tensor base_model.model.lm_head.weight is not LoRA's"), "{message}");

    let only_config = BTreeMap::from([("adapter_config.json".to_string(), adapter.config.to_json().into_bytes())]);
    let message = PeftAdapter::read(&Memory::new("x", only_config)).unwrap_err().to_string();
    assert!(message.contains("no adapter weights"), "{message}");
    assert!(PeftAdapter::read(&Memory::default()).unwrap_err().to_string().contains("no such file"));
}

#[test]
fn an_adapter_for_another_base_is_refused() {
    let base = linear_modules(&weights::load(&fixture("t5_sharded")).unwrap());
    for name in ["lora_rs", "lora_pattern"] {
        let adapter = PeftAdapter::read(&fixture(name)).unwrap();
        assert_eq!(adapter.check(&base).unwrap(), [""; 0]);
        let wider: Vec<Module> = base.iter().map(|m| Module { in_dim: m.in_dim + 8, ..m.clone() }).collect();
        let message = adapter.check(&wider).unwrap_err().to_string();
        assert!(
            message.contains("an adapter for another base model") && message.contains("the base model needs"),
            "{message}"
        );
        assert!(message.contains("more") && message.contains("t5_sharded"), "{message}");

        let shallower: Vec<Module> = base.iter().filter(|m| !m.name.starts_with("decoder.block.2")).cloned().collect();
        let message = adapter.check(&shallower).unwrap_err().to_string();
        assert!(message.contains("has no layer in the base model"), "{message}");

        let mut partial = adapter.clone();
        let lost = partial.tensors.keys().next().unwrap().clone();
        partial.tensors.remove(&lost);
        let message = partial.check(&base).unwrap_err().to_string();
        assert!(message.contains(&format!("{lost} is missing")), "{message}");
    }
}

#[test]
fn merging_equals_peft() {
    let golden: Value = serde_json::from_slice(&std::fs::read(fixtures().join("lora.json")).unwrap()).unwrap();
    let base = weights::load(&fixture("t5_sharded")).unwrap();
    for name in ["lora_rs", "lora_pattern"] {
        let adapter = PeftAdapter::read(&fixture(name)).unwrap();
        let mut merged = base.clone();
        adapter.merge(&mut merged).unwrap();
        for (tensor, rows) in golden[format!("{name}_merged_weights")].as_object().unwrap() {
            let rows: Vec<Vec<f32>> = serde_json::from_value(rows.clone()).unwrap();
            let ours = merged[tensor].narrow(0, 0, rows.len()).unwrap();
            let diff = max_abs_diff(&flat(&ours), &rows.concat());
            assert!(diff < 1e-6, "{name} {tensor}: {diff}");
        }
        let changed = base.iter().filter(|(n, t)| flat(t) != flat(&merged[*n])).count();
        assert_eq!(changed, adapter.modules().len(), "only the adapted modules change");
    }
}

#[test]
fn a_failed_merge_changes_nothing() {
    let adapter = PeftAdapter::read(&fixture("lora_pattern")).unwrap();
    let base = weights::load(&fixture("t5_sharded")).unwrap();
    let unchanged = |tried: &HashMap<String, candle_core::Tensor>| tried.iter().all(|(n, t)| flat(t) == flat(&base[n]));

    let mut tried = base.clone();
    tried.remove("decoder.block.0.layer.0.SelfAttention.v.weight");
    let message = adapter.merge(&mut tried).unwrap_err().to_string();
    assert!(message.contains("this one has no decoder.block.0.layer.0.SelfAttention.v.weight"), "{message}");
    assert!(unchanged(&tried));

    let mut bad = adapter.clone();
    let (name, tensor) = bad.tensors.iter().next_back().map(|(n, t)| (n.clone(), t.clone())).unwrap();
    bad.tensors.insert(name, (tensor * f64::NAN).unwrap());
    let mut tried = base.clone();
    let message = bad.merge(&mut tried).unwrap_err().to_string();
    assert!(message.contains("not finite"), "{message}");
    assert!(unchanged(&tried));

    let mut other = base.clone();
    let name = "encoder.block.0.layer.0.SelfAttention.q.weight";
    other.insert(
        name.to_string(),
        candle_core::Tensor::zeros((3, 3), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap(),
    );
    assert!(adapter.merge(&mut other).unwrap_err().to_string().contains("another base model"));
}
