//! A whole PPO step against TRL's recorded steps (both versions, all four cases), without a transformer: a fake model returns
//! the log-probs, values and entropies that TRL recorded, pass by pass, so that everything from rewards to Adam's update of the
//! value head's bias must equal TRL's.

use crate::support::trl;
use crate::support::trl::{BIAS, Tensors, assert_close, assert_grid, assert_stats, rows, tensors};
use crate::support::{flat, golden, max_abs_diff};
use candle_core::{D, Device, Tensor, Var};
use detox_lab::Result;
use detox_lab::model::policy::{Backward, Given, TokenScores, TrainablePolicy};
use detox_lab::nn::adam::{Adam, Gradients};
use detox_lab::nn::rng::Rng;
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::peers::Peers;
use detox_lab::ppo::step::{PpoState, ppo_step};
use std::cell::Cell;

/// Returns recorded passes in TRL's order: old chunks, reference chunks, then mini-batches.
struct Recorded<'a> {
    tensors: &'a Tensors,
    bias: Var,
    chunks: usize,
    calls: Cell<usize>,
}

impl TrainablePolicy for Recorded<'_> {
    fn evaluate(&self, given: &Given<'_>, _: Option<&mut Rng>) -> Result<TokenScores> {
        let Given { rows, width, adapter, grad, .. } = *given;
        let call = self.calls.replace(self.calls.get() + 1);
        let m = rows.len();
        let zeros = Tensor::zeros((m, width - 1), candle_core::DType::F32, &Device::Cpu)?;
        let part = |key: &str| self.tensors[key].narrow(0, call % self.chunks * m, m);
        if call < 2 * self.chunks {
            assert!(!grad);
            let old = call < self.chunks;
            assert_eq!(adapter, old.then_some("policy"), "the published reference is the base model without adapter");
            let logprobs = part(if old { "old_logprobs" } else { "ref_logprobs" })?;
            return Ok(TokenScores { logprobs, values: part("old_values")?, entropy: zeros, backward: None });
        }
        let get = |key: &str| &self.tensors[&format!("mb{}.{key}", call - 2 * self.chunks)];
        let z = get("logits");
        let logprobs = candle_nn::ops::log_softmax(z, D::Minus1)?;
        let entropy = (logprobs.exp()? * logprobs)?.sum(D::Minus1)?.neg()?; // (M, R)
        // the recorded values plus (bias - bias): the same numbers, but with the gradient of the value head's bias
        let bias = (self.bias.as_tensor() - self.bias.as_detached_tensor())?;
        let values = get("vpreds").broadcast_add(&bias)?;
        let (trained, outs) = (self.trainable(), values.clone());
        let backward: Backward = Box::new(move |_, by_values| {
            Ok(crate::support::graph_gradients(&(outs * by_values)?.sum_all()?, &trained))
        });
        let values = values.detach();
        Ok(TokenScores { logprobs: get("logprobs").clone(), values, entropy, backward: Some(backward) })
    }

    fn trainable(&self) -> Vec<(String, Var)> {
        vec![(BIAS.to_string(), self.bias.clone())]
    }
}

#[test]
fn steps_from_recorded_passes_equal_trl() {
    let golden = golden();
    trl::for_cases(&golden, |version, case, spec, log, config| {
        let mut state = PpoState::new(config);
        let start = tensors(&golden.join("v_head.safetensors"));
        let bias = Var::from_tensor(&start[BIAS]).unwrap();
        for (s, step) in log["steps"].as_array().unwrap().iter().enumerate() {
            let what = format!("{version} {case} step {s}");
            let file = golden.join(format!("{version}/{case}.step{s}.safetensors"));
            let tensors = trl::tensors(&file);
            let chunks = config.batch_size / config.mini_batch_size;
            let actor = Recorded { tensors: &tensors, bias: bias.clone(), chunks, calls: Cell::new(0) };
            let orders = trl::orders(step);
            let rows = rows(&spec["steps"][s]);
            let out =
                block_on(ppo_step(&actor, &mut state, config, &rows, Some(&orders), &Peers::alone(), &mut NonStop))
                    .unwrap();

            assert_eq!(out.mask.data, flat(&tensors["mask"]), "{what}");
            assert_grid(&format!("{what} rewards"), &out.rewards.rewards, &tensors["rewards"], &out.mask, 1e-4);
            assert_grid(
                &format!("{what} non score"),
                &out.rewards.non_score,
                &tensors["non_score_reward"],
                &out.mask,
                1e-4,
            );
            for (key, grid) in [
                ("returns", &out.advantages.returns),
                ("advantages_raw", &out.advantages.advantages),
                ("advantages_whitened_batch", &out.advantages_whitened),
            ] {
                if let Some(recorded) = tensors.get(key) {
                    assert_grid(&format!("{what} {key}"), grid, recorded, &out.mask, 1e-4);
                }
            }
            for (k, (mini, recorded)) in
                out.mini_batches.iter().zip(step["minibatches"].as_array().unwrap()).enumerate()
            {
                let what = format!("{what} mini-batch {k}");
                let mask = out.mask.select(&mini.indices);
                let whitened = &tensors[&format!("mb{k}.advantages_whitened")];
                assert_grid(&what, &mini.advantages, whitened, &mask, 1e-4);
                let x = &mini.loss.stats;
                for (key, ours) in [
                    ("loss/policy", x.policy_loss),
                    ("loss/value", x.value_loss),
                    ("loss/total", x.total_loss),
                    ("policy/entropy", x.entropy),
                    ("policy/approxkl", x.approx_kl),
                    ("policy/policykl", x.policy_kl),
                    ("policy/clipfrac", x.clip_fraction),
                    ("policy/advantages_mean", x.advantages_mean),
                    ("returns/mean", x.returns_mean),
                    ("returns/var", x.returns_var),
                    ("val/vpred", x.value_mean),
                    ("val/error", x.value_error),
                    ("val/clipfrac", x.value_clip_fraction),
                    ("val/mean", x.old_value_mean),
                    ("val/var", x.old_value_var),
                ] {
                    assert_close(&format!("{what} {key}"), ours, recorded["stats"][key].as_f64().unwrap(), 1e-4);
                }
                let slope: f64 = mini.loss.grad_values.data.iter().map(|&g| f64::from(g)).sum();
                let recorded = f64::from(flat(&tensors[&format!("mb{k}.grad.{BIAS}")])[0]);
                assert_close(&format!("{what} gradient of the bias"), slope, recorded, 1e-4);
            }
            assert_eq!(out.mini_batches.len(), step["minibatches"].as_array().unwrap().len(), "{what}");
            assert_stats(&what, &out.stats.to_json(), &step["stats"], 1e-4);
            assert_close(&what, state.kl.value(), step["kl_coef_after"].as_f64().unwrap(), 1e-9);
            let after = f64::from(flat(&tensors[&format!("after.{BIAS}")])[0]);
            let ours = f64::from(flat(&bias)[0]);
            assert!((ours - after).abs() < 1e-6, "{what} {BIAS}: {ours} != {after}");
        }
    });
}

/// Only the optimizer, for all trainable tensors: TRL's recorded gradients give TRL's weights.
#[test]
fn recorded_gradients_give_trls_weights() {
    let golden = golden();
    let mut worst = 0.0f32;
    trl::for_cases(&golden, |version, case, spec, _, config| {
        let mut start: Vec<(String, Tensor)> = Vec::new();
        for file in ["adapter/adapter_model.safetensors", "v_head.safetensors"] {
            start.extend(tensors(&golden.join(file)));
        }
        let vars: Vec<(String, Var)> =
            start.iter().map(|(name, t)| (name.clone(), Var::from_tensor(t).unwrap())).collect();
        let mut adam = Adam::new(config.adam_beta1, config.adam_beta2, config.adam_eps);
        for s in 0..spec["steps"].as_array().unwrap().len() {
            let file = golden.join(format!("{version}/{case}.step{s}.safetensors"));
            let tensors = trl::tensors(&file);
            let mut k = 0;
            while tensors.contains_key(&format!("mb{k}.grad.{BIAS}")) {
                let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
                for (name, var) in &vars {
                    let gradient = &tensors[&format!("mb{k}.grad.{name}")];
                    loss = (loss + (var.as_tensor() * gradient).unwrap().sum_all().unwrap()).unwrap();
                }
                let gradients = Gradients::of(crate::support::graph_gradients(&loss, &vars), &vars).unwrap();
                adam.update(&vars, &gradients, 1.0, config.learning_rate).unwrap();
                k += 1;
            }
            assert_eq!(k, config.ppo_epochs * config.batch_size / config.mini_batch_size);
            for (name, var) in &vars {
                worst = worst.max(max_abs_diff(&flat(var), &flat(&tensors[&format!("after.{name}")])));
            }
        }
    });
    assert!(worst < 1e-6, "{worst}");
}
