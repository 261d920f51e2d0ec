//! The whole step on a very simple model: a table of logits instead of a transformer.

use crate::support::{flat, max_abs_diff};
use candle_core::{D, DType, Device, Tensor, Var};
use detox_lab::model::policy::{Backward, Given, TokenScores, TrainablePolicy};
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, Pace, block_on};
use detox_lab::ppo::batch::{Grid, KeptNumbers, Row};
use detox_lab::ppo::peers::Peers;
use detox_lab::ppo::step::{PpoState, StepObserver, StepOutcome, StepStage, ppo_step};
use detox_lab::settings::{KlReference, PpoConfig, Schedule};
use detox_lab::{Error, Result};
use std::cell::Cell;
use std::collections::HashMap;

const VOCAB: usize = 8;

/// Next-token logits and a value that depend only on the last token. Its reference is the table at the start.
struct Table {
    logits: Var,
    value: Var,
    initial: Tensor,
    /// If set, a trainable variable that is not part of the loss.
    idle: Option<Var>,
    passes: Cell<usize>,
    broken: bool,
}

impl Table {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, Purpose::Init, 0, 0);
        let data: Vec<f32> = (0..VOCAB * VOCAB).map(|_| 0.3 * rng.normal()).collect();
        let logits = Var::from_vec(data, (VOCAB, VOCAB), &Device::Cpu).unwrap();
        let value = Var::from_vec((0..VOCAB).map(|_| 0.1 * rng.normal()).collect(), (VOCAB, 1), &Device::Cpu).unwrap();
        let initial = logits.as_detached_tensor().copy().unwrap();
        Self { logits, value, initial, idle: None, passes: Cell::new(0), broken: false }
    }

    fn probability(&self, from: u32, to: u32) -> f32 {
        let p = candle_nn::ops::softmax(&self.logits.as_detached_tensor(), 1).unwrap();
        p.to_vec2::<f32>().unwrap()[from as usize][to as usize]
    }
}

impl TrainablePolicy for Table {
    fn evaluate(&self, given: &Given<'_>, dropout: Option<&mut Rng>) -> Result<TokenScores> {
        let Given { rows, width, adapter, grad, .. } = *given;
        self.passes.set(self.passes.get() + 1);
        let (m, cols) = (rows.len(), width - 1);
        let mut ids: Vec<u32> = Vec::new();
        for (_, row) in rows {
            ids.extend(row.iter().copied().chain(std::iter::repeat_n(0, width - row.len())));
        }
        let ids = Tensor::from_vec(ids, (m, width), &Device::Cpu)?; // (M, width)
        let inputs = ids.narrow(1, 0, cols)?.contiguous()?.flatten_all()?; // (M·w)
        let targets = ids.narrow(1, 1, cols)?.contiguous()?.flatten_all()?.unsqueeze(1)?; // (M·w, 1)
        let table = match adapter {
            Some("policy") => self.logits.as_tensor().clone(),
            _ => self.initial.clone(),
        };
        let logprobs = candle_nn::ops::log_softmax(&table.index_select(&inputs, 0)?, D::Minus1)?; // (M·w, V)
        let entropy = (logprobs.exp()? * &logprobs)?.sum(1)?.neg()?.reshape((m, cols))?; // (M, w)
        let logprobs = logprobs.gather(&targets, 1)?.reshape((m, cols))?; // (M, w)
        let mut values = self.value.as_tensor().index_select(&inputs, 0)?.reshape((m, cols))?; // (M, w)
        if let Some(rng) = dropout {
            values = (values * f64::from(rng.uniform() + 0.5))?;
        }
        if self.broken {
            values = (values * f64::NAN)?;
        }
        let (trained, outs) = (self.trainable(), (logprobs.clone(), values.clone()));
        let backward: Backward = Box::new(move |by_logprobs, by_values| {
            let sum = ((outs.0 * by_logprobs)? + (outs.1 * by_values)?)?.sum_all()?;
            Ok(crate::support::graph_gradients(&sum, &trained))
        });
        let (logprobs, values, entropy) = (logprobs.detach(), values.detach(), entropy.detach());
        Ok(TokenScores { logprobs, values, entropy, backward: grad.then_some(backward) })
    }

    fn trainable(&self) -> Vec<(String, Var)> {
        let mut vars = vec![("logits".to_string(), self.logits.clone()), ("value".to_string(), self.value.clone())];
        vars.extend(self.idle.iter().map(|var| ("idle".to_string(), var.clone())));
        vars
    }
}

/// Four random responses; the score is the fraction of token 5.
fn sample(step: u64) -> Vec<Row> {
    let row = |i: u64| {
        let mut rng = Rng::new(7, Purpose::Sampling, step, i);
        let n = rng.below(3, 9);
        let body: Vec<u32> = (0..n).map(|_| rng.below(2, VOCAB as u64) as u32).collect();
        let score = body.iter().filter(|&&id| id == 5).count() as f32 / n as f32;
        let decoder_ids = std::iter::once(0).chain(body).chain([1]).collect();
        Row { query_ids: vec![3, 1], decoder_ids, score, generated: None }
    };
    (0..4).map(row).collect()
}

fn config() -> PpoConfig {
    PpoConfig { batch_size: 4, mini_batch_size: 2, ppo_epochs: 2, learning_rate: 1e-2, ..PpoConfig::default() }
}

fn run(table: &Table, state: &mut PpoState, config: &PpoConfig, rows: &[Row]) -> Result<StepOutcome> {
    block_on(ppo_step(table, state, config, rows, None, &Peers::alone(), &mut NonStop))
}

#[test]
fn a_rewarded_token_becomes_more_probable() {
    let table = Table::new(1);
    let config = PpoConfig { learning_rate: 3e-2, ..config() };
    let mut state = PpoState::new(&config);
    let before: Vec<f32> = (2..8).map(|from| table.probability(from, 5)).collect();
    for step in 0..30 {
        let outcome = run(&table, &mut state, &config, &sample(step)).unwrap();
        if step == 0 {
            assert_eq!(outcome.stats.line.kl, 0.0, "the reference is the policy at the start");
            assert_eq!(outcome.mini_batches.len(), 4);
        }
    }
    for (from, before) in (2..8).zip(before) {
        assert!(table.probability(from, 5) > 1.3 * before, "after {from}: {before} -> {}", table.probability(from, 5));
    }
    assert_eq!((state.step, state.adam.steps()), (30, 120));
    assert_eq!(flat(&table.initial), flat(&Table::new(1).initial), "the reference does not change");
}

#[test]
fn gradients_of_the_weights_equal_finite_differences() {
    let config = PpoConfig { mini_batch_size: 4, ppo_epochs: 1, ..config() };
    let rows = sample(3);
    // one step changes the policy, so that ratio and value clipping are active
    let total = |bump: Option<(usize, f32)>| {
        let table = Table::new(4);
        if let Some((k, h)) = bump {
            let mut data = flat(&table.logits);
            data[k] += h;
            table.logits.set(&Tensor::from_vec(data, (VOCAB, VOCAB), &Device::Cpu).unwrap()).unwrap();
        }
        let outcome = run(&table, &mut PpoState::new(&config), &config, &kept(&Table::new(9), &rows)).unwrap();
        outcome.stats.mean.total_loss
    };
    let table = Table::new(4);
    let mut watch = FirstGradient::default();
    let kept = kept(&Table::new(9), &rows);
    block_on(ppo_step(&table, &mut PpoState::new(&config), &config, &kept, None, &Peers::alone(), &mut watch)).unwrap();
    // KL and advantages come from the kept numbers and the initial table: only the new pass depends on the change
    let mut expected_norm = 0.0;
    for k in 0..VOCAB * VOCAB {
        let h = 2e-3;
        let slope = (total(Some((k, h))) - total(Some((k, -h)))) / f64::from(2.0 * h);
        expected_norm += slope * slope;
    }
    let value_norm = watch.value_norm_squared(&rows);
    let norm = watch.0.unwrap();
    assert!(
        (norm.powi(2) - value_norm - expected_norm).abs() < 0.02 * norm.powi(2),
        "{norm} {value_norm} {expected_norm}"
    );
}

/// Rows with the numbers of another table, as if it had generated them.
fn kept(table: &Table, rows: &[Row]) -> Vec<Row> {
    let keep = |row: &Row| {
        let pair = [(row.query_ids.as_slice(), row.decoder_ids.as_slice())];
        let scores = table.evaluate(&Given::new(&pair, row.decoder_ids.len(), Some("policy")), None).unwrap();
        let generated = KeptNumbers { logprobs: flat(&scores.logprobs), values: flat(&scores.values) };
        Row { generated: Some(generated), ..row.clone() }
    };
    rows.iter().map(keep).collect()
}

/// Saves the first update's gradient norm and the loss's gradient by values.
#[derive(Default)]
struct FirstGradient(Option<f64>, Vec<(Vec<usize>, Grid)>);

impl FirstGradient {
    /// Squared norm of the gradient of the value table: each entry sums the columns with its input.
    fn value_norm_squared(&self, rows: &[Row]) -> f64 {
        let mut gradient = [0.0f64; VOCAB];
        for (indices, grad) in &self.1 {
            for (j, &i) in indices.iter().enumerate() {
                for (k, &id) in rows[i].decoder_ids[..rows[i].decoder_ids.len() - 1].iter().enumerate() {
                    gradient[id as usize] += f64::from(grad.row(j)[k]);
                }
            }
        }
        gradient.iter().map(|g| g * g).sum()
    }
}

impl Pace for FirstGradient {
    async fn pause(&mut self) -> Result<()> {
        Ok(())
    }
}

impl StepObserver for FirstGradient {
    fn stage(&mut self, stage: &StepStage<'_>) {
        match stage {
            StepStage::Optimizer { grad_norm, .. } if self.0.is_none() => self.0 = Some(*grad_norm),
            StepStage::MiniBatch(mini) => self.1.push((mini.indices.clone(), mini.loss.grad_values.clone())),
            _ => {}
        }
    }
}

#[test]
fn kept_numbers_replace_the_old_pass() {
    let config = config();
    let (plain, quick) = (Table::new(2), Table::new(2));
    let a = run(&plain, &mut PpoState::new(&config), &config, &sample(0)).unwrap();
    let b = run(&quick, &mut PpoState::new(&config), &config, &kept(&Table::new(2), &sample(0))).unwrap();
    assert!(max_abs_diff(&a.advantages.returns.data, &b.advantages.returns.data) < 1e-6);
    assert!(max_abs_diff(&flat(&plain.logits), &flat(&quick.logits)) < 1e-6);
    assert_eq!(plain.passes.get() - quick.passes.get(), 2, "two chunks were not computed again");
    let mut wrong = kept(&Table::new(2), &sample(0));
    wrong[3].generated.as_mut().unwrap().values.pop();
    let message = run(&quick, &mut PpoState::new(&config), &config, &wrong).unwrap_err().to_string();
    assert!(message.contains("row 4"), "{message}");
}

#[test]
fn a_resumed_run_gives_the_same_numbers() {
    let config = PpoConfig { score_scaling: true, value_head_dropout: 0.1, ..config() };
    let (table, mut state) = (Table::new(5), PpoState::new(&config));
    (0..3).for_each(|step| drop(run(&table, &mut state, &config, &sample(step)).unwrap()));

    let (twin, mut early) = (Table::new(5), PpoState::new(&config));
    (0..2).for_each(|step| drop(run(&twin, &mut early, &config, &sample(step)).unwrap()));
    let (json, tensors) = early.save(&twin.trainable()).unwrap();
    let text = serde_json::to_string(&json).unwrap();
    let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
    let json = serde_json::from_str(&text).unwrap();
    let mut late = PpoState::load(&config, &twin.trainable(), &json, &tensors).unwrap();
    run(&twin, &mut late, &config, &sample(2)).unwrap();

    assert_eq!(flat(&table.logits), flat(&twin.logits));
    assert_eq!(flat(&table.value), flat(&twin.value));
    assert_eq!((state.kl, state.score_moments, state.step), (late.kl, late.score_moments, late.step));
    assert!(PpoState::load(&config, &twin.trainable(), &serde_json::json!({}), &tensors).is_err());
}

#[test]
fn accumulated_mini_batches_make_one_update() {
    let together = PpoConfig { mini_batch_size: 2, gradient_accumulation_steps: 2, ppo_epochs: 1, ..config() };
    let table = Table::new(6);
    let mut state = PpoState::new(&together);
    let outcome = run(&table, &mut state, &together, &sample(1)).unwrap();
    assert_eq!((state.adam.steps(), outcome.mini_batches.len(), outcome.stats.grad_norms.len()), (1, 2, 1));
    // the average of two means over two masks equals the mean over the whole only for equal masks
    let equal: Vec<Row> = sample(1).iter().map(|row| Row { decoder_ids: vec![0, 5, 3, 1], ..row.clone() }).collect();
    let whole = PpoConfig { mini_batch_size: 4, ppo_epochs: 1, ..config() };
    let (a, b) = (Table::new(6), Table::new(6));
    let x = run(&a, &mut PpoState::new(&together), &together, &equal).unwrap();
    let y = run(&b, &mut PpoState::new(&whole), &whole, &equal).unwrap();
    assert!((x.stats.grad_norms[0] - y.stats.grad_norms[0]).abs() < 1e-6);
    assert!(max_abs_diff(&flat(&a.logits), &flat(&b.logits)) < 1e-5);
}

#[test]
fn early_stop_ratio_threshold_and_schedule_work() {
    let stop = PpoConfig { ppo_epochs: 4, learning_rate: 0.5, early_stopping: true, target_kl: 1e-6, ..config() };
    let stopped = run(&Table::new(2), &mut PpoState::new(&stop), &stop, &sample(0)).unwrap();
    let last = stopped.mini_batches.last().unwrap();
    assert!(stopped.stats.epochs < 4 && last.loss.stats.policy_kl > 1.5e-6, "{}", stopped.stats.epochs);

    let guard = PpoConfig { ppo_epochs: 1, ratio_threshold: Some(0.5), ..config() };
    let table = Table::new(2);
    let mut state = PpoState::new(&guard);
    let guarded = run(&table, &mut state, &guard, &sample(0)).unwrap();
    assert_eq!(flat(&table.logits), flat(&Table::new(2).logits), "nothing changes without momentum");
    assert_eq!((guarded.stats.mean.total_loss, state.adam.steps(), guarded.stats.warnings.len()), (0.0, 2, 2));

    let warmup = PpoConfig { lr_schedule: Schedule::ConstantWithWarmup, warmup_steps: 2, ..config() };
    let table = Table::new(2);
    let mut state = PpoState::new(&warmup);
    let rates: Vec<f64> =
        (0..3).map(|s| run(&table, &mut state, &warmup, &sample(s)).unwrap().stats.line.learning_rate).collect();
    assert_eq!(rates, [0.0, 0.005, 0.01]);
}

#[test]
fn orders_are_checked_and_used() {
    let config = config();
    let table = Table::new(2);
    let step = |orders: &[Vec<usize>]| {
        block_on(ppo_step(
            &table,
            &mut PpoState::new(&config),
            &config,
            &sample(0),
            Some(orders),
            &Peers::alone(),
            &mut NonStop,
        ))
    };
    let outcome = step(&[vec![3, 1, 0, 2], vec![0, 1, 2, 3]]).unwrap();
    let indices: Vec<Vec<usize>> = outcome.mini_batches.iter().map(|mini| mini.indices.clone()).collect();
    assert_eq!(indices, [[3, 1], [0, 2], [0, 1], [2, 3]]);
    for wrong in [vec![vec![0, 1, 2, 3]], vec![vec![0, 1, 2, 2]; 2], vec![vec![0, 1, 2, 4]; 2], vec![vec![0, 1, 2]; 2]]
    {
        assert!(step(&wrong).unwrap_err().to_string().contains("orders"));
    }
}

#[test]
fn padding_width_changes_no_trained_number() {
    let narrow = PpoConfig { pad_to_batch: false, kl_reference: KlReference::Base, ..config() };
    let wide = PpoConfig { pad_to_batch: true, ..narrow.clone() };
    let (a, b) = (Table::new(3), Table::new(3));
    let x = run(&a, &mut PpoState::new(&narrow), &narrow, &sample(2)).unwrap();
    let y = run(&b, &mut PpoState::new(&wide), &wide, &sample(2)).unwrap();
    assert_eq!(x.stats.mean, y.stats.mean);
    assert_eq!(flat(&a.logits), flat(&b.logits));
    assert_eq!(x.mask, y.mask);
}

#[test]
fn faults_are_located_errors() {
    let config = config();
    let idle = Table { idle: Some(Var::zeros(3, DType::F32, &Device::Cpu).unwrap()), ..Table::new(1) };
    let message = run(&idle, &mut PpoState::new(&config), &config, &sample(0)).unwrap_err().to_string();
    assert!(message.contains("idle is trainable but got no gradient"), "{message}");
    let broken = Table { broken: true, ..Table::new(1) };
    let message = run(&broken, &mut PpoState::new(&config), &config, &sample(0)).unwrap_err().to_string();
    assert!(message.contains("row 1") && message.contains("value"), "{message}");

    struct Stop;
    impl Pace for Stop {
        async fn pause(&mut self) -> Result<()> {
            Err(Error::Stopped)
        }
    }
    impl StepObserver for Stop {}
    let table = Table::new(1);
    let stopped =
        block_on(ppo_step(&table, &mut PpoState::new(&config), &config, &sample(0), None, &Peers::alone(), &mut Stop));
    assert!(matches!(stopped, Err(Error::Stopped)));
}
