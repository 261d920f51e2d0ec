//! The speeds the README states: generation, teacher-forced passes and gradients at FLAN-T5's real shapes, on weights
//! drawn at random. `cargo bench --bench parts [-- small|base]` prints medians of three.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use candle_core::{Device, Tensor};
use detox_lab::model::config::T5Config;
use detox_lab::model::generate::{Prompt, Sampling, generate};
use detox_lab::model::policy::{POLICY, Policy, ValueHead};
use detox_lab::model::t5::T5;
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, block_on};
use std::collections::HashMap;
use std::time::Instant;

/// FLAN-T5 of a size with random weights and a rank-32 adapter on q and v.
fn policy(size: &str) -> Policy {
    let (d, ff, layers, heads) = if size == "base" { (768, 2048, 12, 12) } else { (512, 1024, 8, 6) };
    let json = serde_json::json!({
        "model_type": "t5", "vocab_size": 32128, "d_model": d, "d_kv": 64, "d_ff": ff, "num_layers": layers,
        "num_heads": heads, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
    });
    let config = T5Config::from_json("config.json", json.to_string().as_bytes()).unwrap();
    let mut rng = Rng::new(1, Purpose::Init, 0, 0);
    let mut draw = |dims: &[usize], std: f32| {
        let n = dims.iter().product();
        Tensor::from_vec((0..n).map(|_| rng.normal() * std).collect::<Vec<f32>>(), dims, &Device::Cpu).unwrap()
    };
    let inner = heads * 64;
    let mut tensors = HashMap::new();
    let ones = |n| Tensor::ones(n, candle_core::DType::F32, &Device::Cpu).unwrap();
    tensors.insert("shared.weight".to_string(), draw(&[32128, d], 1.0));
    tensors.insert("lm_head.weight".to_string(), draw(&[32128, d], 1.0 / (d as f32).sqrt()));
    for (stack, decoder) in [("encoder", false), ("decoder", true)] {
        tensors.insert(format!("{stack}.final_layer_norm.weight"), ones(d));
        let table = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        tensors.insert(table, draw(&[32, heads], 0.1));
        for i in 0..layers {
            let names: &[&str] =
                if decoder { &["SelfAttention", "EncDecAttention", ""] } else { &["SelfAttention", ""] };
            for (l, name) in names.iter().enumerate() {
                let at = format!("{stack}.block.{i}.layer.{l}");
                tensors.insert(format!("{at}.layer_norm.weight"), ones(d));
                if name.is_empty() {
                    for (w, o, n) in [("wi_0", ff, d), ("wi_1", ff, d), ("wo", d, ff)] {
                        let std = 1.0 / (n as f32).sqrt();
                        tensors.insert(format!("{at}.DenseReluDense.{w}.weight"), draw(&[o, n], std));
                    }
                } else {
                    for (w, o, n) in [("q", inner, d), ("k", inner, d), ("v", inner, d), ("o", d, inner)] {
                        let std = if w == "q" { 0.125 } else { 1.0 } / (n as f32).sqrt();
                        tensors.insert(format!("{at}.{name}.{w}.weight"), draw(&[o, n], std));
                    }
                }
            }
        }
    }
    let t5 = T5::load(config, &Params::frozen(tensors)).unwrap();
    let target = |name: &str| name.ends_with(".q") || name.ends_with(".v");
    let spec = |(module, i, o): &(String, usize, usize)| LoraSpec {
        module: module.clone(),
        a: draw(&[32, *i], 0.02),
        b: draw(&[*o, 32], 0.01),
        scale: 1.0,
    };
    let specs = t5.modules().iter().filter(|m| target(&m.0)).map(spec).collect();
    let head = ValueHead::fresh(d, &mut Rng::new(2, Purpose::Init, 0, 0)).unwrap();
    let mut policy = Policy::new(t5, head);
    policy.add_adapter(POLICY, specs, 0.0, true).unwrap();
    policy
}

/// Median seconds of three runs.
fn median(what: &str, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..3)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<58} {:>8.3} s  ({:.3} – {:.3})", times[1], times[0], times[2]);
    times[1]
}

fn main() {
    let sizes: Vec<String> = std::env::args().skip(1).filter(|a| ["small", "base"].contains(&a.as_str())).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    detox_lab::nn::cpu::set_threads(threads);
    println!("{threads} threads, f32; medians of 3 (least – most)");
    for size in if sizes.is_empty() { vec!["small".into(), "base".into()] } else { sizes } {
        let policy = policy(&size);
        let mut rng = Rng::new(3, Purpose::Init, 0, 0);
        let mut ids = |n: usize| (0..n).map(|_| rng.below(3, 32000) as u32).collect::<Vec<u32>>();
        let queries: Vec<Vec<u32>> = (0..16).map(|i| ids(180 + 40 * i / 15)).collect();
        let responses: Vec<Vec<u32>> = (0..16).map(|_| [vec![0], ids(32)].concat()).collect();
        let rows: Vec<(&[u32], &[u32])> =
            queries.iter().zip(&responses).map(|(q, r)| (q.as_slice(), r.as_slice())).collect();
        for batch in [1, 4, 16] {
            let seconds = median(&format!("{size} generate {batch} × 32 tokens"), || {
                let prompt = |i: usize| Prompt {
                    ids: &queries[i],
                    max_new_tokens: 32,
                    rng: Rng::new(0, Purpose::Sampling, 0, i as u64),
                };
                let sampling = Sampling { min_length: 34, ..Sampling::default() };
                let prompts = (0..batch).map(prompt).collect();
                block_on(generate(&policy, Some(POLICY), prompts, &sampling, &mut NonStop)).unwrap();
            });
            println!("{:<58} {:>8.1} tokens/s", "", batch as f64 * 32.0 / seconds);
        }
        median(&format!("{size} forward 4 × (200 + 32)"), || {
            policy.evaluate(&rows[..4], 33, false, Some(POLICY), false, None).unwrap();
        });
        median(&format!("{size} forward + backward 4 × (200 + 32)"), || {
            let scores = policy.evaluate(&rows[..4], 33, false, Some(POLICY), true, None).unwrap();
            let loss = (scores.logprobs.sum_all().unwrap() + scores.values.sum_all().unwrap()).unwrap();
            loss.backward().unwrap();
        });
    }
}
