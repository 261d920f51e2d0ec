//! The models, settings and dialogues that ship inside the program, under the one name `tiny`: with them every command
//! works at once, offline.

use super::args;
use crate::error::{Error, Result};
use crate::io::Memory;
use std::collections::BTreeMap;

/// What stands for the shipped policy, adapter, reward model or dialogues, wherever one of them is asked for.
pub const TINY: &str = "tiny";
/// PPO steps of a run on the shipped models that is not told how many.
pub const STEPS: u64 = 80;

macro_rules! shipped {
    ($folder:literal: $($file:literal),+) => {
        [$(($file, include_bytes!(concat!("../../static/models/tiny/", $folder, "/", $file)).as_slice())),+]
    };
}

/// Which of the shipped things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Policy,
    Adapter,
    Reward,
}

/// A shipped folder's files.
pub fn folder(part: Part) -> Memory {
    let (name, files) = match part {
        Part::Policy => ("tiny policy", shipped!("policy": "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json").to_vec()),
        Part::Adapter => ("tiny adapter", shipped!("adapter": "adapter_config.json", "adapter_model.safetensors").to_vec()),
        Part::Reward => ("tiny reward model", shipped!("reward": "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json").to_vec()),
    };
    let files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|(file, bytes)| (file.to_string(), bytes.to_vec())).collect();
    Memory::new(name, files)
}

/// Our own dialogues, heated ones first.
pub const DIALOGUES: &[u8] = include_bytes!("../../static/dialogues.jsonl");

/// The PPO settings for the shipped models, over a preset.
pub fn ppo() -> Result<serde_json::Value> {
    let bytes = include_bytes!("../../static/models/tiny/ppo.json");
    serde_json::from_slice(bytes).map_err(|e| Error::file("the shipped ppo.json", e, "report this"))
}

/// The reward model and the data that go with a policy where none are named: the shipped ones with the shipped policy,
/// else the lab's.
pub fn companions(policy: &str) -> (&'static str, &'static str) {
    if policy == TINY { (TINY, TINY) } else { (args::LAB_REWARD, args::LAB_DATA) }
}

/// The adapter that goes with a policy where none is named.
pub fn adapter(policy: &str) -> Option<&'static str> {
    (policy == TINY).then_some(TINY)
}
