//! Every written calculation gives the number that the engine computed: on a step by hand and on the recorded run.
#![allow(clippy::unwrap_used)]

use super::super::expr::plain;
use super::*;
use crate::settings::Preset;
use serde_json::{Value, json};

fn grid(rows: usize, data: &[f32]) -> Grid {
    Grid::from_vec(rows, data.len() / rows, data.to_vec()).unwrap()
}

fn config(change: Value) -> PpoConfig {
    PpoConfig::from_json(PpoConfig::preset(Preset::Corrected), &change).unwrap()
}

/// Two responses of three and two tokens, every number worked out from the definitions.
fn by_hand(config: &PpoConfig) -> Grids {
    let mask = grid(2, &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    let old_logprobs = grid(2, &[-1.32, -0.4, -2.0, -0.9, -1.1, -9.0]);
    let ref_logprobs = grid(2, &[-2.07, -0.5, -1.5, -0.9, -1.0, -8.0]);
    let old_values = grid(2, &[0.5, 0.7, 1.0, -0.2, 0.1, 7.0]);
    let scores = [2.84f32, -1.5];
    let kl = old_logprobs.zip(&ref_logprobs, |a, b| config.kl_estimator.token(a, b));
    let non_score = kl.map(|kl| -(config.kl_coef as f32) * kl);
    let mut rewards = non_score.clone();
    rewards.data[2] += scores[0];
    rewards.data[4] += scores[1];
    let (gamma, decay) = (config.gamma as f32, (config.gamma * config.lambda) as f32);
    let mut discounted = rewards.clone();
    if config.whiten_rewards {
        let (mean, deviation) = moments(&rewards, &mask).unwrap();
        discounted = rewards.map(|x| ((f64::from(x) - mean) / deviation + mean) as f32);
    }
    let mut advantages = Grid::zeros(2, 3);
    for i in 0..2 {
        let (mut next_value, mut next_advantage) = (0.0, 0.0);
        for k in (0..3).rev().filter(|k| mask.row(i)[*k] > 0.0) {
            let delta = discounted.row(i)[k] + gamma * next_value - old_values.row(i)[k];
            next_advantage = delta + decay * next_advantage;
            advantages.row_mut(i)[k] = next_advantage;
            next_value = old_values.row(i)[k];
        }
    }
    let (mean, deviation) = moments(&advantages, &mask).unwrap();
    let advantages_whitened = advantages.map(|x| ((f64::from(x) - mean) / deviation) as f32);
    let returns = advantages.zip(&old_values, |a, v| a + v);
    let ratio = grid(2, &[1.3, 0.75, 1.1, 1.3, 0.7, 1.0]);
    Grids {
        mask,
        old_logprobs,
        ref_logprobs,
        old_values,
        kl,
        non_score,
        rewards,
        advantages,
        advantages_whitened,
        returns,
        ratio,
    }
}

/// Every line of every sum of every trained token: the tree's number is the engine's.
fn check(frame: StepSums<'_>) -> usize {
    let mut lines = 0;
    for (i, k) in (0..frame.grids.mask.rows).flat_map(|i| (0..frame.grids.mask.cols).map(move |k| (i, k))) {
        for quantity in Quantity::ALL.into_iter().filter(|_| frame.trained(i, k)) {
            let sum = frame.sum(quantity, i, k);
            assert!(!sum.lines.is_empty() || sum.note.is_some());
            assert!(sum.lines.len() <= quantity.lines(), "{quantity:?}");
            for line in sum.lines {
                let (is, should) = (line.expression.value(), line.result);
                let tolerance = 1e-4 * should.abs().max(1.0);
                assert!(
                    (is - should).abs() < tolerance,
                    "{quantity:?} ({i}, {k}), {}: {is} is not {should}",
                    line.name
                );
                lines += 1;
            }
        }
    }
    lines
}

#[test]
fn sums_by_hand() {
    let settings = [
        json!({}),
        json!({"kl_estimator": "k2", "kl_coef": 0.5}),
        json!({"kl_estimator": "k3", "gamma": 0.9, "lambda": 0.8}),
        json!({"kl_estimator": "abs", "whiten_over": "mini_batch"}),
        json!({"whiten_rewards": true}),
    ];
    for settings in settings {
        let config = config(settings);
        let grids = by_hand(&config);
        assert!(check(StepSums { grids: &grids, config: &config }) >= 40);
    }
}

#[test]
fn the_words_of_a_sum() {
    let config = config(json!({"kl_coef": 0.3}));
    let grids = by_hand(&config);
    let frame = StepSums { grids: &grids, config: &config };
    let written = |quantity, k| plain(&frame.sum(quantity, 0, k).lines[0].expression.numbers());
    let named = |quantity, k| plain(&frame.sum(quantity, 0, k).lines[0].expression.names());
    assert_eq!(named(Quantity::Reward, 0), "−kl_coef · (logprob − reference logprob)");
    assert_eq!(written(Quantity::Reward, 0), "−0.3 · (−1.3200 − (−2.0700))");
    assert_eq!(named(Quantity::Reward, 2), "−kl_coef · (logprob − reference logprob) + score");
    assert_eq!(written(Quantity::Reward, 2), "−0.3 · (−2.0000 − (−1.5000)) + 2.8400");
    assert_eq!(named(Quantity::Advantage, 1), "reward + γ · next value − value");
    assert_eq!(plain(&frame.sum(Quantity::Advantage, 0, 1).lines[1].expression.names()), "δ + γ · λ · next advantage");
    assert_eq!(named(Quantity::Return, 1), "advantage + value");
    assert_eq!(named(Quantity::Ratio, 1), "exp(new logprob − old logprob)");
}

#[test]
fn clipping_follows_the_advantage() {
    let config = config(json!({}));
    let mut grids = by_hand(&config);
    grids.advantages_whitened = grid(2, &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
    let frame = StepSums { grids: &grids, config: &config };
    let clipped = |i| (0..3).map(|k| frame.clipped(i, k)).collect::<Vec<_>>();
    assert_eq!((clipped(0), clipped(1)), (vec![true, false, false], vec![false, true, false]));
    let note = |i, k| frame.sum(Quantity::Ratio, i, k).note.unwrap();
    assert!(note(0, 0).starts_with("Clipped: its whitened advantage is above zero and the ratio beyond 1.2"));
    assert!(note(0, 1).contains("moves it back"));
    assert!(note(0, 2).starts_with("Not clipped: inside 0.8 … 1.2"));
}

#[test]
fn a_token_that_is_not_trained_says_so() {
    let config = config(json!({}));
    let grids = by_hand(&config);
    let frame = StepSums { grids: &grids, config: &config };
    assert!(frame.sum(Quantity::Reward, 1, 2).note.unwrap().contains("not trained"));
    assert_eq!(frame.sum(Quantity::Kl, 1, 2).lines.len(), 1);
    assert!((frame.kl_coef() - config.kl_coef).abs() < 1e-6);
}

#[test]
fn slugs_come_back() {
    for quantity in Quantity::ALL {
        assert_eq!(Quantity::from_slug(quantity.slug()), Some(quantity));
    }
    assert_eq!(Quantity::from_slug("luck"), None);
}

/// The recorded steps, with the settings they were made with.
#[test]
fn sums_of_the_recorded_run() {
    let json: Value = serde_json::from_str(include_str!("../../../../static/recorded/config.json")).unwrap();
    let config = config(json["ppo"].clone());
    for bytes in [
        &include_bytes!("../../../../static/recorded/rollouts/step-00001.safetensors")[..],
        &include_bytes!("../../../../static/recorded/rollouts/step-00040.safetensors")[..],
        &include_bytes!("../../../../static/recorded/rollouts/step-00080.safetensors")[..],
    ] {
        let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let read = |name: &str| {
            let tensor = tensors.tensor(name).unwrap();
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            let data = tensor.data().chunks_exact(4).map(number).collect();
            Grid::from_vec(tensor.shape()[0], tensor.shape()[1], data).unwrap()
        };
        let grids = Grids {
            mask: read("mask"),
            old_logprobs: read("old_logprobs"),
            ref_logprobs: read("ref_logprobs"),
            old_values: read("old_values"),
            kl: read("kl"),
            non_score: read("non_score_reward"),
            rewards: read("rewards"),
            advantages: read("advantages"),
            advantages_whitened: read("advantages_whitened"),
            returns: read("returns"),
            ratio: read("ratio"),
        };
        assert!(check(StepSums { grids: &grids, config: &config }) > 2_000);
    }
}
