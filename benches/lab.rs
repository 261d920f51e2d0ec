//! Whole PPO steps of the lab at FLAN-T5's real shapes: 16 prompts of about 200 tokens, mini-batches of 4, LoRA of rank 32,
//! roberta-base as reward model. `cargo bench --bench lab -- [small] [base] [controlled] [lab] [OPTIONS]`
//! prints seconds of every part and the peak memory. `controlled`: 32 new tokens each; `lab`: 100 to 399, as in the lab.
//!   --steps N        measured steps after one to warm up (3; `lab`: 1, and none to warm up)
//!   --files FOLDER   models and workload.json as bench_lab.py writes them; else new weights of the same shapes
//!   --precision bf16 products of numbers rounded to bf16
//!   --weights KIND   number type of the frozen matrices of both models: f32 (the default), f16, bf16 or q8_0
//!   --json FILE      the measured seconds, for scripts/bench_peers.py
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use candle_core::{Device, Tensor};
use detox_lab::cli::allocator::restart_with_tunables;
use detox_lab::finetuning::fresh;
use detox_lab::io::adapter::PeftAdapter;
use detox_lab::io::disk::Folder;
use detox_lab::kernels::choice::{Products, use_products};
use detox_lab::kernels::quantized::Precision;
use detox_lab::lab::models::{Actor, INITIAL, Judge, POLICY, keep_initial};
use detox_lab::model::config::T5Config;
use detox_lab::model::generate::{Prompt, Sampling, generate};
use detox_lab::model::policy::{Policy, ValueHead};
use detox_lab::model::reward::RewardModel;
use detox_lab::model::roberta::RobertaConfig;
use detox_lab::model::t5::T5;
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::weight::Weight;
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::batch::{KeptNumbers, Row};
use detox_lab::ppo::peers::Peers;
use detox_lab::ppo::step::{PpoState, ppo_step};
use detox_lab::settings::{PpoConfig, Preset};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BATCH: usize = 16;
const RANK: usize = 32;

struct Options {
    words: Vec<String>,
    steps: Option<usize>,
    weights: Precision,
    files: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { words: Vec::new(), steps: None, weights: Precision::F32, files: None, json: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--steps" => options.steps = Some(args.next().unwrap().parse().unwrap()),
                "--weights" => {
                    let kind = args.next().unwrap();
                    options.weights = Precision::ALL.into_iter().find(|p| p.name() == kind).unwrap();
                }
                "--precision" => {
                    let bf16 = args.next().unwrap() == "bf16";
                    use_products(if bf16 { Products::Bf16 } else { Products::F32 });
                }
                "--files" => options.files = args.next().map(PathBuf::from),
                "--json" => options.json = args.next().map(PathBuf::from),
                "--bench" => {} // from cargo
                word => options.words.push(word.into()),
            }
        }
        options
    }

    /// Those of `all` that were named, or all if none was.
    fn chosen(&self, all: [&'static str; 2]) -> Vec<&'static str> {
        let named: Vec<_> = all.into_iter().filter(|one| self.words.iter().any(|word| word == one)).collect();
        if named.is_empty() { all.to_vec() } else { named }
    }
}

/// FLAN-T5's shapes.
fn t5_config(size: &str) -> T5Config {
    let (d, ff, layers, heads) = if size == "small" { (512, 1024, 8, 6) } else { (768, 2048, 12, 12) };
    let config = json!({
        "model_type": "t5", "vocab_size": 32128, "d_model": d, "d_kv": 64, "d_ff": ff, "num_layers": layers,
        "num_heads": heads, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
    });
    T5Config::from_json("config.json", config.to_string().as_bytes()).unwrap()
}

fn policy(size: &str, files: Option<&Path>, weights: Precision) -> Policy {
    let open = |name: String| Folder::open(files.unwrap().join(name)).unwrap();
    if files.is_some() {
        let mut actor = Actor::load_as(&open(format!("flan-t5-{size}-random")), weights, 0).unwrap();
        let adapter = PeftAdapter::read(&open(format!("adapter-{size}"))).unwrap();
        actor.add_adapter(POLICY, &adapter, true).unwrap();
        keep_initial(&mut actor).unwrap();
        return actor.policy;
    }
    let config = t5_config(size);
    let head = ValueHead::fresh(config.d_model, &mut Rng::new(0, Purpose::Init, 0, 0)).unwrap();
    let fresh = fresh::t5(&config, 1).unwrap();
    let t5 = T5::load(config, &held(fresh, weights)).unwrap();
    let mut rng = Rng::new(1, Purpose::Init, 0, 0);
    let mut draw = |dims: [usize; 2], std: f32| {
        let numbers = (0..dims[0] * dims[1]).map(|_| rng.normal() * std).collect::<Vec<f32>>();
        Tensor::from_vec(numbers, &dims[..], &Device::Cpu).unwrap()
    };
    let adapted = t5.modules().iter().filter(|(name, ..)| name.ends_with(".q") || name.ends_with(".v"));
    let specs = adapted.map(|(module, i, o)| LoraSpec {
        module: module.clone(),
        a: draw([RANK, *i], 0.02),
        b: draw([*o, RANK], 0.01),
        scale: 1.0,
    });
    let specs = specs.collect();
    let mut policy = Policy::new(t5, head);
    policy.add_adapter(POLICY, specs, 0.0, true).unwrap();
    policy.copy_adapter(POLICY, INITIAL).unwrap();
    policy
}

/// New matrices of a number type; norms, biases and T5's table of position biases stay f32.
fn held(tensors: HashMap<String, Tensor>, kind: Precision) -> Params {
    let hold = |(name, tensor): (String, Tensor)| {
        let matrix = tensor.dims().len() == 2 && tensor.dims()[1] >= 64;
        (name, Weight::frozen(tensor, if matrix { kind } else { Precision::F32 }).unwrap())
    };
    Params::held(tensors.into_iter().map(hold).collect())
}

fn reward_model(files: Option<&Path>, weights: Precision) -> RewardModel {
    if let Some(files) = files {
        return Judge::load_as(&Folder::open(files.join("roberta-base-random")).unwrap(), weights).unwrap().model;
    }
    let config = json!({
        "model_type": "roberta", "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "gelu",
        "id2label": {"0": "nothate", "1": "hate"}, "label2id": {"nothate": 0, "hate": 1},
    })
    .to_string();
    let fresh = fresh::roberta(&RobertaConfig::from_json(&config).unwrap(), 1).unwrap();
    RewardModel::load(&held(fresh, weights), &config).unwrap()
}

/// The prompts of a step, and the maximum number of new tokens for each.
struct Work {
    prompts: Vec<Vec<u32>>,
    lengths: Vec<usize>,
}

fn workload(files: Option<&Path>) -> Vec<Work> {
    let Some(files) = files else {
        let mut rng = Rng::new(3, Purpose::Init, 0, 0);
        let mut prompt = || {
            let n = rng.below(180, 220) as usize;
            (0..n).map(|_| rng.below(3, 32000) as u32).chain([1]).collect::<Vec<u32>>()
        };
        let prompts: Vec<Vec<Vec<u32>>> = (0..8).map(|_| (0..BATCH).map(|_| prompt()).collect()).collect();
        let mut lengths = || (0..BATCH).map(|_| rng.below(100, 400) as usize).collect();
        return prompts.into_iter().map(|prompts| Work { prompts, lengths: lengths() }).collect();
    };
    let text = std::fs::read_to_string(files.join("workload.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let numbers = |list: &Value| list.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect::<Vec<_>>();
    let prompt = |list: &Value| numbers(list).into_iter().map(|id| id as u32).collect();
    let work = |step: &Value| Work {
        prompts: step["prompts"].as_array().unwrap().iter().map(prompt).collect(),
        lengths: numbers(&step["lab_max_new_tokens"]).into_iter().map(|n| n as usize).collect(),
    };
    all["steps"].as_array().unwrap().iter().map(work).collect()
}

/// Query and response as the reward model's ids: word n has the id n in the bench's policy tokenizer and n + 1 in the other.
fn judged(query: &[u32], response: &[u32]) -> Vec<u32> {
    let words = query.iter().chain(response).filter(|id| **id > 2).map(|id| id + 1);
    [0].into_iter().chain(words).chain([2]).collect()
}

/// Peak memory of this process in MB, if known.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1024.0)
}

fn median(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0], times[times.len() - 1])
}

fn run(size: &str, mode: &str, options: &Options) -> Value {
    let files = options.files.as_deref();
    let (policy, reward, works) =
        (policy(size, files, options.weights), reward_model(files, options.weights), workload(files));
    let preset = PpoConfig::preset(Preset::Corrected);
    let config = PpoConfig { batch_size: BATCH, mini_batch_size: 4, ppo_epochs: 1, learning_rate: 1.41e-5, ..preset };
    let mut state = PpoState::new(&config);
    let controlled = mode == "controlled";
    let warm = usize::from(controlled);
    let steps = options.steps.unwrap_or(if controlled { 3 } else { 1 });
    let (mut measured, mut tokens) = ([Vec::new(), Vec::new(), Vec::new(), Vec::new()], 0);
    for step in 0..warm + steps {
        let work = &works[step % works.len()];
        let sampling = Sampling { min_length: if controlled { 34 } else { 5 }, ..Sampling::default() };
        let prompt = |i: usize| Prompt {
            ids: &work.prompts[i],
            max_new_tokens: if controlled { 32 } else { work.lengths[i] },
            rng: Rng::new(0, Purpose::Sampling, step as u64, i as u64),
        };
        let started = Instant::now();
        let prompts = (0..BATCH).map(prompt).collect();
        let made = block_on(generate(&policy, Some(POLICY), prompts, &sampling, &mut NonStop)).unwrap();
        let generated = started.elapsed().as_secs_f64();
        let ids: Vec<Vec<u32>> = work.prompts.iter().zip(&made).map(|(q, g)| judged(q, &g.ids)).collect();
        let scored = block_on(reward.score(&ids, Default::default(), &mut NonStop)).unwrap();
        let rewarded = started.elapsed().as_secs_f64();
        let row = |i: usize| Row {
            query_ids: work.prompts[i].clone(),
            decoder_ids: made[i].ids.clone(),
            score: scored[i].score,
            generated: Some(KeptNumbers { logprobs: made[i].logprobs.clone(), values: made[i].values.clone() }),
        };
        let rows: Vec<Row> = (0..BATCH).map(row).collect();
        block_on(ppo_step(&policy, &mut state, &config, &rows, None, &Peers::alone(), &mut NonStop)).unwrap();
        let all = started.elapsed().as_secs_f64();
        if step >= warm {
            tokens = made.iter().map(|g| g.ids.len() - 1).sum();
            for (list, seconds) in measured.iter_mut().zip([generated, rewarded - generated, all - rewarded, all]) {
                list.push(seconds);
            }
        }
    }
    let [generate, score, ppo, total] = measured;
    let told = |times: &[f64]| {
        let (middle, least, most) = median(times.to_vec());
        format!("{middle:>7.2} ({least:.2}–{most:.2})")
    };
    let rate = tokens as f64 / median(generate.clone()).0;
    let memory = peak().unwrap_or(f64::NAN);
    println!(
        "{size:<6} {mode:<11} {} {rate:>7.1} {} {} {} {memory:>8.0}",
        told(&generate),
        told(&score),
        told(&ppo),
        told(&total)
    );
    json!({
        "size": size, "mode": mode, "weights": options.weights.name(), "generate": generate, "score": score, "step": ppo, "total": total,
        "decode_tok_per_s": rate, "peak_rss_mb": memory,
    })
}

fn main() {
    restart_with_tunables(); // as in the program
    let options = Options::read();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    detox_lab::kernels::pool::work_on(threads);
    println!("{threads} threads, {}, 16 rows a step; seconds, medians (least–most)", options.weights.name());
    println!(
        "size   mode        generate             tokens/s  score               PPO step            total             peak MB"
    );
    let mut all = Vec::new();
    for size in options.chosen(["small", "base"]) {
        for mode in options.chosen(["controlled", "lab"]) {
            all.push(run(size, mode, &options));
        }
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap()).unwrap();
    }
}
