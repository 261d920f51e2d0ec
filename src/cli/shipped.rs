//! The shipped models and dialogues as this door reads them: every command's default, offline, at once.

use super::args;
use crate::io::Memory;
use crate::lab::shipped::{ADAPTER, POLICY, REWARD};
pub use crate::lab::shipped::{DIALOGUES, STEPS, TINY, ppo};
use std::collections::BTreeMap;

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
        Part::Policy => ("tiny policy", POLICY),
        Part::Adapter => ("tiny adapter", ADAPTER),
        Part::Reward => ("tiny reward model", REWARD),
    };
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(file, bytes)| (file.to_string(), bytes.to_vec())).collect();
    Memory::new(name, files)
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
