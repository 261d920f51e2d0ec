//! Checks a run's folder: whether it is complete, its files agree, it can be continued, and a process uses it. It changes
//! nothing and only reports what the next `--resume` would repair.

use super::findings::{Findings, Severity};
use crate::cli::memory::size;
use crate::cli::run_sources::{self, NewLocations};
use crate::error::Result;
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::checkpoint::weights::describe_file;
use crate::io::disk::Folder;
use crate::io::value_head::SavedHead;
use crate::lab::run::{self, RunConfig};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;

/// Checks a run's folder.
pub fn look(path: &Path, now: NewLocations<'_>, found: &mut Findings) {
    let Some(folder) = found.take("run", Folder::open(path)) else { return };
    if found.take("run", run::check_run(&folder)).is_none() {
        return;
    }
    lock(path, found);
    leftovers(path, found);
    let began =
        folder.read_json(run::CONFIG).map(|json| json.get("command").and_then(Value::as_str).map(str::to_string));
    let Some(command) = found.take("run", began) else { return };
    let newest = checkpoints(path, command.is_none(), found);
    match command {
        Some(command) => {
            found.ok("run", format!("started by {command}"));
            let json = folder.read_json(run::CONFIG).unwrap_or_default();
            found.take("run", run_sources::check_exist_in(&json["what"], &folder));
            lines(&folder, run::METRICS, newest, Numbering::Rising, found);
        }
        None => {
            let Some(mut config) = found.take("run", RunConfig::read(&folder)) else { return };
            now.put_into(&mut config);
            found.take("run", run_sources::check_exist(&config, &folder));
            let what = format!(
                "{} of {} steps of {} as {}",
                newest.unwrap_or(0),
                config.steps,
                config.policy,
                config.weights.name()
            );
            found.ok("run", what);
            let metrics = lines(&folder, run::METRICS, newest, Numbering::Each, found);
            lines(&folder, run::TIMINGS, newest, Numbering::Each, found);
            rows(&folder, &config, newest.unwrap_or(0), &metrics, found);
        }
    }
}

/// Whether a process uses the run. Only the operating system's lock counts, not whether its file exists.
fn lock(path: &Path, found: &mut Findings) {
    let file = path.join(".lock");
    let Ok(open) = File::open(&file) else { return };
    match open.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(&file).unwrap_or_default();
            let what = format!("process {} is using this run", owner.trim());
            found.note("run", what, "the findings below may change; run doctor again when that process has ended");
        }
        Err(TryLockError::Error(e)) => found.note("run", format!("its lock cannot be read: {e}"), "check the disk"),
        Ok(()) => found.ok("run", "no process is using it"),
    }
}

/// Files that interrupted writes have left behind.
fn leftovers(path: &Path, found: &mut Findings) {
    let mut left = Vec::new();
    for part in [path.to_path_buf(), path.join(run::CHECKPOINTS), path.join(run::ROLLOUTS)] {
        let entries = std::fs::read_dir(part).into_iter().flatten().flatten();
        left.extend(entries.map(|e| e.path()).filter(|p| {
            p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(".tmp-") || n.starts_with(".old-"))
        }));
    }
    if let Some(first) = left.first() {
        let what = format!("{} interrupted writes, such as {}", left.len(), first.display());
        found.note("run", what, "nothing to do: the next --resume removes them");
    }
}

/// Checks every checkpoint's files; returns the newest step that has a checkpoint. `ppo`: this is a PPO run.
fn checkpoints(path: &Path, ppo: bool, found: &mut Findings) -> Option<u64> {
    let entries = std::fs::read_dir(path.join(run::CHECKPOINTS)).into_iter().flatten().flatten();
    let mut steps: Vec<u64> = entries.filter_map(|e| run::step_of(e.file_name().to_str()?)).collect();
    steps.sort_unstable();
    let Some(newest) = steps.last().copied() else {
        found.wrong("run", "no checkpoint", "start a new run: this one ended before it saved a checkpoint");
        return None;
    };
    if ppo && steps[0] != 0 {
        found.wrong("run", "the checkpoint of step 0 is missing", "restore it: the KL and every comparison need it");
    }
    let mut whole = 0;
    for step in &steps {
        let name = format!("{}/{}", run::CHECKPOINTS, run::step_name(*step));
        match checkpoint(path, &name, *step, ppo) {
            Ok(()) => whole += 1,
            Err(error) if *step == newest => {
                let text = error.to_string();
                let what = text.split("\n  try: ").next().unwrap_or_default();
                let remedy = match steps.len() {
                    1 => "start a new run: this one has no other checkpoint".into(),
                    n => format!("remove {name}; the run then continues from step {}", steps[n - 2]),
                };
                found.wrong("run", what, remedy);
            }
            Err(error) => found.error("run", &error),
        }
    }
    if whole > 0 {
        found.ok("run", format!("{whole} of {} checkpoints are complete; the newest is of step {newest}", steps.len()));
    }
    Some(newest)
}

fn checkpoint(path: &Path, name: &str, step: u64, ppo: bool) -> Result<()> {
    let folder = Folder::open(path.join(name))?;
    if ppo {
        PeftAdapter::read(&folder)?;
        SavedHead::read(&folder, run::VALUE_HEAD)?;
    }
    for entry in std::fs::read_dir(folder.root()).into_iter().flatten().flatten() {
        if let Some(file) = entry.file_name().to_str().filter(|file| file.ends_with(".safetensors")) {
            describe_file(&folder, file)?;
        }
    }
    describe_file(&folder, run::ADAM)?;
    let state = folder.read_json(run::TRAINER_STATE)?;
    match state.get("step").and_then(Value::as_u64) {
        Some(said) if said == step => Ok(()),
        said => {
            let said = said.map_or("no step".into(), |s| format!("step {s}"));
            let what = format!("has {said}, but its folder is named for step {step}");
            Err(crate::error::Error::file(folder.path(run::TRAINER_STATE), what, "remove this checkpoint"))
        }
    }
}

/// Which steps the lines of a file have.
#[derive(Clone, Copy, PartialEq)]
enum Numbering {
    /// 1, 2, 3, …
    Each,
    /// Each larger than the one before.
    Rising,
}

/// A file's lines by step; adds a finding if the file is incomplete or out of order.
fn lines(
    folder: &Folder,
    file: &str,
    newest: Option<u64>,
    numbering: Numbering,
    found: &mut Findings,
) -> BTreeMap<u64, Value> {
    let newest = newest.unwrap_or(0);
    let mut by_step = BTreeMap::new();
    let mut last = 0;
    for (at, line) in read_lines(folder, file, newest, found).into_iter().enumerate() {
        let Some(step) = line.get("step").and_then(Value::as_u64) else {
            found.wrong("run", format!("{}:{}: no step in this line", folder.path(file), at + 1), "remove the line");
            return by_step;
        };
        if step < last || (numbering == Numbering::Each && step != last + 1) {
            let what = format!("{}:{}: step {step} after step {last}", folder.path(file), at + 1);
            found.wrong(
                "run",
                what,
                "lines were lost or written twice: restore the file from a copy, or start a new run",
            );
            return by_step;
        }
        last = step;
        by_step.insert(step, line);
    }
    if numbering == Numbering::Each && last < newest {
        let what = format!("{} ends at step {last}, but the newest checkpoint is of step {newest}", folder.path(file));
        found.wrong("run", what, "lines were lost: restore the file from a copy; training can continue without them");
    } else if last > newest {
        let what = format!("{} has steps {} to {last}, which have no checkpoint", folder.path(file), newest + 1);
        found.note("run", what, "nothing to do: --resume drops these lines and computes the steps again");
    } else {
        found.ok("run", format!("{file}: {} complete lines, in order", by_step.len()));
    }
    by_step
}

/// The complete lines of a jsonl file as JSON. An incomplete last line is a note, any other broken line a problem.
fn read_lines(folder: &Folder, file: &str, newest: u64, found: &mut Findings) -> Vec<Value> {
    if !folder.has(file) {
        if newest > 0 {
            found.wrong(
                "run",
                format!("{} is missing", folder.path(file)),
                "restore it from a copy; training can continue",
            );
        }
        return Vec::new();
    }
    let Some(bytes) = found.take("run", folder.read(file)) else { return Vec::new() };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        let what = format!("{} ends with an incomplete line", folder.path(file));
        found.note("run", what, "nothing to do: --resume removes it");
    }
    let mut all = Vec::new();
    for (at, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(value) => all.push(value),
            Err(e) => {
                let what = format!("{}:{}: not JSON: {e}", folder.path(file), at + 1);
                found.wrong("run", what, "restore the file from a copy, or remove the line");
                break;
            }
        }
    }
    all
}

/// Checks that samples, rollouts and metrics have the same rows.
fn rows(folder: &Folder, config: &RunConfig, newest: u64, metrics: &BTreeMap<u64, Value>, found: &mut Findings) {
    let mut rewards: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for line in read_lines(folder, run::SAMPLES, newest, found) {
        let (step, row) = (line.get("step").and_then(Value::as_u64), line.get("row").and_then(Value::as_u64));
        let (Some(step), Some(row), Some(reward)) = (step, row, line.get("reward").and_then(Value::as_f64)) else {
            let what = format!("{}: a line without step, row or reward", folder.path(run::SAMPLES));
            return found.wrong("run", what, "restore the file from a copy");
        };
        let of_step = rewards.entry(step).or_default();
        if row as usize != of_step.len() {
            let what =
                format!("{}: step {step} has row {row} where row {} belongs", folder.path(run::SAMPLES), of_step.len());
            return found.wrong("run", what, "lines were lost or written twice: restore the file from a copy");
        }
        of_step.push(reward);
    }
    let (before, mut bytes) = (found.count(Severity::Wrong), 0);
    for step in 1..=newest {
        if let Err((what, remedy)) =
            step_agrees(folder, config, step, rewards.get(&step), metrics.get(&step), &mut bytes)
        {
            found.wrong("run", what, remedy);
            if found.count(Severity::Wrong) > before + 3 {
                return; // four of these are enough
            }
        }
    }
    if found.count(Severity::Wrong) == before && newest > 0 {
        found.ok("run", format!("samples, rollouts ({}) and metrics of {newest} steps agree", size(bytes)));
    }
}

/// Checks one step's rows in samples.jsonl, rollouts/ and metrics.jsonl; the error is what is wrong and what to do.
fn step_agrees(
    folder: &Folder,
    config: &RunConfig,
    step: u64,
    rewards: Option<&Vec<f64>>,
    metrics: Option<&Value>,
    bytes: &mut u64,
) -> std::result::Result<(), (String, &'static str)> {
    const BACK: &str = "restore the file from a copy; training can continue without it";
    let rewards = rewards.map_or(&[][..], Vec::as_slice);
    if rewards.len() != config.ppo.batch_size {
        let what = format!("samples.jsonl has {} rows of step {step}, not {}", rewards.len(), config.ppo.batch_size);
        return Err((what, BACK));
    }
    let name = format!("{}/{}", run::ROLLOUTS, run::step_name(step));
    let tensors = format!("{name}.safetensors");
    let read = folder.read(&format!("{name}.jsonl")).and_then(|rows| Ok((rows, describe_file(folder, &tensors)?)));
    let (rows, described) =
        read.map_err(|e| (e.to_string().split("\n  try: ").next().unwrap_or_default().to_string(), BACK))?;
    *bytes += rows.len() as u64 + described.iter().map(|t| 4 * t.shape.iter().product::<usize>() as u64).sum::<u64>();
    let scores: Vec<Option<f64>> = rows
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<Value>(line).ok()?.get("score")?.as_f64())
        .collect();
    let same = scores.len() == rewards.len()
        && scores.iter().zip(rewards).all(|(a, b)| a.is_some_and(|a| (a - b).abs() < 1e-5));
    if !same {
        return Err((format!("{name}.jsonl and samples.jsonl have different scores for step {step}"), BACK));
    }
    // Metrics have the mean of the scores after scaling and clipping; without these it must equal the samples' mean.
    let plain = !config.ppo.score_scaling && config.ppo.score_clip.is_none();
    let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
    match metrics.and_then(|line| line.get("ppo/mean_scores")).and_then(Value::as_f64) {
        Some(said) if plain && (said - mean).abs() > 1e-4 * mean.abs().max(1.0) => {
            Err((format!("metrics.jsonl has a mean score of {said} at step {step}, the samples have {mean}"), BACK))
        }
        _ => Ok(()),
    }
}
