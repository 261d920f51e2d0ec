//! PPO's parts, one by one, against torch, transformers and TRL (tests/fixtures/{adam,kl,ppo_options}).

use crate::support::trl;
use crate::support::trl::rows;
use crate::support::{fixtures, flat, max_abs_diff};
use candle_core::{DType, Device, Tensor, Var};
use detox_lab::nn::adam::{Adam, Gradients, clip_factor};
use detox_lab::ppo::batch::{Batch, Grid};
use detox_lab::ppo::gae;
use detox_lab::ppo::kl::{KlController, KlEstimator};
use detox_lab::ppo::rewards::{RunningMoments, prepare_scores, token_rewards};
use detox_lab::ppo::step::PpoState;
use detox_lab::settings::{PpoConfig, Preset, Schedule, WhitenOver};
use serde_json::Value;
use std::collections::HashMap;

fn json(name: &str) -> Value {
    trl::json(&fixtures().join(name))
}

fn numbers(value: &Value) -> Vec<f32> {
    trl::numbers(value).into_iter().map(|x| x as f32).collect()
}

fn grid(value: &Value) -> Grid {
    let rows = value.as_array().unwrap();
    Grid::from_vec(rows.len(), rows[0].as_array().unwrap().len(), numbers(value)).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

/// Variables of the fixture's two shapes.
fn vars(values: &Value) -> Vec<(String, Var)> {
    let shapes: [&[usize]; 2] = [&[2, 3], &[4]];
    let make = |(i, shape): (usize, &&[usize])| {
        (format!("p{i}"), Var::from_vec(numbers(&values[i]), *shape, &Device::Cpu).unwrap())
    };
    shapes.iter().enumerate().map(make).collect()
}

/// Gradients that equal given numbers: of sum(var · numbers).
fn gradients(vars: &[(String, Var)], values: &Value) -> Gradients {
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
    for (i, (_, var)) in vars.iter().enumerate() {
        let weight = Tensor::from_vec(numbers(&values[i]), var.dims(), &Device::Cpu).unwrap();
        loss = (loss + (var.as_tensor() * weight).unwrap().sum_all().unwrap()).unwrap();
    }
    Gradients::of(crate::support::graph_gradients(&loss, vars), vars).unwrap()
}

#[test]
fn adam_and_norm_clipping_equal_torch() {
    let fixture = json("adam.json");
    for tag in ["plain", "clipped"] {
        let case = &fixture[tag];
        let vars = vars(&fixture["init"]);
        let mut adam = Adam::new(0.9, 0.999, 1e-8);
        for (step, given) in fixture["grads"].as_array().unwrap().iter().enumerate() {
            let grads = gradients(&vars, given);
            let norm = grads.norm(&vars).unwrap();
            if tag == "clipped" {
                assert!(close(norm, case["norms_before_clipping"][step].as_f64().unwrap()), "norm {step}");
            }
            adam.update(&vars, &grads, clip_factor(norm, case["max_norm"].as_f64()), 1e-2).unwrap();
            for (i, (_, var)) in vars.iter().enumerate() {
                let diff = max_abs_diff(&flat(var), &numbers(&case["after"][step][i]));
                assert!(diff < 2e-7, "{tag} step {step}: {diff}");
            }
        }
        let saved: HashMap<String, Tensor> = adam.export(&vars).unwrap().into_iter().collect();
        for i in 0..2 {
            for key in ["exp_avg", "exp_avg_sq"] {
                let diff = max_abs_diff(&flat(&saved[&format!("p{i}.{key}")]), &numbers(&case[key][i]));
                assert!(diff < 1e-7, "{tag} {key}: {diff}");
            }
        }
    }
}

#[test]
fn adam_descends_a_quadratic_as_torch_does() {
    let fixture = json("adam.json");
    let case = &fixture["quadratic"];
    let vars = vars(&fixture["init"]);
    let mut adam = Adam::new(0.9, 0.999, 1e-8);
    for step in 0..20 {
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        for (i, (_, var)) in vars.iter().enumerate() {
            let target = Tensor::from_vec(numbers(&case["target"][i]), var.dims(), &Device::Cpu).unwrap();
            let square = (var.as_tensor() - target).unwrap().sqr().unwrap().sum_all().unwrap();
            loss = (loss + (square * case["scale"][i].as_f64().unwrap()).unwrap()).unwrap();
        }
        let expected = case["losses"][step].as_f64().unwrap();
        assert!(close(f64::from(loss.to_scalar::<f32>().unwrap()), expected), "loss {step}");
        let grads = Gradients::of(crate::support::graph_gradients(&loss, &vars), &vars).unwrap();
        adam.update(&vars, &grads, 1.0, 1e-2).unwrap();
        for (i, (_, var)) in vars.iter().enumerate() {
            assert!(max_abs_diff(&flat(var), &numbers(&case["after"][step][i])) < 5e-7);
        }
    }
}

#[test]
fn learning_rates_equal_transformers() {
    let fixture = json("adam.json");
    let schedules = [
        ("constant", Schedule::Constant),
        ("constant_with_warmup", Schedule::ConstantWithWarmup),
        ("linear", Schedule::Linear),
        ("cosine", Schedule::Cosine),
    ];
    for (name, lr_schedule) in schedules {
        let total_steps = Some(20);
        let config =
            PpoConfig { learning_rate: 1.0, lr_schedule, warmup_steps: 3, total_steps, ..PpoConfig::default() };
        for (step, expected) in fixture["schedules"][name].as_array().unwrap().iter().enumerate() {
            let rate = config.learning_rate_at(step as u64);
            assert!((rate - expected.as_f64().unwrap()).abs() < 1e-12, "{name} {step}: {rate} != {expected}");
        }
    }
}

#[test]
fn kl_estimators_and_controllers_equal_trl() {
    let fixture = json("kl.json");
    let (lp, reference) = (grid(&fixture["logprobs"]), grid(&fixture["ref_logprobs"]));
    let expected = [
        (KlEstimator::K1, &fixture["penalty"]["kl"]),
        (KlEstimator::K2, &fixture["penalty"]["mse"]),
        (KlEstimator::Abs, &fixture["penalty"]["abs"]),
        (KlEstimator::K1, &fixture["estimators"]["k1"]),
        (KlEstimator::K2, &fixture["estimators"]["k2"]),
        (KlEstimator::K3, &fixture["estimators"]["k3"]),
    ];
    for (estimator, values) in expected {
        for (a, b) in estimator.grid(&lp, &reference).data.iter().zip(numbers(values)) {
            assert!((a - b).abs() <= 2e-6 * b.abs().max(1.0), "{estimator:?}: {a} != {b}");
        }
    }
    for row in fixture["controllers"].as_array().unwrap() {
        let number = |key: &str| row[key].as_f64().unwrap();
        let mut controller = match row["kind"].as_str().unwrap() {
            "fixed" => KlController::Fixed { value: number("init") },
            _ => KlController::Adaptive { value: number("init"), target: number("target"), horizon: number("horizon") },
        };
        for (kl, after) in row["kl"].as_array().unwrap().iter().zip(row["after"].as_array().unwrap()) {
            controller.update(kl.as_f64().unwrap(), row["n_steps"].as_u64().unwrap() as usize);
            assert!((controller.value() - after.as_f64().unwrap()).abs() < 1e-16);
        }
    }
}

#[test]
fn masked_statistics_and_score_moments_equal_trl() {
    let fixture = json("kl.json");
    let masked = &fixture["masked"];
    let (values, mask) = (grid(&masked["values"]), grid(&masked["mask"]));
    assert!(close(gae::masked_mean(&values, &mask), masked["mean"].as_f64().unwrap()));
    assert!(close(gae::masked_var(&values, &mask), masked["var"].as_f64().unwrap()));
    for (shift, key) in [(true, "whiten_shift_mean_true"), (false, "whiten_shift_mean_false")] {
        assert!(
            max_abs_diff(&gae::whiten(&values, &mask, shift).unwrap().data, &numbers(&masked[key])) < 1e-6,
            "{key}"
        );
    }
    let mut moments = RunningMoments::default();
    for step in fixture["running_moments"].as_array().unwrap() {
        let scores = numbers(&step["scores"]);
        let with =
            |score_norm, score_clip| PpoConfig { score_scaling: true, score_norm, score_clip, ..Default::default() };
        let run = |config: &PpoConfig| {
            let mut after = moments;
            (prepare_scores(&scores, config, &mut after).unwrap(), after)
        };
        let (scaled, after) = run(&with(false, None));
        for (ours, key) in [(after.mean, "mean"), (after.std, "std"), (after.var, "var"), (after.count, "count")] {
            assert!(close(ours, step[key].as_f64().unwrap()), "{key}");
        }
        assert!(max_abs_diff(&scaled, &numbers(&step["scaled"])) < 1e-5);
        assert!(max_abs_diff(&run(&with(true, None)).0, &numbers(&step["scaled_normed"])) < 1e-5);
        assert!(max_abs_diff(&run(&with(true, Some(0.5))).0, &numbers(&step["scaled_normed_clip_0_5"])) < 1e-5);
        let clip_only = PpoConfig { score_clip: Some(0.5), ..PpoConfig::default() };
        assert_eq!(run(&clip_only).0, numbers(&step["clip_only_0_5"]));
        moments = after;
    }
}

/// Stages 7 and 8 of TRL 0.11.4 with the options that the golden cases do not use.
#[test]
fn rewards_and_advantages_with_options_equal_trl() {
    let fixture = json("ppo_options.json");
    let tensors = candle_core::safetensors::load(fixtures().join("ppo_options.safetensors"), &Device::Cpu).unwrap();
    for (name, case) in fixture.as_object().unwrap().iter().filter(|(name, _)| *name != "note") {
        if name == "G_full_kl_fixed" {
            continue; // the KL over the whole distribution is not supported
        }
        let base = PpoConfig { whiten_over: WhitenOver::Batch, ..PpoConfig::preset(Preset::Published) };
        let config = PpoConfig::from_json(base, &case["config"]).unwrap();
        let mut state = PpoState::new(&config);
        for (s, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let recorded = |key: &str| {
                let t = &tensors[&format!("{name}.step{s}.{key}")];
                let (rows, cols) = t.dims2().unwrap();
                Grid::from_vec(rows, cols, flat(t)).unwrap()
            };
            let rows = rows(&case["inputs"][s]);
            let batch = Batch::new(&rows, &config).unwrap();
            assert_eq!(batch.mask, recorded("mask"));
            let given: Vec<f32> = rows.iter().map(|row| row.score).collect();
            let scores = prepare_scores(&given, &config, &mut state.score_moments).unwrap();
            assert!(max_abs_diff(&scores, &numbers(&step["scores_used"])) < 1e-5, "{name} {s} scores");
            let kl = config.kl_estimator.grid(&recorded("old_logprobs"), &recorded("ref_logprobs"));
            assert!(max_abs_diff(&kl.data, &recorded("kls").data) < 1e-5, "{name} {s} kl");
            let beta = step["kl_coef_before"].as_f64().unwrap();
            assert!((state.kl.value() - beta).abs() < 1e-9, "{name} {s} kl_coef");
            let rewards = token_rewards(&kl, &scores, beta, &batch);
            assert!(max_abs_diff(&rewards.rewards.data, &recorded("rewards").data) < 1e-5, "{name} {s} rewards");
            let mut used = gae::zero_masked(&rewards.rewards, &batch.mask);
            if config.whiten_rewards {
                used = gae::whiten(&used, &batch.mask, false).unwrap(); // padding is kept, as in TRL
            }
            let out = gae::advantages(&recorded("old_values"), &used, &batch.mask, config.gamma, config.lambda);
            assert!(max_abs_diff(&out.returns.data, &recorded("returns").data) < 1e-4, "{name} {s} returns");
            let white = gae::whiten(&out.advantages, &batch.mask, true).unwrap();
            assert!(max_abs_diff(&white.data, &recorded("advantages_whitened").data) < 1e-4, "{name} {s} advantages");
            state.kl.update(step["stats"]["objective/kl"].as_f64().unwrap(), config.batch_size);
            assert!((state.kl.value() - step["kl_coef_after"].as_f64().unwrap()).abs() < 1e-12);
        }
    }
}
