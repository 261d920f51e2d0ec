//! The supervised loop on a model of three numbers: schedules equal transformers', every row occurs once per pass,
//! accumulation, keeping the best model, exact resume, and numbers that are not finite.

use crate::support;
use crate::support::store::{InMemory, StopAfter};
use candle_core::{Device, Tensor, Var};
use detox_lab::error::{Error, Result};
use detox_lab::finetuning::supervised::{
    BatchLoss, EvaluationScore, Schedule, Settings, Supervised, Task, fingerprint,
};
use detox_lab::lab::events::Observer;
use detox_lab::nn::rng::Rng;
use detox_lab::pace::block_on;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Least squares: y = w · x.
struct Line {
    w: Var,
    rows: Vec<([f32; 3], f32)>,
    lengths: Vec<usize>,
    /// The rows of all batches, in order.
    seen: RefCell<Vec<usize>>,
    /// A row whose loss is NaN.
    broken: Option<usize>,
}

impl Line {
    fn new(rows: usize) -> Self {
        let row = |i: usize| {
            let x = [(i % 3) as f32 - 1.0, (i % 5) as f32 * 0.3, (i % 7) as f32 * 0.2 - 0.5];
            (x, 2.0 * x[0] - x[1] + 0.5 * x[2])
        };
        Self {
            w: Var::from_slice(&[0f32; 3], (3, 1), &Device::Cpu).unwrap(),
            rows: (0..rows).map(row).collect(),
            lengths: (0..rows).map(|i| 1 + i * 7919 % 50).collect(),
            seen: RefCell::default(),
            broken: None,
        }
    }

    fn error(&self, rows: &[usize]) -> Result<Tensor> {
        let x: Vec<f32> = rows.iter().flat_map(|r| self.rows[*r].0).collect();
        let y: Vec<f32> = rows.iter().map(|r| self.rows[*r].1).collect();
        let x = Tensor::from_vec(x, (rows.len(), 3), &Device::Cpu)?;
        let y = Tensor::from_vec(y, (rows.len(), 1), &Device::Cpu)?;
        Ok((x.matmul(self.w.as_tensor())? - y)?.sqr()?.sum_all()?)
    }
}

impl Task for Line {
    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn fingerprint(&self) -> u64 {
        fingerprint(self.rows.iter().map(|row| row.1.to_bits()))
    }

    fn vars(&self) -> Vec<(String, Var)> {
        vec![("w".into(), self.w.clone())]
    }

    fn loss(&self, rows: &[usize], _: &RefCell<Rng>) -> Result<BatchLoss> {
        self.seen.borrow_mut().extend(rows);
        let mut sum = self.error(rows)?;
        if self.broken.is_some_and(|row| rows.contains(&row)) {
            sum = (sum * f64::NAN)?;
        }
        let vars = self.vars();
        let value = f64::from(sum.to_scalar::<f32>()?);
        let backward = Box::new(move || Ok(crate::support::graph_gradients(&sum, &vars)));
        Ok(BatchLoss { sum: value, terms: rows.len() as f64, backward })
    }

    async fn evaluate(&self, observer: &mut impl Observer) -> Result<EvaluationScore> {
        observer.pause().await?;
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let loss = f64::from(self.error(&all)?.to_scalar::<f32>()?);
        Ok(EvaluationScore { metrics: vec![("eval/loss".into(), loss)], score: -loss })
    }

    fn export(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let w = self.w.flatten_all()?.to_vec1::<f32>()?;
        Ok(BTreeMap::from([("w.json".to_string(), serde_json::to_vec(&w).unwrap())]))
    }
}

fn settings() -> Settings {
    Settings {
        epochs: 3.0,
        batch_size: 4,
        accumulation: 1,
        learning_rate: 0.05,
        relative: false,
        schedule: Schedule::Linear,
        warmup: 0.1,
        max_grad_norm: Some(1.0),
        evaluate_every: 5,
        save_every: 4,
        log_every: 3,
        seed: 3,
    }
}

fn train(line: &Line, settings: Settings, store: &mut InMemory, pauses: usize) -> Result<()> {
    let mut run = Supervised::start(line, settings, &serde_json::json!({}), store, 0.0)?;
    block_on(run.run(&mut StopAfter(pauses)))
}

const NEVER: usize = usize::MAX;

#[test]
fn schedules_equal_transformers() {
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(support::fixtures().join("supervised.json")).unwrap()).unwrap();
    let golden = &golden["schedules"];
    let (updates, warmup) = (golden["updates"].as_u64().unwrap(), golden["warmup"].as_u64().unwrap());
    for (name, schedule) in [("linear", Schedule::Linear), ("cosine", Schedule::Cosine)] {
        for (i, expected) in golden[name].as_array().unwrap().iter().enumerate() {
            let got = schedule.factor(i as u64, updates, warmup);
            assert!((got - expected.as_f64().unwrap()).abs() < 1e-12, "{name} at {i}: {got}, not {expected}");
        }
    }
    assert_eq!(Schedule::Constant.factor(15, updates, warmup), 1.0);
}

#[test]
fn every_row_occurs_once_per_pass_in_batches_of_similar_length() {
    let line = Line::new(203);
    let settings = Settings { epochs: 2.0, ..settings() };
    assert_eq!(settings.updates(203), 102);
    train(&line, settings, &mut InMemory::default(), NEVER).unwrap();
    let seen = line.seen.borrow();
    assert_eq!(seen.len(), 2 * 203);
    for pass in seen.chunks(203) {
        assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), 203);
    }
    assert_ne!(seen[..203], seen[203..], "another order in each pass");
    let spread = |rows: &[usize]| {
        let lengths: Vec<usize> = rows.iter().map(|r| line.lengths[*r]).collect();
        lengths.iter().max().unwrap() - lengths.iter().min().unwrap()
    };
    let mean = seen[..200].chunks(4).map(spread).sum::<usize>() as f64 / 50.0;
    assert!(mean < 6.0, "rows of a batch differ by {mean} tokens, of all by 49");
}

#[test]
fn accumulated_batches_are_one_larger_batch() {
    let (one, two) = (Line::new(16), Line::new(16));
    // All rows are in one update in both cases, so their order does not matter.
    let whole = Settings { batch_size: 16, epochs: 5.0, ..settings() };
    let parts = Settings { batch_size: 4, accumulation: 4, ..whole.clone() };
    train(&one, whole, &mut InMemory::default(), NEVER).unwrap();
    train(&two, parts, &mut InMemory::default(), NEVER).unwrap();
    let w = |line: &Line| support::flat(line.w.as_tensor());
    assert!(support::max_abs_diff(&w(&one), &w(&two)) < 1e-6, "{:?} and {:?}", w(&one), w(&two));
    assert!(w(&one).iter().all(|x| *x != 0.0));
}

#[test]
fn the_best_model_is_kept_and_the_line_is_found() {
    let line = Line::new(60);
    let mut store = InMemory::default();
    let settings = Settings { epochs: 30.0, ..settings() };
    train(&line, settings, &mut store, NEVER).unwrap();
    let best: Vec<f32> = serde_json::from_slice(&store.0["best/w.json"]).unwrap();
    for (w, expected) in best.iter().zip([2.0, -1.0, 0.5]) {
        assert!((w - expected).abs() < 0.02, "{best:?}");
    }
    let metrics = String::from_utf8(store.0["metrics.jsonl"].clone()).unwrap();
    let lines: Vec<serde_json::Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|l| l["eval/loss"].as_f64()).collect();
    let trained = |l: &serde_json::Value| Some((l["step"].as_u64()?, l["train/loss"].as_f64()?));
    assert_eq!(losses.len(), 90);
    assert!(losses.last().unwrap() < &(losses[0] / 100.0));
    assert!(lines.iter().filter_map(trained).count() == 150, "one line for every three of 450 updates");
}

#[test]
fn a_run_stopped_anywhere_and_resumed_equals_an_uninterrupted_one() {
    for accumulation in [1, 2] {
        let settings = Settings { accumulation, ..settings() };
        let mut twin = InMemory::default();
        train(&Line::new(23), settings.clone(), &mut twin, NEVER).unwrap();
        for pauses in [0, 1, 4, 5, 6, 9, 14] {
            let mut store = InMemory::default();
            let stopped = train(&Line::new(23), settings.clone(), &mut store, pauses);
            assert!(matches!(stopped, Err(Error::Stopped)), "after {pauses} pauses");
            let fresh = Line::new(23);
            let mut run = Supervised::resume(&fresh, settings.clone(), None, &mut store, 1.0).unwrap();
            block_on(run.run(&mut StopAfter(NEVER))).unwrap();
            let dated = |path: &str| path.starts_with("events.");
            let files = |s: &InMemory| -> BTreeMap<String, Vec<u8>> {
                s.0.iter().filter(|(path, _)| !dated(path)).map(|(p, b)| (p.clone(), b.clone())).collect()
            };
            assert!(files(&store) == files(&twin), "accumulating {accumulation}, stopped after {pauses} pauses");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_end_the_run_and_are_located() {
    let line = Line { broken: Some(17), ..Line::new(23) };
    let mut store = InMemory::default();
    let message = train(&line, settings(), &mut store, NEVER).unwrap_err().to_string();
    assert!(message.contains("the loss of update") && message.contains("17"), "{message}");
    assert!(store.0.keys().any(|path| path.starts_with("checkpoints/")), "the last good state is kept");
    assert!(support::flat(line.w.as_tensor()).iter().all(|x| x.is_finite()));
}

#[test]
fn invalid_settings_are_named() {
    let cases: [(Settings, &str); 5] = [
        (Settings { epochs: 0.0, ..settings() }, "epochs"),
        (Settings { learning_rate: f64::NAN, ..settings() }, "learning rate"),
        (Settings { batch_size: 0, ..settings() }, "batch size"),
        (Settings { warmup: 1.0, ..settings() }, "warm-up"),
        (Settings { max_grad_norm: Some(-1.0), ..settings() }, "max grad norm"),
    ];
    for (settings, name) in cases {
        let message = train(&Line::new(4), settings, &mut InMemory::default(), NEVER).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    let none = train(&Line::new(0), settings(), &mut InMemory::default(), NEVER).unwrap_err().to_string();
    assert!(none.contains("no training row"), "{none}");
}
