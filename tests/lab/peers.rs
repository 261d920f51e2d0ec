//! Training and evaluation on several ranks, here threads: the same tokens and, within rounding, the same numbers as on one.

use crate::crash::{lab, run_config};
use crate::support::peers::on_ranks;
use crate::support::run::QUICK;
use crate::support::store::{InMemory, StopAfter};
use crate::support::{flat, max_abs_diff};
use detox_lab::error::{Error, Result};
use detox_lab::lab::evaluate::{EvaluateOptions, pairs};
use detox_lab::lab::models::{INITIAL, Lab, POLICY, TrainablePolicy};
use detox_lab::lab::run;
use detox_lab::lab::train::{Peers, Trainer};
use detox_lab::pace::{NonStop, block_on};
use detox_lab::settings::{PpoConfig, Preset};
use std::collections::BTreeMap;

const STEPS: u64 = 3;

fn quick(preset: Preset) -> PpoConfig {
    let json: serde_json::Value = serde_json::from_str(QUICK).unwrap();
    PpoConfig::from_json(PpoConfig::preset(preset), &json).unwrap()
}

/// The files of a run, and its trained weights at the end.
#[derive(Clone, Default, PartialEq, Debug)]
struct Done {
    files: InMemory,
    weights: BTreeMap<String, Vec<u32>>,
}

impl Done {
    /// The ids of all rollouts.
    fn ids(&self) -> Vec<serde_json::Value> {
        let rollouts =
            self.files.0.iter().filter(|(name, _)| name.ends_with(".jsonl") && name.starts_with(run::ROLLOUTS));
        let lines = rollouts.flat_map(|(_, bytes)| str::from_utf8(bytes).unwrap().lines());
        lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["response_ids"].clone()).collect()
    }

    /// The largest difference of a trained weight.
    fn difference(&self, other: &Self) -> f32 {
        let numbers = |bits: &Vec<u32>| bits.iter().map(|bits| f32::from_bits(*bits)).collect::<Vec<_>>();
        let pairs = self.weights.iter().map(|(name, bits)| (numbers(bits), numbers(&other.weights[name])));
        pairs.map(|(a, b)| max_abs_diff(&a, &b)).fold(0.0, f32::max)
    }
}

/// Starts or continues a run from these files, as one rank; stops at a pause point.
fn go(peers: &Peers, ppo: &PpoConfig, files: &InMemory, steps: u64, pauses: usize) -> Result<Done> {
    let mut files = files.clone();
    let newest = run::newest_checkpoint(&&mut files).ok();
    let (lab, adapter) = lab(&files, newest, ppo);
    let config = run_config(ppo, steps);
    let config = run::RunConfig { keep: None, keep_rollouts: None, ..config };
    let mut trainer = match newest {
        None => Trainer::start(&lab, config, adapter, &mut files, 1e9)?,
        Some(_) => Trainer::resume(&lab, config, adapter, &mut files, 1e9)?,
    };
    block_on(trainer.run(peers, &mut StopAfter(pauses)))?;
    let bits = |t: &candle_core::Tensor| flat(t).into_iter().map(f32::to_bits).collect();
    let vars = lab.actor.policy.trainable();
    let weights = vars.iter().map(|(name, var)| (name.clone(), bits(var.as_tensor()))).collect();
    Ok(Done { files, weights })
}

/// A whole run on `size` ranks; all must end with the same weights.
fn among(size: usize, ppo: &PpoConfig, files: &InMemory, steps: u64) -> Done {
    let mut all = on_ranks(size, |peers| go(peers, ppo, files, steps, usize::MAX));
    let all: Vec<Done> = all.drain(..).map(|done| done.unwrap()).collect();
    assert!(all.iter().all(|done| done.weights == all[0].weights), "the ranks have the same weights, bit for bit");
    all.into_iter().next().unwrap()
}

#[test]
fn ranks_train_as_one_process_does() {
    let more = |ppo: PpoConfig| PpoConfig { gradient_accumulation_steps: 2, max_grad_norm: Some(0.5), ..ppo };
    for ppo in [quick(Preset::Corrected), quick(Preset::Published), more(quick(Preset::Corrected))] {
        let new = InMemory::default();
        let alone = go(&Peers::alone(), &ppo, &new, STEPS, usize::MAX).unwrap();
        assert_eq!(among(1, &ppo, &new, STEPS), alone, "one rank equals no ranks, bit for bit");
        for size in [2, 4] {
            let done = among(size, &ppo, &new, STEPS);
            assert_eq!(done.ids(), alone.ids(), "{size} ranks: the same tokens");
            assert_eq!(done.ids().len(), 3 * ppo.batch_size);
            let off = done.difference(&alone);
            assert!(off <= 1e-5, "{size} ranks: {off}");
            assert_eq!(among(size, &ppo, &new, STEPS), done, "{size} ranks repeat bit for bit");
        }
    }
}

/// Rank 1 is stopped at each of many pause points: all ranks stop, and the run continues with another number of ranks.
#[test]
fn a_rank_that_stops_stops_all_and_the_run_continues() {
    let ppo = PpoConfig { batch_size: 4, mini_batch_size: 2, output_max_length: 8, ..quick(Preset::Corrected) };
    let twin = go(&Peers::alone(), &ppo, &InMemory::default(), STEPS, usize::MAX).unwrap();
    let first = among(2, &ppo, &InMemory::default(), 1);
    let mut stops = 0;
    for pauses in (0..).step_by(7) {
        let stop = |peers: &Peers| if peers.is_first() { usize::MAX } else { pauses };
        let ended = on_ranks(2, |peers| go(peers, &ppo, &first.files, STEPS, stop(peers)));
        if ended.iter().any(Result::is_ok) {
            break; // the run has fewer pauses
        }
        let errors: Vec<Error> = ended.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors, [Error::Stopped, Error::Stopped], "{pauses} pauses");
        stops += 1;
    }
    assert!(stops >= 5, "stopped at {stops} places only");
    let files = go(&Peers::alone(), &ppo, &first.files, 2, usize::MAX).unwrap().files;
    let done = among(2, &ppo, &files, STEPS);
    assert_eq!(done.ids(), twin.ids());
    assert!(done.difference(&twin) <= 1e-5, "{}", done.difference(&twin));
}

#[test]
fn ranks_with_different_weights_or_too_few_rows_are_refused() {
    let ppo = PpoConfig { batch_size: 4, mini_batch_size: 2, output_max_length: 8, ..quick(Preset::Corrected) };
    let all = on_ranks(2, |peers| {
        // a new value head comes from the seed
        let ppo = PpoConfig { seed: peers.rank() as u64, ..ppo.clone() };
        let (lab, adapter) = lab(&InMemory::default(), None, &ppo);
        let mut files = InMemory::default();
        let mut trainer = Trainer::start(&lab, run_config(&ppo, 1), adapter, &mut files, 1e9)?;
        trainer.config.ppo.seed = 0;
        block_on(trainer.run(peers, &mut NonStop))
    });
    for message in all.into_iter().map(|ended| ended.unwrap_err().to_string()) {
        assert!(message.contains("checksum of the trained weights: rank 0 has"), "{message}");
    }
    for ended in on_ranks(3, |peers| go(peers, &ppo, &InMemory::default(), 1, usize::MAX)) {
        let message = ended.unwrap_err().to_string();
        assert!(message.contains("3 ranks are more than mini_batch_size = 2"), "{message}");
    }
}

#[test]
fn ranks_evaluate_as_one_process_does() {
    let ppo = quick(Preset::Corrected);
    let files = go(&Peers::alone(), &ppo, &InMemory::default(), 1, usize::MAX).unwrap().files;
    let evaluate = |peers: &Peers| {
        let (lab, _) = lab(&files, Some(1), &ppo);
        let options = EvaluateOptions { n: 7, max_new_tokens: 12, greedy: false, seed: 3, batch_size: 3 };
        let (before, after) = (Some(INITIAL), Some(POLICY));
        let (Lab { actor, judge, dialogues }, mut observer) = (&lab, NonStop);
        let found = pairs(actor, judge, dialogues, before, after, &options, &ppo, peers, &mut observer);
        let found = block_on(found)?;
        Ok(found
            .into_iter()
            .map(|p| (p.before.generated.ids, p.after.generated.ids, p.kl, p.after.scored.score))
            .collect::<Vec<_>>())
    };
    let alone = evaluate(&Peers::alone()).unwrap();
    for found in on_ranks(2, evaluate) {
        let found = found.unwrap();
        assert_eq!(found.len(), 7);
        for ((before, after, kl, score), (b, a, k, s)) in found.iter().zip(&alone) {
            assert_eq!((before, after), (b, a));
            assert!((kl - k).abs() < 1e-4 && (score - s).abs() < 1e-5, "{kl} {k} {score} {s}");
        }
    }
}
