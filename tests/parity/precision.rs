//! Models with frozen matrices in f32, f16, bf16 or q8_0: what each type changes, that all trained tensors get gradients, and
//! that a run keeps its type. `kernels::quantized` tests the formats.

use crate::support;
use crate::support::run::*;
use crate::support::{fixtures, flat, max_abs_diff};
use candle_core::{Device, Tensor};
use detox_lab::io::adapter::PeftAdapter;
use detox_lab::io::disk::Folder;
use detox_lab::kernels::quantized::Compact;
use detox_lab::lab::models::{Actor, Judge, POLICY, Precision, TrainablePolicy};
use detox_lab::lab::responses::token_numbers;
use detox_lab::model::t5::T5;
use detox_lab::nn::params::Params;
use detox_lab::nn::weight::Weight;
use detox_lab::pace::{NonStop, block_on};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const COMPACT: [Precision; 3] = [Precision::F16, Precision::Bf16, Precision::Q8_0];

fn shipped(name: &str) -> Folder {
    Folder::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("static/models/tiny").join(name)).unwrap()
}

/// A policy with frozen weights of this type and a trainable adapter.
fn actor(policy: &Folder, adapter: &Folder, precision: Precision) -> Actor {
    let mut actor = Actor::load_as(policy, precision, 0).unwrap();
    actor.add_adapter(POLICY, &PeftAdapter::read(adapter).unwrap(), true).unwrap();
    actor
}

fn fixture(name: &str) -> Folder {
    Folder::open(fixtures().join(name)).unwrap()
}

/// All matrices of a T5 in memory.
fn held(folder: &Folder, precision: Precision) -> HashMap<String, Weight> {
    let tensors = detox_lab::io::checkpoint::weights::load(folder).unwrap();
    let kind = |name: &str, t: &Tensor| {
        if detox_lab::model::may_be_compact(name, t.dims()) { precision } else { Precision::F32 }
    };
    tensors.into_iter().map(|(name, t)| (name.clone(), Weight::frozen(t.clone(), kind(&name, &t)).unwrap())).collect()
}

/// Dialogues and summaries of the tiny test split.
fn pairs(n: usize) -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/dialogues.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_string();
    rows.filter(|r| r["split"] == "test").take(n).map(|r| (text(&r, "dialogue"), text(&r, "summary"))).collect()
}

#[test]
fn log_probs_and_scores_stay_near_those_of_f32() {
    let (policy, adapter, reward) = (shipped("policy"), shipped("adapter"), shipped("reward"));
    let pairs = pairs(20);
    let logprobs = |precision| -> Vec<f32> {
        let actor = actor(&policy, &adapter, precision);
        let tokenizer = actor.tokenizer().unwrap();
        let row = |(dialogue, summary): &(String, String)| {
            let query = tokenizer.encode(&detox_lab::text::prompt::prompt(dialogue)).unwrap();
            token_numbers(&actor, Some(POLICY), &query, &tokenizer.encode(summary).unwrap()).unwrap().logprobs
        };
        pairs.iter().flat_map(row).collect()
    };
    let scores = |precision| -> Vec<f32> {
        let judge = Judge::load_as(&reward, precision).unwrap();
        let texts: Vec<String> = pairs.iter().map(|(_, summary)| summary.clone()).collect();
        block_on(judge.score(&texts, true, &mut NonStop)).unwrap().iter().map(|s| s.score).collect()
    };
    let (exact_logprobs, exact_scores) = (logprobs(Precision::F32), scores(Precision::F32));
    assert!(exact_logprobs.len() > 300, "{} tokens", exact_logprobs.len());
    let mean = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32;
    // (mean and largest error of a token's log-prob in nats, largest error of a score) for the shipped models, whose logits are
    // sharp, so that the log-probs of improbable tokens have larger errors; the files are f16, so f16 loses nothing
    for (precision, mean_most, most, score_most) in
        [(Precision::F16, 1e-6, 1e-4, 1e-5), (Precision::Bf16, 0.006, 0.15, 0.01), (Precision::Q8_0, 0.016, 0.5, 0.015)]
    {
        let (found, scored) = (logprobs(precision), scores(precision));
        let (mean, largest) = (mean(&found, &exact_logprobs), max_abs_diff(&found, &exact_logprobs));
        let score = max_abs_diff(&scored, &exact_scores);
        let said =
            format!("{precision:?}: log-probs off by {mean:.2e} on average, at most {largest:.2e}; scores {score:.2e}");
        assert!(mean <= mean_most && largest <= most && score <= score_most, "{said}");
        if precision != Precision::F16 {
            assert!(mean > 1e-5, "{said}: was anything rounded?");
        }
    }
}

#[test]
fn a_compact_model_is_the_f32_model_of_its_widened_weights() {
    for folder in ["t5_sharded", "t5_tied", "tiny/policy"] {
        let folder = fixture(folder);
        let config = Actor::load(&folder, 0).unwrap().policy.t5.config;
        for precision in COMPACT {
            let weights = held(&folder, precision);
            let wide = weights.iter().map(|(n, w)| (n.clone(), w.to_f32().unwrap())).collect();
            let (compact, wide) =
                (T5::load(config.clone(), &Params::held(weights)), T5::load(config.clone(), &Params::frozen(wide)));
            let logits = |t5: T5| {
                let encoded = t5.encode(&[&[5, 9, 3, 1], &[7, 1]], Default::default()).unwrap();
                let decoded = t5.decode(&[&[0, 8, 4], &[0, 2]], &[3, 2], &encoded, Default::default()).unwrap();
                let hidden = t5.head_input(&decoded.hidden).unwrap();
                let out = detox_lab::nn::logprobs::chosen_logprobs(&hidden, t5.head(), &[8, 4, 1, 2, 1]).unwrap();
                [flat(&decoded.hidden), flat(&out)].concat()
            };
            let diff = max_abs_diff(&logits(compact.unwrap()), &logits(wide.unwrap()));
            assert!(diff < 2e-5, "{precision:?}: {diff:e}");
        }
    }
}

#[test]
fn bf16_weights_of_transformers_are_kept_bit_for_bit() {
    let folder = fixture("t5_bf16");
    let stored = detox_lab::io::checkpoint::weights::load(&folder).unwrap();
    let mut compact = 0;
    for (name, weight) in held(&folder, Precision::Bf16) {
        compact += usize::from(weight.precision() == Precision::Bf16);
        assert_eq!(flat(&weight.to_f32().unwrap()), flat(&stored[&name]), "{name}");
    }
    assert!(compact > 20, "only {compact} matrices are held as bf16");
}

#[test]
fn blocks_equal_those_of_ggmls_python() {
    let file = fixtures().join("q8_0.safetensors");
    let tensors = support::models::tensors(&file);
    let numbers = flat(&tensors["f32"]);
    let (rows, cols) = tensors["f32"].dims2().unwrap();
    let theirs: Vec<u8> = tensors["q8_0"].flatten_all().unwrap().to_vec1().unwrap();
    let ours = Compact::of(&numbers, rows, cols, Precision::Q8_0).unwrap();
    let blocks = ours.blocks().unwrap();
    assert_eq!(blocks.len() * 34, theirs.len());
    for (i, (ours, theirs)) in blocks.iter().zip(theirs.chunks(34)).enumerate() {
        let bytes: Vec<u8> = ours.d.to_le_bytes().into_iter().chain(ours.qs.map(|q| q as u8)).collect();
        assert_eq!(bytes, theirs, "block {i}");
    }
    let mut wide = vec![0f32; rows * cols];
    ours.widen(0..rows, 0..cols, &mut wide);
    assert_eq!(wide, flat(&tensors["dequantized"]));
}

#[test]
fn gradients_through_every_type_equal_finite_differences() {
    for precision in Precision::ALL {
        let policy = actor(&fixture("tiny/policy"), &fixture("tiny/adapter"), precision).policy;
        let batch: [(&[u32], &[u32]); 2] =
            [(&[5, 99, 230, 17, 1], &[0, 70, 8, 1]), (&[301, 44, 1], &[0, 12, 400, 33, 7])];
        let frozen = flat(&policy.t5.head().to_f32().unwrap());
        let gradients = crate::support::objective_gradients(&policy, &batch, 5);
        let vars = policy.trainable();
        assert!(vars.len() > 10 && vars.iter().any(|(name, _)| name == "v_head.summary.weight"));
        for (name, var) in &vars {
            let g = flat(gradients.get(var).unwrap_or_else(|| panic!("{precision:?}: {name} got no gradient")));
            let (i, largest) =
                g.iter().enumerate().fold((0, 0f32), |m, (i, x)| if x.abs() > m.1 { (i, x.abs()) } else { m });
            assert!(largest > 0.0, "{precision:?}: {name}'s gradient is zero");
            let before = flat(var.as_tensor());
            let at = |delta: f32| {
                let mut moved = before.clone();
                moved[i] += delta;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                crate::support::objective(&policy, &batch, 5)
            };
            let h = 1e-2;
            let slope = (at(h) - at(-h)) / f64::from(2.0 * h);
            at(0.0);
            let error = (slope - f64::from(g[i])).abs() / f64::from(largest).max(1e-3);
            assert!(error < 2e-2, "{precision:?}: {name}[{i}]: backward {} finite difference {slope}", g[i]);
        }
        assert_eq!(frozen, flat(&policy.t5.head().to_f32().unwrap()), "the frozen head moved");
    }
}

/// `config.json` of a run.
fn config(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap()
}

#[test]
fn a_run_keeps_its_type_when_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (short, long) = (dir.path().join("a"), dir.path().join("b"));
    let (settings, models) = (file(dir.path(), "c.json", QUICK), models());
    let start = |out: &PathBuf, steps: &str| {
        let mut args = train_args(&models, text(&settings), steps, text(out));
        args.extend(["--weights", "q8_0"]);
        ok(&args);
    };
    start(&short, "1");
    assert_eq!(config(&short)["weights"], "q8_0");
    ok(&["train", "--resume", text(&short), "--steps", "2"]);
    start(&long, "2");
    let metrics = |run: &Path| std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(&short), metrics(&long));

    let f32 = dir.path().join("f32");
    ok(&train_args(&models, text(&settings), "1", text(&f32)));
    assert_ne!(metrics(&f32).lines().next(), metrics(&long).lines().next(), "q8_0 changed nothing");
    let refused = run(&["train", "--resume", text(&f32), "--weights", "bf16"]);
    assert!(!refused.status.success(), "a resumed run cannot change its kind");

    // A run from before this setting continues in f32.
    let mut old = config(&f32);
    assert!(old.as_object_mut().unwrap().remove("weights").is_some());
    std::fs::write(f32.join("config.json"), old.to_string()).unwrap();
    ok(&["train", "--resume", text(&f32), "--steps", "2"]);
    assert_eq!(config(&f32)["weights"], "f32");
}

#[test]
fn commands_accept_a_type_and_refuse_it_if_everything_is_trained() {
    let models = models();
    let score = |kind: &str| json(&["score", "--json", "--reward", &models[2], "--weights", kind, "calm words"]);
    assert_ne!(score("f32"), score("q8_0"));
    for kind in ["f16", "bf16", "q8_0"] {
        let summary =
            json(&["summarize", "--json", "--policy", &models[0], "--weights", kind, "--max-new-tokens", "4", "A: hi"]);
        assert!(summary["rows"][0]["response_ids"].as_array().unwrap().len() > 1);
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let refused = fails(&[
        "finetune",
        "--full",
        "--policy",
        &models[0],
        "--data",
        &models[3],
        "--weights",
        "bf16",
        "--out",
        text(&out),
    ]);
    assert!(refused.contains("--weights bf16") && refused.contains("trained"), "{refused}");
    assert!(!out.exists(), "nothing is started");
}

#[test]
fn a_weight_too_large_for_f16_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for entry in fixtures().join("tiny/policy").read_dir().unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut tensors = support::models::model_tensors(dir.path());
    let head = &tensors["lm_head.weight"];
    let huge = (head.ones_like().unwrap() * 1e6).unwrap();
    tensors.insert("lm_head.weight".into(), huge);
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors")).unwrap();
    let policy = Folder::open(dir.path()).unwrap();
    let error = Actor::load_as(&policy, Precision::F16, 0).err().unwrap().to_string();
    assert!(error.contains("lm_head.weight") && error.contains("f16") && error.contains("bf16"), "{error}");
    assert!(Actor::load_as(&policy, Precision::Bf16, 0).is_ok());
}
