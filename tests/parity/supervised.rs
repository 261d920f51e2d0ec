//! Supervised training against transformers and torch: losses, gradients of all parameters and AdamW updates of small T5s and a
//! RoBERTa classifier (tests/fixtures/make_supervised.py); and finite differences with dropout.

use crate::support::{fixtures, flat, gradients, models};
use candle_core::{Tensor, Var};
use detox_lab::model::roberta::{Roberta, RobertaConfig};
use detox_lab::model::t5::{Pass, T5};
use detox_lab::nn::adam::{Adam, Gradients};
use detox_lab::nn::cross_entropy::smoothed_cross_entropy;
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use serde_json::Value;
use std::cell::RefCell;

/// Absolute tolerance of losses.
const LOSS: f64 = 1e-5;
/// Tolerance of gradients, relative to the largest entry or to the norm.
const GRADIENT: f64 = 1e-4;

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("supervised.json")).unwrap()).unwrap()
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap()
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn rows(v: &Value) -> Vec<Vec<u32>> {
    v.as_array().unwrap().iter().map(ids).collect()
}

/// `[[flat index, value], …]`.
fn entries(v: &Value) -> Vec<(usize, f64)> {
    v.as_array().unwrap().iter().map(|e| (e[0].as_u64().unwrap() as usize, number(&e[1]))).collect()
}

/// Mean label-smoothed loss over all target tokens, teacher forced.
fn loss(t5: &T5, queries: &[Vec<u32>], targets: &[Vec<u32>], smoothing: f32, pass: Pass<'_>) -> Tensor {
    let start = t5.config.decoder_start_token_id;
    let fed: Vec<Vec<u32>> = targets.iter().map(|t| [&[start], &t[..t.len() - 1]].concat()).collect();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let fed: Vec<&[u32]> = fed.iter().map(Vec::as_slice).collect();
    let lengths: Vec<usize> = fed.iter().map(|r| r.len()).collect();
    let encoded = t5.encode(&queries, pass).unwrap();
    let decoded = t5.decode(&fed, &lengths, &encoded, pass).unwrap();
    let hidden = t5.head_input(&decoded.hidden).unwrap();
    smoothed_cross_entropy(&hidden, t5.head(), &targets.concat(), smoothing).unwrap().mean_all().unwrap()
}

fn scalar(t: &Tensor) -> f64 {
    f64::from(t.to_scalar::<f32>().unwrap())
}

/// Checks exactly the parameters of transformers: norm, sum and selected entries.
fn assert_gradients(what: &str, loss: impl FnOnce() -> Tensor, vars: &[(String, Var)], want: &Value) {
    let gradients = Gradients::of(gradients(loss), vars).unwrap();
    let want = want.as_object().unwrap();
    let mut names: Vec<&String> = vars.iter().map(|(name, _)| name).collect();
    let mut wanted: Vec<&String> = want.keys().collect();
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted, "{what}");
    for ((name, _), gradient) in vars.iter().zip(gradients.tensors()) {
        let (want, g) = (&want[name], flat(gradient));
        let wide = || g.iter().map(|x| f64::from(*x));
        let (norm, largest) = (number(&want["norm"]), number(&want["largest"]));
        let ours = wide().map(|x| x * x).sum::<f64>().sqrt();
        // A key's bias changes all scores of a query equally: its gradient is zero except for rounding.
        let floor = 1e-7;
        assert!((ours - norm).abs() <= GRADIENT * norm + floor, "{what} {name}: norm {ours}, not {norm}");
        let (sum, want_sum) = (wide().sum::<f64>(), number(&want["sum"]));
        let slack = GRADIENT * norm + floor;
        assert!((sum - want_sum).abs() <= slack, "{what} {name}: sum {sum}, not {want_sum}");
        for (at, want) in entries(&want["entries"]) {
            let slack = GRADIENT * largest + floor;
            assert!((f64::from(g[at]) - want).abs() <= slack, "{what} {name}[{at}]: {}, not {want}", g[at]);
        }
    }
}

#[test]
fn t5_losses_and_all_gradients_equal_transformers() {
    let golden = golden();
    for name in ["t5_sharded", "t5_tied"] {
        let want = &golden[name];
        let (t5, params) = models::t5(&fixtures().join(name), true);
        let (queries, targets) = (rows(&want["queries"]), rows(&want["targets"]));
        for (smoothing, key) in [(0.0, "loss_unsmoothed"), (0.1, "loss")] {
            let ours = || loss(&t5, &queries, &targets, smoothing, Pass::default());
            let (ours_now, theirs) = (scalar(&ours()), number(&want[key]));
            assert!((ours_now - theirs).abs() < LOSS, "{name} {key}: {ours_now}, not {theirs}");
            if smoothing > 0.0 {
                assert_gradients(name, ours, &params.vars(), &want["gradients"]);
            }
        }
    }
}

#[test]
fn updates_under_a_warm_up_equal_torch() {
    let golden = golden();
    let (want, updates) = (&golden["t5_sharded"], &golden["t5_sharded"]["updates"]);
    let (t5, params) = models::t5(&fixtures().join("t5_sharded"), true);
    let (queries, targets) = (rows(&want["queries"]), rows(&want["targets"]));
    let now = || loss(&t5, &queries, &targets, 0.1, Pass::default());
    let (vars, mut adam) = (params.vars(), Adam::new(0.9, 0.999, 1e-8));
    for (i, factor) in updates["factors"].as_array().unwrap().iter().enumerate() {
        let (ours, theirs) = (scalar(&now()), number(&updates["losses"][i]));
        assert!((ours - theirs).abs() < LOSS, "update {i}: {ours}, not {theirs}");
        let gradients = Gradients::of(gradients(now), &vars).unwrap();
        adam.update(&vars, &gradients, 1.0, number(&updates["lr"]) * number(factor)).unwrap();
    }
    let (ours, theirs) = (scalar(&now()), number(&updates["loss_after"]));
    assert!((ours - theirs).abs() < LOSS, "after the updates: {ours}, not {theirs}");
    for (name, var) in &vars {
        let ours = flat(var.as_tensor());
        for (at, want) in entries(&updates["after"][name]) {
            // parameters have moved by 1.5e-3 at most
            assert!((f64::from(ours[at]) - want).abs() < 2e-6, "{name}[{at}]: {}, not {want}", ours[at]);
        }
    }
}

#[test]
fn a_classifiers_loss_and_all_gradients_equal_transformers() {
    let golden = golden();
    let (want, folder) = (&golden["roberta_small"], fixtures().join("roberta_small"));
    let config = RobertaConfig::from_json(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    let params = Params::trainable(models::model_tensors(&folder));
    let model = Roberta::load(&params, config).unwrap();
    let texts = rows(&want["rows"]);
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let labels = Tensor::new(ids(&want["labels"]), &candle_core::Device::Cpu).unwrap();
    let loss = || candle_nn::loss::cross_entropy(&model.logits(&texts, None).unwrap(), &labels).unwrap();
    let (ours, theirs) = (scalar(&loss()), number(&want["loss"]));
    assert!((ours - theirs).abs() < LOSS, "{ours}, not {theirs}");
    assert_gradients("roberta_small", loss, &params.vars(), &want["gradients"]);
}

/// Moves every parameter by ±h along its gradient: the loss must change by h times the gradient's norm.
#[test]
fn gradients_are_finite_differences_with_dropout_on() {
    let golden = golden();
    for name in ["t5_sharded", "t5_tied"] {
        let (t5, params) = models::t5(&fixtures().join(name), true);
        let (queries, targets) = (rows(&golden[name]["queries"]), rows(&golden[name]["targets"]));
        let now = || {
            let rng = RefCell::new(Rng::new(5, Purpose::Dropout, 0, 0)); // the same masks each time
            loss(&t5, &queries, &targets, 0.1, Pass { lora: None, dropout: Some(&rng) })
        };
        let vars = params.vars();
        let gradients = Gradients::of(gradients(now), &vars).unwrap();
        let plain = scalar(&loss(&t5, &queries, &targets, 0.1, Pass::default()));
        assert!((scalar(&now()) - plain).abs() > 1e-3, "dropout is on");
        for ((path, var), gradient) in vars.iter().zip(gradients.tensors()) {
            let norm = flat(gradient).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-5, "{name} {path}: no gradient");
            let before = var.as_tensor().copy().unwrap();
            let h = 2e-3 * flat(&before).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let at = |h: f64| {
                var.set(&(&before + (gradient * (h / norm)).unwrap()).unwrap()).unwrap();
                let loss = scalar(&now());
                var.set(&before).unwrap();
                loss
            };
            let slope = (at(h) - at(-h)) / (2.0 * h);
            let slack = 0.02 * norm + 2e-6 / h; // for curvature, and rounding of the loss
            assert!((slope - norm).abs() < slack, "{name} {path}: {slope}, not {norm}");
        }
    }
}
