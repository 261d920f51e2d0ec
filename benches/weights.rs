//! Measures memory and speed of frozen weights in f32, f16, bf16 or q8_0, and of products of numbers rounded to bf16
//! (`--precision bf16`). `cargo bench --bench weights [-- products|base|small|tiny]` prints the speed of one product; for new
//! weights of FLAN-T5's shapes with a rank-32 adapter, memory, seconds and differences of log-probs for each type; for the tiny
//! models, log-probs, KL, toxicity, scores and ROUGE of 100 held-out dialogues. Each type of a large model is measured in a
//! separate process, which reads the same f32 file.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use candle_core::Tensor;
use detox_lab::cli::allocator::restart_with_tunables;
use detox_lab::finetuning::fresh;
use detox_lab::io::adapter::PeftAdapter;
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::checkpoint::safetensors;
use detox_lab::io::disk::{self, Folder};
use detox_lab::io::pretrained;
use detox_lab::kernels::choice::{Products, Way, kernel, use_products};
use detox_lab::kernels::gemm::{Mat, matmul_by};
use detox_lab::lab::evaluate::{EvaluateOptions, evaluation, pairs};
use detox_lab::lab::memory;
use detox_lab::lab::models::{Actor, Given, Judge, POLICY, Precision, TrainablePolicy};
use detox_lab::lab::sources::policy::PolicySource;
use detox_lab::model::config::T5Config;
use detox_lab::model::generate::{Prompt, Sampling, generate};
use detox_lab::model::t5::Pass;
use detox_lab::nn::linear::Linear;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::peers::Peers;
use detox_lab::settings::PpoConfig;
use detox_lab::text::dialogue::{Dialogue, parse, split};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

const ROWS: usize = 4;
const PROMPT: usize = 200;
const RESPONSE: usize = 32;

/// Number types of weights and products, by a name.
const KINDS: [(&str, Precision, Products); 6] = [
    ("f32", Precision::F32, Products::F32),
    ("f16", Precision::F16, Products::F32),
    ("bf16", Precision::Bf16, Products::F32),
    ("q8_0", Precision::Q8_0, Products::F32),
    ("f32+bf16", Precision::F32, Products::Bf16),
    ("bf16+bf16", Precision::Bf16, Products::Bf16),
];

/// A number of kB in /proc/self/status, in MB.
fn status(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Writes new weights of FLAN-T5's shape if they do not exist yet.
fn model(size: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("detox-lab-weights-{size}"));
    if folder.join("model.safetensors").exists() {
        return folder;
    }
    let (d, ff, layers, heads) = if size == "small" { (512, 1024, 8, 6) } else { (768, 2048, 12, 12) };
    let config = json!({
        "model_type": "t5", "vocab_size": 32128, "d_model": d, "d_kv": 64, "d_ff": ff, "num_layers": layers,
        "num_heads": heads, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
    });
    let parsed = T5Config::from_json("config.json", config.to_string().as_bytes()).unwrap();
    let weights: BTreeMap<String, Tensor> = fresh::t5(&parsed, 1).unwrap().into_iter().collect();
    disk::create_folder(&folder).unwrap();
    let files = pretrained::to_files(&config, &BTreeMap::new(), pretrained::Stored::F32, BTreeMap::new()).unwrap();
    disk::write_atomic(&folder.join("config.json"), &files["config.json"]).unwrap();
    let path = folder.join("model.safetensors");
    disk::write_atomic_with(&path, |out| safetensors::write(out, &weights, "model.safetensors")).unwrap();
    folder
}

/// Measures one type of a large model, and prints the results as JSON; writes the next-token log-probs to `out`.
fn one(folder: &Path, precision: Precision, out: &Path) -> Value {
    let started = Instant::now();
    let mut actor = Actor::load_as(&Folder::open(folder).unwrap(), precision, 0).unwrap();
    let (load, loading, loaded) = (started.elapsed().as_secs_f64(), status("VmHWM"), status("VmRSS"));
    let config = AdapterConfig::new(32, 32.0, 0.0, &["q", "v"], "base").unwrap();
    let mut adapter: PeftAdapter = actor.fresh_adapter(config, 1).unwrap();
    let mut rng = Rng::new(1, Purpose::Init, 0, 0);
    for (_, b) in adapter.tensors.iter_mut().filter(|(name, _)| name.contains("lora_B")) {
        let numbers: Vec<f32> = (0..b.elem_count()).map(|_| rng.normal() * 0.01).collect();
        *b = Tensor::from_vec(numbers, b.shape(), &candle_core::Device::Cpu).unwrap();
    }
    actor.add_adapter(POLICY, &adapter, true).unwrap();
    let policy = &actor.policy;
    let mut rng = Rng::new(5, Purpose::Init, 0, 0);
    let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.below(3, 32000) as u32).collect() };
    let queries: Vec<Vec<u32>> = (0..16).map(|_| ids(PROMPT)).collect();
    let responses: Vec<Vec<u32>> = (0..ROWS).map(|_| [vec![0], ids(RESPONSE)].concat()).collect();
    let rows: Vec<(&[u32], &[u32])> = queries.iter().zip(&responses).map(|(q, r)| (&q[..], &r[..])).collect();

    // log softmax over the whole vocabulary, for the KL
    let q: Vec<&[u32]> = rows.iter().map(|r| r.0).collect();
    let r: Vec<&[u32]> = rows.iter().map(|r| &r.1[..RESPONSE]).collect();
    let pass = Pass { lora: policy.adapter(Some(POLICY)).unwrap(), dropout: None };
    let encoded = policy.t5.encode(&q, pass).unwrap();
    let decoded = policy.t5.decode(&r, &[RESPONSE; ROWS], &encoded, pass).unwrap();
    let head = Linear::from_weight(policy.t5.head().clone());
    let logits = head.forward(&policy.t5.head_input(&decoded.hidden.detach()).unwrap()).unwrap();
    disk::write_atomic(out, &safetensors::to_bytes(&BTreeMap::from([("logits".to_string(), logits)])).unwrap())
        .unwrap();
    drop((encoded, decoded));

    let median = |work: &dyn Fn()| {
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let started = Instant::now();
                work();
                started.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[1]
    };
    let forward = median(&|| drop(policy.evaluate(&Given::new(&rows, RESPONSE + 1, Some(POLICY)), None).unwrap()));
    let sampling = Sampling { min_length: RESPONSE + 2, ..Sampling::default() };
    let write = |n: usize| {
        let prompt = |i: usize| Prompt {
            ids: &queries[i],
            max_new_tokens: RESPONSE,
            rng: Rng::new(0, Purpose::Sampling, 0, i as u64),
        };
        let prompts = (0..n).map(prompt).collect();
        let made = block_on(generate(policy, Some(POLICY), prompts, &sampling, &mut NonStop)).unwrap();
        assert_eq!(made.len(), n);
    };
    let (alone, together) = (median(&|| write(1)), median(&|| write(16)));
    let both = median(&|| {
        let s = policy.evaluate(&Given { grad: true, ..Given::new(&rows, RESPONSE + 1, Some(POLICY)) }, None).unwrap();
        let ones = s.values.ones_like().unwrap();
        drop(s.backward(&ones, &ones).unwrap());
    });
    // the forecast of this work
    let c = &policy.t5.config;
    let tensors = PolicySource::open(Box::new(Folder::open(folder).unwrap())).unwrap().tensors_in_memory();
    let adapted = memory::adapted(&adapter.config, &tensors);
    let tokens = memory::Tokens { prompt: PROMPT, response: RESPONSE };
    let mut forecast = memory::Forecast::new();
    forecast.weights("the policy", &tensors, precision);
    forecast.hold("the adapter and its gradients", 2 * 4 * memory::adapter_numbers(&adapted));
    forecast.phase("generation", memory::cache(c, 16, tokens));
    forecast.phase("forward and backward", memory::taped(c, memory::TrainedWeights::Adapter(&adapted), ROWS, tokens));
    json!({
        "load_s": load, "loading_mb": loading, "loaded_mb": loaded, "peak_mb": status("VmHWM"),
        "forecast_mb": forecast.peak() as f64 / 1048576.0,
        "forward_s": forward, "both_s": both, "alone_s": alone, "together_s": together,
    })
}

/// (mean and largest change of a chosen token's log-prob, mean KL(f32 ‖ other) in nats per token).
fn compare(exact: &Tensor, other: &Tensor) -> (f64, f64, f64) {
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let max = row.iter().fold(f32::MIN, |m, x| m.max(*x));
        let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
        row.iter().map(|x| f64::from(x - max) - sum.ln()).collect()
    };
    let (exact, other) = (exact.to_vec2::<f32>().unwrap(), other.to_vec2::<f32>().unwrap());
    let (mut sum, mut largest, mut kl) = (0.0, 0f64, 0.0);
    for (a, b) in exact.iter().zip(&other) {
        let (a, b) = (log_softmax(a), log_softmax(b));
        let best = (0..a.len()).max_by(|i, j| a[*i].total_cmp(&a[*j])).unwrap();
        let change = (a[best] - b[best]).abs();
        (sum, largest) = (sum + change, largest.max(change));
        kl += a.iter().zip(&b).map(|(a, b)| a.exp() * (a - b)).sum::<f64>();
    }
    let n = exact.len() as f64;
    (sum / n, largest, kl / n)
}

/// Prints the speed of a product of the size that PPO has most of, by turns.
fn product() {
    let (m, k, n) = (800, 768, 2048);
    let mut rng = Rng::new(6, Purpose::Init, 0, 0);
    let mut numbers = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f32>>();
    let (x, w, mut y) = (numbers(m * k), numbers(n * k), vec![0f32; m * n]);
    let mut times = [[0f64; 15]; 2];
    for turn in 0..times[0].len() {
        for (products, times) in [Products::F32, Products::Bf16].into_iter().zip(&mut times) {
            let (way, started) = (Way { kernel: kernel(), products }, Instant::now());
            matmul_by(way, &mut y, n, Mat::new(&x, m, k, k), Mat::new(&w, n, k, k).t(), 1.0, false);
            times[turn] = started.elapsed().as_secs_f64();
        }
    }
    println!("products {m} x {k} x {n}, {}: GFLOP/s, median of 15 (fastest)", kernel().name());
    for (name, times) in ["f32", "bf16"].into_iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let speed = |seconds: f64| 2e-9 * (m * k * n) as f64 / seconds;
        println!("{name:<6} {:>8.1} ({:.1})", speed(times[7]), speed(times[0]));
    }
}

fn large(size: &str) {
    println!(
        "flan-t5-{size}'s shape, fresh weights, LoRA r 32; {ROWS} rows of {PROMPT} + {RESPONSE} tokens; medians of 3"
    );
    println!(
        "        MB loading  loaded  at most  forecast   load s  forward s  + backward s  1 row tok/s  16 rows tok/s   log-prob, mean    largest   KL a token"
    );
    let folder = model(size);
    let logits = |name: &str| folder.join(format!("logits-{name}.safetensors"));
    let read = |name: &str| {
        let tensors = candle_core::safetensors::load(logits(name), &candle_core::Device::Cpu).unwrap();
        tensors["logits"].clone()
    };
    for (name, ..) in KINDS {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let out = child.args(["one", name]).arg(&folder).arg(logits(name)).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let n: Value = serde_json::from_slice(&out.stdout).unwrap();
        let of = |key: &str| n[key].as_f64().unwrap();
        let (mean, largest, kl) = compare(&read("f32"), &read(name));
        println!(
            "{name:<9} {:>8.0} {:>7.0} {:>8.0} {:>9.0} {:>8.2} {:>10.2} {:>13.2} {:>12.1} {:>14.1} {mean:>16.2e} {largest:>10.2e} {kl:>12.2e}",
            of("loading_mb"),
            of("loaded_mb"),
            of("peak_mb"),
            of("forecast_mb"),
            of("load_s"),
            of("forward_s"),
            of("both_s"),
            RESPONSE as f64 / of("alone_s"),
            16.0 * RESPONSE as f64 / of("together_s"),
        );
    }
}

fn tiny() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
    let open = |name: &str| Folder::open(root.join("models/tiny").join(name)).unwrap();
    let rows = parse("dialogues.jsonl", &std::fs::read(root.join("dialogues.jsonl")).unwrap()).unwrap();
    let test: Vec<Dialogue> = split(rows).1;
    println!("\nthe shipped tiny models, 100 held-out dialogues, the same seeds");
    println!(
        "        log-prob of the human summary: mean    largest   KL a token   toxicity   score  ROUGE-1  same texts"
    );
    let load = |precision| {
        let mut actor = Actor::load_as(&open("policy"), precision, 0).unwrap();
        actor.add_adapter(POLICY, &PeftAdapter::read(&open("adapter")).unwrap(), false).unwrap();
        (actor, Judge::load_as(&open("reward"), precision).unwrap())
    };
    let logits = |actor: &Actor| -> Tensor {
        let (policy, tokenizer) = (&actor.policy, actor.tokenizer().unwrap());
        let pass = Pass { lora: policy.adapter(Some(POLICY)).unwrap(), dropout: None };
        let row = |d: &Dialogue| {
            let query = tokenizer.encode(&detox_lab::text::prompt::prompt(&d.dialogue)).unwrap();
            let fed = [vec![0], tokenizer.encode(&d.summary).unwrap()].concat();
            let encoded = policy.t5.encode(&[&query], pass).unwrap();
            let decoded = policy.t5.decode(&[&fed], &[fed.len()], &encoded, pass).unwrap();
            let head = Linear::from_weight(policy.t5.head().clone());
            head.forward(&policy.t5.head_input(&decoded.hidden).unwrap()).unwrap()
        };
        Tensor::cat(&test[..100].iter().map(row).collect::<Vec<_>>(), 0).unwrap()
    };
    let (exact_logits, mut exact_texts) = (logits(&load(Precision::F32).0), Vec::new());
    for (name, precision, products) in KINDS {
        use_products(products);
        let (actor, judge) = load(precision);
        let (mean, largest, kl) = compare(&exact_logits, &logits(&actor));
        let options = EvaluateOptions { n: 100, max_new_tokens: 64, greedy: false, seed: 0, batch_size: 16 };
        let (adapter, config) = (Some(POLICY), PpoConfig::default());
        let pairs =
            block_on(pairs(&actor, &judge, &test, adapter, adapter, &options, &config, &Peers::alone(), &mut NonStop))
                .unwrap();
        let texts: Vec<String> = pairs.iter().map(|p| p.after.response.clone()).collect();
        if name == "f32" {
            exact_texts = texts.clone();
        }
        let same = texts.iter().zip(&exact_texts).filter(|(a, b)| a == b).count();
        let side = evaluation(&pairs, &options).unwrap().after;
        println!(
            "{name:<9} {mean:>32.2e} {largest:>10.2e} {kl:>12.2e} {:>10.4} {:>7.3} {:>8.4} {same:>8}/100",
            side.toxicity.spread.mean, side.score.mean, side.rouge1,
        );
    }
}

fn main() {
    restart_with_tunables(); // as in the program
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    detox_lab::kernels::pool::work_on(threads);
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [word, precision, folder, out] = &args[..]
        && word == "one"
    {
        let (_, held, products) = KINDS.into_iter().find(|kind| kind.0 == precision).unwrap();
        use_products(products);
        return println!("{}", one(Path::new(folder), held, Path::new(out)));
    }
    println!("f32+bf16: weights held as f32, products of bf16 (--precision bf16)");
    let wanted = |word: &str| args.is_empty() || args.iter().any(|arg| arg == word);
    if wanted("products") {
        product();
    }
    for size in ["base", "small"] {
        if wanted(size) && (size == "base" || !args.is_empty()) {
            large(size);
        }
    }
    if wanted("tiny") {
        tiny();
    }
}
