//! A damaged run folder, opened as by `train --resume` and `evaluate --run`.

use super::{Limit, hold};
#[path = "../../support/store.rs"]
#[allow(clippy::duplicate_mod)] // the fuzz targets have no `support`
mod store;

use detox_lab::error::Result;
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::{ByteSource, Memory};
use detox_lab::lab::models::{Actor, Judge, Lab};
use detox_lab::lab::run::{CHECKPOINTS, RunConfig, newest_checkpoint, step_name};
use detox_lab::lab::train::Trainer;
use detox_lab::settings::PpoConfig;
use detox_lab::text::dialogue;
use std::cell::RefCell;
use std::collections::BTreeMap;
use store::InMemory;

/// Damage is small compared with the run, whose size counts too.
const RUN: Limit = Limit { constant: 32 << 20, factor: 256 };

/// Models and an undamaged run after one step, made once per thread.
struct Bench {
    lab: Lab,
    run: InMemory,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(bench().unwrap());
}

macro_rules! folder {
    ($name:literal: $($file:literal),+) => {
        Memory::new($name, BTreeMap::from([$((
            $file.to_string(),
            include_bytes!(concat!("../../fixtures/tiny/", $name, "/", $file)).to_vec(),
        )),+]))
    };
}

fn bench() -> Result<Bench> {
    let policy = folder!("policy": "config.json", "model.safetensors", "tokenizer.json");
    let reward = folder!("reward": "config.json", "model.safetensors", "tokenizer.json");
    let mut actor = Actor::load(&policy, 0)?;
    let targets = ["encoder.block.0.layer.0.SelfAttention.q"];
    let config = AdapterConfig::new(2, 2.0, 0.0, &targets, "policy")?;
    let adapter = actor.fresh_adapter(config.clone(), 0)?;
    let ppo = PpoConfig { batch_size: 4, ..PpoConfig::default() };
    actor.begin(&adapter, &ppo)?;
    let dialogues = dialogue::parse("train.jsonl", include_bytes!("../../fixtures/tiny/data/train.jsonl"))?;
    let lab = Lab { actor, judge: Judge::load(&reward)?, dialogues };
    let run = RunConfig {
        version: "0.1.0".into(),
        policy: "policy".into(),
        adapter: None,
        reward: "reward".into(),
        reward_labels: None,
        data: "data".into(),
        steps: 10,
        save_every: 1,
        keep: Some(3),
        keep_rollouts: Some(5),
        weights: Default::default(),
        precision: Default::default(),
        ppo,
    };
    let mut files = InMemory::default();
    Trainer::start(&lab, run, config, &mut files, 0.0)?;
    let newest = files.0.clone().into_iter().filter_map(|(name, bytes)| {
        let state =
            String::from_utf8(bytes.clone()).map(|text| text.replace("\"step\": 0", "\"step\": 1").into_bytes());
        Some((name.strip_prefix("checkpoints/step-00000/")?.to_string(), state.unwrap_or(bytes)))
    });
    let newest: Vec<_> = newest.collect();
    files.0.extend(newest.into_iter().map(|(name, bytes)| (format!("checkpoints/step-00001/{name}"), bytes)));
    for name in ["metrics.jsonl", "timings.jsonl", "samples.jsonl"] {
        files.0.insert(name.into(), b"{\"step\":1}\n{\"step\":2}\n{\"st".to_vec());
    }
    files.0.insert("rollouts/step-00001.jsonl".into(), b"{}\n".to_vec());
    files.0.insert("rollouts/step-00002.jsonl".into(), b"{}\n".to_vec());
    Ok(Bench { lab, run: files })
}

/// Bytes as damage to a run, change by change: the kind, the file, the place, and the number of following bytes to use.
pub fn run_folder(input: &[u8]) {
    BENCH.with_borrow_mut(|Bench { lab, run }| {
        let mut files = run.clone();
        damage(&mut files.0, input);
        let len = files.0.values().map(Vec::len).sum::<usize>() + input.len();
        hold("memory", len, RUN, || resume(lab, &mut files));
    });
}

/// The undamaged run can be continued; otherwise these tests would test nothing.
pub fn check_bench() {
    BENCH.with_borrow_mut(|Bench { lab, run }| assert_eq!(resume(lab, &mut run.clone()).unwrap(), 1));
}

fn damage(files: &mut BTreeMap<String, Vec<u8>>, mut input: &[u8]) {
    while let [what, file, high, low, len, rest @ ..] = input {
        let (data, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        input = rest;
        let Some(name) = files.keys().nth(usize::from(*file) % files.len().max(1)).cloned() else { return };
        let Some(bytes) = files.get_mut(&name) else { return };
        let at = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        match what % 7 {
            0 => *bytes = data.to_vec(),
            1 => bytes.iter_mut().skip(at).zip(data).for_each(|(byte, new)| *byte = *new),
            2 => bytes.truncate(at),
            3 => drop(files.remove(&name)),
            4 => {
                let copy = bytes.clone();
                files.insert(String::from_utf8_lossy(data).into_owned(), copy);
            }
            5 => drop(bytes.splice(at..at, data.iter().copied())),
            _ => drop(bytes.splice(at..(at + data.len()).min(bytes.len()), [])),
        }
    }
}

/// Opens a folder as the command line does to continue a run; returns the step after which it continues.
fn resume(lab: &mut Lab, files: &mut InMemory) -> Result<u64> {
    let (config, newest) = (RunConfig::read(&files)?, newest_checkpoint(&files)?);
    let checkpoint = |step| {
        let folder = format!("{CHECKPOINTS}/{}/", step_name(step));
        let inside = files.0.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&folder)?, bytes)));
        Memory::new(
            (&files).path(folder.trim_end_matches('/')),
            inside.map(|(n, b)| (n.to_string(), b.clone())).collect(),
        )
    };
    let adapter = lab.actor.go_back(&checkpoint(newest), &checkpoint(0), &config.ppo, true)?;
    Ok(Trainer::resume(&*lab, config, adapter, files, 0.0)?.step_number())
}
