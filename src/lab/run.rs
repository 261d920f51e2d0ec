//! The files of a run: what is written and when, and how a run is read. A [`Store`] keeps the bytes, in a folder on disk or in
//! the browser's memory.

use super::models::{Labels, Precision, Products};
use super::rollout::Sample;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::checkpoint::safetensors::to_bytes;
use crate::io::tensorboard;
use crate::ppo::batch::Grid;
use crate::ppo::step::StepOutcome;
use crate::settings::PpoConfig;
use candle_core::{Device, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Storage for a run's files. Every write happens completely or not at all.
pub trait Store: ByteSource {
    /// Writes a file, and replaces an older one.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Appends complete lines to a file.
    fn append(&mut self, name: &str, lines: &[u8]) -> Result<()>;
    /// Keeps only the lines for which `keep` is true; drops an incomplete last line.
    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()>;
    /// Writes a folder of files, completely or not at all.
    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()>;
    /// Removes a file or folder if it exists.
    fn remove(&mut self, name: &str) -> Result<()>;
    /// The sorted names directly inside a folder (an empty name: the run's folder); none if it does not exist.
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
pub use crate::io::value_head::VALUE_HEAD_FILE as VALUE_HEAD;

/// `config.json`: all settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// This crate's version.
    pub version: String,
    pub policy: String,
    /// The adapter that the run started from; none: a new one.
    pub adapter: Option<String>,
    pub reward: String,
    /// Names of the reward model's labels, the harmless one first; none: nothate and hate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_labels: Option<Labels>,
    pub data: String,
    /// Total number of PPO steps.
    pub steps: u64,
    /// The checkpoint of every N-th step is kept, besides step 0's and the newest.
    pub save_every: u64,
    /// Number type of the frozen weights of policy and reward model; f32 if missing, as in old runs.
    #[serde(default)]
    pub weights: Precision,
    /// What the products of both models' linear layers multiply; f32 if missing, as in old runs.
    #[serde(default)]
    pub precision: Products,
    /// Maximum number of these checkpoints to keep; none: all.
    #[serde(default)]
    pub keep: Option<u64>,
    /// Number of newest steps whose rollouts are kept; none: all.
    #[serde(default)]
    pub keep_rollouts: Option<u64>,
    pub ppo: PpoConfig,
}

impl RunConfig {
    /// Reads the `config.json` of a run.
    ///
    /// # Errors
    /// As [`read_config`], or invalid PPO settings; names the file.
    pub fn read(store: &dyn ByteSource) -> Result<Self> {
        let config: Self = read_config(store, "train")?;
        config.ppo.validate().map_err(|e| e.in_file(&store.path(CONFIG)))?;
        Ok(config)
    }

    /// Whether the checkpoint of step `old` is kept when `newest` is the newest step.
    fn keeps_checkpoint(&self, old: u64, newest: u64) -> bool {
        let every = self.save_every.max(1);
        let recent = self.keep.is_none_or(|keep| old.saturating_add(keep.saturating_mul(every)) > newest);
        old == 0 || old == newest || old.is_multiple_of(every) && recent
    }

    fn keeps_rollout(&self, old: u64, newest: u64) -> bool {
        self.keep_rollouts.is_none_or(|keep| old.saturating_add(keep) > newest)
    }

    /// Removes the checkpoints and rollouts that are not kept when `newest` is the newest step.
    pub fn prune(&self, store: &mut dyn Store, newest: u64) -> Result<()> {
        remove_steps(store, CHECKPOINTS, |old| self.keeps_checkpoint(old, newest))?;
        remove_steps(store, ROLLOUTS, |old| self.keeps_rollout(old, newest))
    }

    /// The bytes of `config.json`.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        json_bytes(self)
    }
}

/// Reads the `config.json` of a run that `command` started.
///
/// # Errors
/// No such file, another form, a run of another command; names the file.
pub fn read_config<T: DeserializeOwned>(store: &dyn ByteSource, command: &str) -> Result<T> {
    check_run(store)?;
    let json = store.read_json(CONFIG)?;
    let began = json.get("command").and_then(serde_json::Value::as_str).unwrap_or("train");
    if began != command {
        let hint = format!("continue it with: detox-lab {began} --resume {}", store.name());
        let what = format!("this run was started by {began}, not by {command}");
        return Err(Error::file(store.path(CONFIG), what, hint));
    }
    let hint = "config.json is damaged or was written by another version: start a new run";
    serde_json::from_value(json).map_err(|e| Error::file(store.path(CONFIG), e, hint))
}

/// Refuses a folder without a run, before anything is written into it: a model's folder has a `config.json` too.
///
/// # Errors
/// No `config.json`, one that cannot be read, or one of something else.
pub fn check_run(store: &dyn ByteSource) -> Result<()> {
    if !store.has(CONFIG) {
        let what = "no config.json here, so this is not a run folder";
        return Err(Error::file(store.name(), what, "give a folder that detox-lab train wrote"));
    }
    let json = store.read_json(CONFIG)?;
    if !describes_run(&json) {
        let what = match json.get("model_type").and_then(serde_json::Value::as_str) {
            Some(kind) => format!("this is the config.json of a model ({kind}), so this is not a run folder"),
            None => "no settings of a run (ppo) in it, so this is not a run folder".into(),
        };
        return Err(Error::file(store.path(CONFIG), what, "give a folder that detox-lab train wrote"));
    }
    Ok(())
}

/// Whether a folder contains a run.
pub fn is_run(store: &dyn ByteSource) -> bool {
    store.read_json(CONFIG).is_ok_and(|json| describes_run(&json))
}

/// `train` writes `ppo`, the commands of supervised training `command` and `settings`.
fn describes_run(json: &serde_json::Value) -> bool {
    json.get("ppo").is_some() || json.get("command").is_some()
}

/// Indented JSON with a final line break.
pub fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(Error::bug)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One JSON line.
pub fn json_line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value).map_err(Error::bug)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `step-00010`.
pub fn step_name(step: u64) -> String {
    format!("step-{step:05}")
}

/// The step in a name such as `step-00010` or `step-00010.jsonl`.
pub fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.split('.').next()?.parse().ok()
}

/// The step of a line of metrics, timings or samples.
pub fn step_of_line(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64()
}

/// The newest step with a complete checkpoint.
pub fn newest_checkpoint(store: &dyn Store) -> Result<u64> {
    let steps = store.list(CHECKPOINTS)?.into_iter().filter_map(|name| step_of(&name));
    steps.max().ok_or_else(|| {
        Error::file(
            store.path(CHECKPOINTS),
            "the run has no checkpoint",
            "start a new run; this one ended before it saved a checkpoint",
        )
    })
}

/// Removes files and folders of steps for which `keep` is false.
pub fn remove_steps(store: &mut dyn Store, folder: &str, keep: impl Fn(u64) -> bool) -> Result<()> {
    for name in store.list(folder)? {
        if step_of(&name).is_some_and(|step| !keep(step)) {
            store.remove(&format!("{folder}/{name}"))?;
        }
    }
    Ok(())
}

/// Drops all lines, rollouts and TensorBoard events of steps after `step`, which will be computed again. Returns how many steps
/// each file of lines then has.
pub fn cut_back(store: &mut dyn Store, step: u64) -> Result<BTreeMap<&'static str, u64>> {
    let mut told = BTreeMap::new();
    for file in [METRICS, TIMINGS, SAMPLES] {
        let steps = RefCell::new(BTreeSet::new());
        if store.has(file) {
            store.keep_lines(file, &|line| {
                let of = step_of_line(line).filter(|of| *of <= step);
                steps.borrow_mut().extend(of);
                of.is_some()
            })?;
        }
        told.insert(file, steps.into_inner().len() as u64);
    }
    remove_steps(store, ROLLOUTS, |of| of <= step)?;
    for name in store.list("")?.into_iter().filter(|name| tensorboard::secs_of(name).is_some()) {
        let events = store.read(&name)?;
        let whole = tensorboard::up_to(&events, step);
        if whole <= tensorboard::header(0.0).len() {
            store.remove(&name)?; // the run was killed before it wrote anything here
        } else if whole < events.len() {
            store.put(&name, &events[..whole])?;
        }
    }
    Ok(told)
}

/// Starts a TensorBoard file and returns its name. TensorBoard reads files in the order of their names, so the name sorts after
/// all others even if the clock was set back.
pub fn begin_events(store: &mut dyn Store, unix_seconds: f64, host: &str) -> Result<String> {
    let last = store.list("")?.iter().filter_map(|name| tensorboard::secs_of(name)).max();
    let secs = last.map_or(0, |last| last.saturating_add(1)).max(unix_seconds as u64);
    let name = tensorboard::file_name(secs, host);
    store.append(&name, &tensorboard::header(unix_seconds))?;
    Ok(name)
}

/// The per-token numbers of a step by name, (B, R) each: `advantages` from GAE (returns = advantages + values), and
/// `advantages_whitened` for the loss.
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
