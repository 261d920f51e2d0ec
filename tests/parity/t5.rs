//! T5 against transformers: hidden states, logits and values; tied and untied, padded, packed and cached.

use crate::support::{fixtures, flat, golden, max_abs_diff, models};
use candle_core::{Device, IndexOp, Tensor};
use detox_lab::model::generate::{Generated, Prompt, Sampling, generate};
use detox_lab::model::policy::{Given, INITIAL, POLICY, Policy, TrainablePolicy};
use detox_lab::model::t5::{Pass, T5};
use detox_lab::nn::attention::Buckets;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, block_on};
use serde_json::Value;
use std::path::Path;

pub fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

pub fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

pub fn rows(v: &Value) -> Vec<Vec<u32>> {
    v.as_array().unwrap().iter().map(ids).collect()
}

fn numbers(v: &Value) -> Vec<f32> {
    match v {
        Value::Array(a) => a.iter().flat_map(numbers).collect(),
        v => vec![v.as_f64().unwrap() as f32],
    }
}

/// A padded row without its padding.
fn unpadded(ids: &Value, mask: &Value) -> Vec<Vec<u32>> {
    let keep = |(row, mask): (Vec<u32>, Vec<u32>)| {
        row.into_iter().zip(mask).filter(|(_, m)| *m == 1).map(|(i, _)| i).collect()
    };
    rows(ids).into_iter().zip(rows(mask)).map(keep).collect()
}

/// Hidden states and logits of every valid decoder position, by row.
pub fn forward(t5: &T5, queries: &[Vec<u32>], responses: &[Vec<u32>], pass: Pass<'_>) -> Vec<(Tensor, Tensor, Tensor)> {
    let slices = |rows: &[Vec<u32>]| rows.to_vec();
    let (q, r) = (slices(queries), slices(responses));
    let q: Vec<&[u32]> = q.iter().map(Vec::as_slice).collect();
    let r: Vec<&[u32]> = r.iter().map(Vec::as_slice).collect();
    let encoded = t5.encode(&q, pass).unwrap();
    let valid: Vec<usize> = r.iter().map(|x| x.len()).collect();
    let decoded = t5.decode(&r, &valid, &encoded, pass).unwrap();
    let logits = t5.head_input(&decoded.hidden).unwrap().matmul(&t5.head().to_f32().unwrap().t().unwrap()).unwrap();
    let part = |t: &Tensor, (at, n): (usize, usize)| t.narrow(0, at, n).unwrap();
    (0..q.len())
        .map(|i| {
            (
                part(&encoded.hidden, encoded.spans[i]),
                part(&decoded.hidden, decoded.spans[i]),
                part(&logits, decoded.spans[i]),
            )
        })
        .collect()
}

#[test]
fn position_buckets_equal_transformers() {
    let golden = json(&golden().join("relative_buckets.json"));
    for (key, bidirectional) in [("bidirectional_encoder", true), ("causal_decoder", false)] {
        let buckets = Buckets { count: 32, max_distance: 128, bidirectional };
        let ours: Vec<u32> = (-300..=300).map(|r| buckets.of(r) as u32).collect();
        assert_eq!(ours, ids(&golden[key]), "{key}");
    }
}

#[test]
fn hidden_states_logits_and_values_equal_transformers() {
    let golden = golden();
    let policy = models::golden_policy(&golden);
    let meta = json(&golden.join("t5_forward.json"));
    let want = models::tensors(&golden.join("t5_forward.safetensors"));
    let (queries, responses) = (rows(&meta["queries"]), rows(&meta["responses"]));
    for (tag, adapter) in [("policy.padded", Some(POLICY)), ("base.padded", None)] {
        let pass = Pass { lora: policy.adapter(adapter).unwrap(), dropout: None };
        for (i, (encoded, hidden, logits)) in forward(&policy.t5, &queries, &responses, pass).iter().enumerate() {
            for (name, ours, n) in [
                ("encoder_last_hidden", encoded, queries[i].len()),
                ("decoder_last_hidden", hidden, responses[i].len()),
                ("logits", logits, responses[i].len()),
            ] {
                let want = want[&format!("{tag}.{name}")].i((i, ..n)).unwrap();
                let diff = max_abs_diff(&flat(ours), &flat(&want));
                assert!(diff < 3e-5, "{tag}.{name} row {i}: {diff:e}");
            }
        }
    }
    let (query, response) = (ids(&meta["long_query"]), ids(&meta["long_response"]));
    let pass = Pass { lora: policy.adapter(Some(POLICY)).unwrap(), dropout: None };
    let (_, _, logits) = &forward(&policy.t5, &[query], &[response], pass)[0];
    let diff = max_abs_diff(&flat(logits), &flat(&want["policy.long.logits"]));
    assert!(diff < 1e-4, "every bucket, distances above 128: {diff:e}");
}

#[test]
fn padded_columns_equal_transformers_too() {
    let golden = golden();
    let policy = models::golden_policy(&golden);
    let meta = json(&golden.join("t5_forward.json"));
    let want = models::tensors(&golden.join("t5_forward.safetensors"));
    let (queries, responses) = (rows(&meta["queries"]), rows(&meta["responses"]));
    let batch: Vec<(&[u32], &[u32])> =
        queries.iter().zip(&responses).map(|(q, r)| (q.as_slice(), r.as_slice())).collect();
    let padded = rows(&meta["decoder_input_ids"]);
    let (width, vocab) = (padded[0].len(), 128);
    let logits = flat(&want["policy.padded.logits"]);
    let values = flat(&want["policy.padded.values"]);
    let full = policy.evaluate(&Given { padded: true, ..Given::new(&batch, width, Some(POLICY)) }, None).unwrap();
    let bare = policy.evaluate(&Given::new(&batch, width, Some(POLICY)), None).unwrap();
    let (full_lp, bare_lp, full_v) = (flat(&full.logprobs), flat(&bare.logprobs), flat(&full.values));
    for i in 0..batch.len() {
        for k in 0..width - 1 {
            let z = &logits[(i * width + k) * vocab..][..vocab];
            let lse = z.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln() as f32;
            let (at, want) = (i * (width - 1) + k, z[padded[i][k + 1] as usize] - lse);
            assert!((full_lp[at] - want).abs() < 3e-5, "row {i} column {k}");
            assert!((full_v[at] - values[i * width + k]).abs() < 3e-5, "value of row {i} column {k}");
            let unpadded = if k + 1 < responses[i].len() { want } else { 0.0 };
            assert!((bare_lp[at] - unpadded).abs() < 3e-5, "unpadded row {i} column {k}");
        }
    }
}

#[test]
fn other_shapes_equal_transformers() {
    let tied = fixtures().join("t5_tied");
    let sharded = fixtures().join("t5_sharded");
    for (folder, file) in [(tied, "t5_tied.json"), (sharded, "t5_sharded.json")] {
        let want = json(&fixtures().join(file));
        let inputs = &want["inputs"];
        let queries = unpadded(&inputs["input_ids"], &inputs["attention_mask"]);
        let responses = unpadded(&inputs["decoder_input_ids"], &inputs["decoder_attention_mask"]);
        let (t5, _) = models::t5(&folder, false);
        for (i, (_, _, logits)) in forward(&t5, &queries, &responses, Pass::default()).iter().enumerate() {
            let n = responses[i].len();
            let want = numbers(&Value::Array(want["logits"][i].as_array().unwrap()[..n].to_vec()));
            let diff = max_abs_diff(&flat(logits), &want);
            assert!(diff < 3e-5, "{file} row {i}: {diff:e}");
        }
    }
    let golden = golden();
    let (t5, _) = models::t5(&golden.join("policy_base_nonsquare"), false);
    let meta = json(&golden.join("t5_forward.json"));
    let want = &models::tensors(&golden.join("t5_forward_nonsquare.safetensors"))["logits"];
    let (queries, responses) = (rows(&meta["queries"]), rows(&meta["responses"]));
    for (i, (_, _, logits)) in forward(&t5, &queries, &responses, Pass::default()).iter().enumerate() {
        let diff = max_abs_diff(&flat(logits), &flat(&want.i((i, ..responses[i].len())).unwrap()));
        assert!(diff < 3e-5, "heads · d_kv ≠ d_model, row {i}: {diff:e}");
    }
}

fn run(
    policy: &Policy,
    adapter: Option<&str>,
    queries: &[Vec<u32>],
    sampling: &Sampling,
    new: usize,
) -> Vec<Generated> {
    let prompts = (queries.iter().enumerate())
        .map(|(i, ids)| Prompt { ids, max_new_tokens: new, rng: Rng::new(3, Purpose::Sampling, 0, i as u64) })
        .collect();
    block_on(generate(policy, adapter, prompts, sampling, &mut NonStop)).unwrap()
}

#[test]
fn greedy_ids_equal_transformers() {
    let golden = golden();
    let policy = models::golden_policy(&golden);
    let meta = json(&golden.join("t5_forward.json"));
    let queries = rows(&meta["queries"]);
    let runs = &meta["greedy_generate_max_new_tokens_24"];
    for (key, min_length) in [("greedy", 0), ("greedy_min5", 5), ("greedy_min12", 12)] {
        for (who, adapter) in [("single", Some(POLICY)), ("base_single", None)] {
            let sampling = Sampling { min_length, ..Sampling::greedy() };
            let ours: Vec<Vec<u32>> =
                run(&policy, adapter, &queries, &sampling, 24).into_iter().map(|g| g.ids).collect();
            assert_eq!(ours, rows(&runs[key][who]), "{key} {who}");
        }
    }
}

#[test]
fn filtered_probabilities_equal_transformers() {
    let want = json(&fixtures().join("generate.json"));
    let logits: Vec<Vec<f32>> = want["filter_logits"].as_array().unwrap().iter().map(numbers).collect();
    for case in want["filters"].as_array().unwrap() {
        let c = &case["config"];
        let sampling = Sampling {
            greedy: false,
            temperature: c["temperature"].as_f64().unwrap_or(1.0) as f32,
            top_k: c["top_k"].as_u64().unwrap_or(0) as usize,
            top_p: c["top_p"].as_f64().unwrap_or(1.0) as f32,
            min_length: 0,
        };
        for (i, logits) in logits.iter().enumerate() {
            let (mut ours, mut theirs) = (sampling.probabilities(logits, 1, 1), numbers(&case["probs"][i]));
            if ids(&case["ambiguous_rows"]).contains(&(i as u32)) {
                ours.sort_by(f32::total_cmp); // torch's unstable sort may order ties in any way
                theirs.sort_by(f32::total_cmp);
            }
            let diff = max_abs_diff(&ours, &theirs);
            assert!(diff < 1e-6, "{c} row {i}: {diff:e}");
        }
    }
}

#[test]
fn a_rows_tokens_do_not_depend_on_other_rows() {
    let policy = models::bare_policy(&fixtures().join("t5_sharded"));
    let queries = rows(&json(&fixtures().join("generate.json"))["queries"]);
    let sampling = Sampling { temperature: 1.3, ..Sampling::default() };
    let together = run(&policy, None, &queries, &sampling, 20);
    for (i, query) in queries.iter().enumerate() {
        let prompt = Prompt { ids: query, max_new_tokens: 20, rng: Rng::new(3, Purpose::Sampling, 0, i as u64) };
        let alone = block_on(generate(&policy, None, vec![prompt], &sampling, &mut NonStop)).unwrap();
        assert_eq!(alone[0].ids, together[i].ids, "row {i}");
    }
    assert!(together.iter().any(|g| g.ids.len() != together[0].ids.len()), "rows should end at different lengths");
}

#[test]
fn generation_returns_the_numbers_of_teacher_forcing() {
    let policy = models::golden_policy(&golden());
    let queries = rows(&json(&golden().join("t5_forward.json"))["queries"]);
    for generated in run(&policy, Some(POLICY), &queries, &Sampling { top_k: 7, ..Sampling::default() }, 30) {
        assert_eq!(generated.logprobs.len(), generated.ids.len() - 1);
    }
    let out = run(&policy, Some(POLICY), &queries, &Sampling { top_k: 7, ..Sampling::default() }, 30);
    for (query, g) in queries.iter().zip(&out) {
        let scores = policy.evaluate(&Given::new(&[(query, &g.ids)], g.ids.len(), Some(POLICY)), None).unwrap();
        for (name, cached, forced) in [
            ("log-prob", &g.logprobs, flat(&scores.logprobs)),
            ("value", &g.values, flat(&scores.values)),
            ("entropy", &g.entropy, flat(&scores.entropy)),
        ] {
            let diff = max_abs_diff(cached, &forced);
            assert!(diff < 2e-5, "{name}: {diff:e}");
        }
    }
}

#[test]
fn every_trainable_tensor_gets_a_gradient_that_finite_differences_confirm() {
    let golden = golden();
    let policy = models::golden_policy(&golden);
    let meta = json(&golden.join("t5_forward.json"));
    let (queries, responses) = (rows(&meta["queries"]), rows(&meta["responses"]));
    let batch: Vec<(&[u32], &[u32])> =
        queries.iter().zip(&responses).map(|(q, r)| (q.as_slice(), r.as_slice())).collect();
    let objective = || crate::support::objective(&policy, &batch, 11);
    let base = [flat(&policy.t5.head().to_f32().unwrap())];
    let grads = crate::support::objective_gradients(&policy, &batch, 11);
    let vars = policy.trainable();
    assert_eq!(vars.len(), 2 * 12 + 2, "q and v of six attention layers, A and B, and the value head");
    for (name, var) in &vars {
        let g = grads.get(var).unwrap_or_else(|| panic!("{name} got no gradient"));
        let g = flat(g);
        let (i, largest) =
            g.iter().enumerate().fold((0, 0f32), |m, (i, x)| if x.abs() > m.1 { (i, x.abs()) } else { m });
        assert!(largest > 0.0, "{name}'s gradient is zero");
        let before = flat(var.as_tensor());
        let at = |delta: f32| {
            let mut moved = before.clone();
            moved[i] += delta;
            var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
            objective()
        };
        let h = 1e-2;
        let slope = (at(h) - at(-h)) / f64::from(2.0 * h);
        at(0.0);
        let error = (slope - f64::from(g[i])).abs() / f64::from(largest).max(1e-3);
        assert!(error < 2e-2, "{name}[{i}]: backward {} finite difference {slope}", g[i]);
    }
    assert_eq!(base[0], flat(&policy.t5.head().to_f32().unwrap()), "the frozen head moved");
}

#[test]
fn all_parameters_train_too_and_finite_differences_confirm_them() {
    for folder in ["t5_sharded", "t5_tied"] {
        let (t5, params) = models::t5(&fixtures().join(folder), true);
        let want = json(&fixtures().join(format!("{folder}.json")));
        let inputs = &want["inputs"];
        let queries = unpadded(&inputs["input_ids"], &inputs["attention_mask"]);
        let responses = unpadded(&inputs["decoder_input_ids"], &inputs["decoder_attention_mask"]);
        let q: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
        let r: Vec<&[u32]> = responses.iter().map(Vec::as_slice).collect();
        let valid: Vec<usize> = r.iter().map(|x| x.len()).collect();
        let targets: Vec<u32> = (0..valid.iter().sum::<usize>()).map(|i| (i * 7 % 60) as u32).collect();
        let loss = || {
            let encoded = t5.encode(&q, Pass::default()).unwrap();
            let decoded = t5.decode(&r, &valid, &encoded, Pass::default()).unwrap();
            let h = t5.head_input(&decoded.hidden).unwrap();
            let out = detox_lab::nn::logprobs::chosen_logprobs(&h, t5.head(), &targets).unwrap();
            (out.narrow(1, 0, 1).unwrap().mean_all().unwrap() + out.narrow(1, 1, 1).unwrap().mean_all().unwrap())
                .unwrap()
        };
        let grads = crate::support::gradients(loss);
        for (name, var) in params.vars() {
            let g = flat(grads.get(&var).unwrap_or_else(|| panic!("{name} got no gradient")));
            let (i, largest) =
                g.iter().enumerate().fold((0, 0f32), |m, (i, x)| if x.abs() > m.1 { (i, x.abs()) } else { m });
            assert!(largest > 0.0, "{folder} {name}'s gradient is zero");
            let before = flat(var.as_tensor());
            let at = |delta: f32| {
                let mut moved = before.clone();
                moved[i] += delta;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                f64::from(loss().to_scalar::<f32>().unwrap())
            };
            let h = 3e-3;
            let slope = (at(h) - at(-h)) / f64::from(2.0 * h);
            at(0.0);
            let error = (slope - f64::from(g[i])).abs() / f64::from(largest).max(2e-3);
            assert!(error < 5e-2, "{folder} {name}[{i}]: backward {} finite difference {slope}", g[i]);
        }
    }
}

#[test]
fn a_frozen_copy_does_not_change_with_the_policy() {
    let mut policy = models::golden_policy(&golden());
    policy.copy_adapter(POLICY, INITIAL).unwrap();
    let row: (&[u32], &[u32]) = (&[5, 9, 1], &[0, 7, 8, 1]);
    let score = |p: &Policy, name| flat(&p.evaluate(&Given::new(&[row], 4, name), None).unwrap().logprobs);
    let (before, base) = (score(&policy, Some(INITIAL)), score(&policy, None));
    assert_eq!(before, score(&policy, Some(POLICY)));
    for (_, var) in policy.trainable() {
        var.set(&(var.as_tensor() * 1.5).unwrap()).unwrap();
    }
    assert_eq!(before, score(&policy, Some(INITIAL)));
    assert_eq!(base, score(&policy, None));
    assert_ne!(before, score(&policy, Some(POLICY)));
}
