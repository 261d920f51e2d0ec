//! A run's folder (house.md's layout) as names and bytes: what is written when, and how a run is read back. Where the
//! bytes go is the [`Store`]'s: a folder on disk, or a browser's storage.

use super::models::named;
use super::rollout::Sample;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::safetensors::to_bytes;
use crate::ppo::batch::Grid;
use crate::ppo::config::PpoConfig;
use crate::ppo::step::StepOutcome;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a run's files live. Every write is whole or not there.
pub trait Store: ByteSource {
    /// Writes a file over an older one.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Adds whole lines to the end of a file.
    fn append(&mut self, name: &str, lines: &[u8]) -> Result<()>;
    /// Keeps only the lines for which `keep` is true, and never a torn last one.
    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()>;
    /// Writes a folder of files that appears whole or not at all.
    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()>;
    /// Removes a file or folder if it is there.
    fn remove(&mut self, name: &str) -> Result<()>;
    /// The names directly inside a folder, sorted; none if it is not there.
    fn list(&self, folder: &str) -> Result<Vec<String>>;
}

pub const CONFIG: &str = "config.json";
pub const METRICS: &str = "metrics.jsonl";
pub const TIMINGS: &str = "timings.jsonl";
pub const SAMPLES: &str = "samples.jsonl";
pub const CHECKPOINTS: &str = "checkpoints";
pub const ROLLOUTS: &str = "rollouts";
pub const TRAINER_STATE: &str = "trainer_state.json";
pub const ADAM: &str = "adam.safetensors";
pub const VALUE_HEAD: &str = "value_head.safetensors";

/// `config.json`: everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// This crate's version.
    pub version: String,
    pub policy: String,
    /// The adapter the run started from; none: a fresh one.
    pub adapter: Option<String>,
    pub reward: String,
    pub data: String,
    /// PPO steps in all.
    pub steps: u64,
    /// Checkpoints of every so many steps are kept.
    pub save_every: u64,
    pub ppo: PpoConfig,
}

impl RunConfig {
    /// Reads the `config.json` of a run.
    ///
    /// # Errors
    /// No such file, another form, a run of another command, PPO settings that make no sense; each names the file.
    pub fn read(store: &dyn ByteSource) -> Result<Self> {
        if !store.has(CONFIG) {
            let what = "no config.json here, so this is not a run folder";
            return Err(Error::file(store.name(), what, "give a folder that detox-lab train wrote"));
        }
        let hint = "the run's config.json was damaged or written by another version; start a new run";
        let json = store.read_json(CONFIG)?;
        if let Some(command) = json.get("command").and_then(serde_json::Value::as_str) {
            let hint = format!("continue it with: detox-lab {command} --resume {}", store.name());
            return Err(Error::file(
                store.path(CONFIG),
                format!("this run was begun by {command}, not by train"),
                hint,
            ));
        }
        let config: Self = serde_json::from_value(json).map_err(|e| Error::file(store.path(CONFIG), e, hint))?;
        config.ppo.validate().map_err(|e| named(e, &store.path(CONFIG)))?;
        Ok(config)
    }

    /// As the bytes of `config.json`.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        json_bytes(self)
    }
}

/// Pretty JSON with a final line break.
pub fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::input(e, "report this"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One JSON line.
pub fn json_line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value).map_err(|e| Error::input(e, "report this"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `step-00010`.
pub fn step_name(step: u64) -> String {
    format!("step-{step:05}")
}

/// The step that a name such as `step-00010` or `step-00010.jsonl` is of.
pub fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.split('.').next()?.parse().ok()
}

/// The step that a line of metrics, timings or samples is of.
pub fn step_of_line(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64()
}

/// The newest step with a whole checkpoint.
pub fn newest_checkpoint(store: &dyn Store) -> Result<u64> {
    let steps = store.list(CHECKPOINTS)?.into_iter().filter_map(|name| step_of(&name));
    steps.max().ok_or_else(|| {
        Error::file(
            store.path(CHECKPOINTS),
            "the run has no checkpoint",
            "start a new run; this one ended before its first save",
        )
    })
}

/// The per-token numbers of a step by name, (B, R) each: `advantages` as GAE gives them (returns = advantages + values),
/// `advantages_whitened` as the loss uses them.
pub fn grids(outcome: &StepOutcome) -> Result<BTreeMap<String, Tensor>> {
    let named: [(&str, &Grid); 11] = [
        ("old_logprobs", &outcome.forward.old_logprobs),
        ("ref_logprobs", &outcome.forward.ref_logprobs),
        ("old_values", &outcome.forward.old_values),
        ("mask", &outcome.mask),
        ("kl", &outcome.kl),
        ("non_score_reward", &outcome.rewards.non_score),
        ("rewards", &outcome.rewards.rewards),
        ("advantages", &outcome.advantages.advantages),
        ("advantages_whitened", &outcome.advantages_whitened),
        ("returns", &outcome.advantages.returns),
        ("ratio", &outcome.ratio),
    ];
    let tensor = |grid: &Grid| Tensor::from_slice(&grid.data, (grid.rows, grid.cols), &Device::Cpu);
    named.into_iter().map(|(name, grid)| Ok((name.to_string(), tensor(grid)?))).collect()
}

/// `rollouts/step-00001.jsonl` (rows that `replay` reads) and `.safetensors` (per-token numbers).
pub fn rollout_files(step: u64, samples: &[Sample], outcome: &StepOutcome) -> Result<[(String, Vec<u8>); 2]> {
    let mut rows = Vec::new();
    for sample in samples {
        rows.extend(json_line(&serde_json::json!({
            "query_ids": sample.query_ids, "response_ids": sample.response_ids, "score": sample.reward,
        }))?);
    }
    let name = format!("{ROLLOUTS}/{}", step_name(step));
    Ok([(format!("{name}.jsonl"), rows), (format!("{name}.safetensors"), to_bytes(&grids(outcome)?)?)])
}
