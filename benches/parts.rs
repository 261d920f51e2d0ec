//! The speeds in docs/measured.md: generation, teacher-forced passes and gradients at FLAN-T5's real shapes, and updates of a
//! tiny T5, on new weights. `cargo bench --bench parts [-- tiny|small|base]` prints medians of three.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use candle_core::{Device, Tensor};
use detox_lab::cli::allocator::restart_with_tunables;
use detox_lab::finetuning::fresh;
use detox_lab::model::config::T5Config;
use detox_lab::model::generate::{Prompt, Sampling, generate};
use detox_lab::model::policy::{Given, POLICY, Policy, TrainablePolicy, ValueHead};
use detox_lab::model::t5::{Pass, T5};
use detox_lab::nn::adam::{Adam, Gradients};
use detox_lab::nn::cross_entropy::smoothed_cross_entropy;
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape::record;
use detox_lab::pace::{NonStop, block_on};
use std::cell::RefCell;
use std::time::Instant;

/// FLAN-T5's configuration of a size; `tiny` is a model to train from random weights.
fn config(size: &str) -> T5Config {
    let (vocab, d, d_kv, ff, layers, heads) = match size {
        "tiny" => (4096, 192, 32, 512, 3, 6),
        "small" => (32128, 512, 64, 1024, 8, 6),
        _ => (32128, 768, 64, 2048, 12, 12),
    };
    let json = serde_json::json!({
        "model_type": "t5", "vocab_size": vocab, "d_model": d, "d_kv": d_kv, "d_ff": ff, "num_layers": layers,
        "num_heads": heads, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
    });
    T5Config::from_json("config.json", json.to_string().as_bytes()).unwrap()
}

/// A policy with new weights and a rank-32 adapter on q and v.
fn policy(size: &str) -> Policy {
    let config = config(size);
    let weights = fresh::t5(&config, 1).unwrap();
    let d = config.d_model;
    let mut rng = Rng::new(1, Purpose::Init, 0, 0);
    let mut draw = |dims: &[usize], std: f32| {
        let n = dims.iter().product();
        Tensor::from_vec((0..n).map(|_| rng.normal() * std).collect::<Vec<f32>>(), dims, &Device::Cpu).unwrap()
    };
    let t5 = T5::load(config, &Params::frozen(weights)).unwrap();
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

/// Updates of every parameter of a small model, as in `finetune --model-config`.
fn train_tiny() {
    let config = config("tiny");
    let params = Params::trainable(fresh::t5(&config, 1).unwrap());
    let t5 = T5::load(config, &params).unwrap();
    let vars = params.vars();
    let mut adam = Adam::new(0.9, 0.999, 1e-8);
    let dropout = RefCell::new(Rng::new(4, Purpose::Dropout, 0, 0));
    let pass = Pass { lora: None, dropout: Some(&dropout) };
    let mut rng = Rng::new(3, Purpose::Init, 0, 0);
    let mut ids = |rows: usize, n: usize| -> Vec<Vec<u32>> {
        (0..rows).map(|_| (0..n).map(|_| rng.below(3, 4000) as u32).collect()).collect()
    };
    let (queries, fed) = (ids(32, 230), ids(32, 35));
    let targets = ids(32, 35).concat();
    let queries: Vec<&[u32]> = queries.iter().map(Vec::as_slice).collect();
    let fed: Vec<&[u32]> = fed.iter().map(Vec::as_slice).collect();
    let loss = || {
        let encoded = t5.encode(&queries, pass).unwrap();
        let decoded = t5.decode(&fed, &[35; 32], &encoded, pass).unwrap();
        let hidden = t5.head_input(&decoded.hidden).unwrap();
        smoothed_cross_entropy(&hidden, t5.head(), &targets, 0.1).unwrap().mean_all().unwrap()
    };
    let gradients = || {
        let (loss, tape) = record(|| Ok(loss())).unwrap();
        tape.backward_of(&loss).unwrap()
    };
    median("tiny forward 32 × (230 + 35), dropout, loss", || drop(loss()));
    median("tiny forward + backward of every parameter", || drop(gradients()));
    median("tiny update: forward + backward + Adam", || {
        let gradients = Gradients::of(gradients(), &vars).unwrap();
        adam.update(&vars, &gradients, 1.0, 1e-4).unwrap();
    });
}

fn main() {
    restart_with_tunables(); // as in the program
    let known = ["tiny", "small", "base"];
    let sizes: Vec<String> = std::env::args().skip(1).filter(|a| known.contains(&a.as_str())).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    detox_lab::kernels::pool::work_on(threads);
    println!("{threads} threads, f32; medians of 3 (least – most)");
    for size in if sizes.is_empty() { known.map(String::from).to_vec() } else { sizes } {
        if size == "tiny" {
            train_tiny();
            continue;
        }
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
            policy.evaluate(&Given::new(&rows[..4], 33, Some(POLICY)), None).unwrap();
        });
        median(&format!("{size} forward + backward 4 × (200 + 32)"), || {
            let scores =
                policy.evaluate(&Given { grad: true, ..Given::new(&rows[..4], 33, Some(POLICY)) }, None).unwrap();
            let ones = scores.values.ones_like().unwrap();
            scores.backward(&ones, &ones).unwrap();
        });
    }
}
