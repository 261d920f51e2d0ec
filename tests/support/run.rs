//! Runs the program on the test fixtures' tiny models.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program with arguments; without the hub, so that default models cannot be downloaded.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detox-lab"));
    command.args(args).env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

/// Standard output of a run that must succeed.
pub fn ok(args: &[&str]) -> String {
    let out = run(args);
    assert!(out.status.success(), "{args:?} failed:\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// JSON of a run that must succeed.
pub fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&ok(args)).unwrap()
}

/// Standard error of a run that must fail with one message and without a panic.
pub fn fails(args: &[&str]) -> String {
    let out = run(args);
    let error = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success(), "{args:?} should have failed");
    assert!(!error.contains("panicked"), "{error}");
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    assert!(error.contains("try: "), "the error does not say what to try: {error}");
    error
}

/// A file of the tiny models.
pub fn tiny(name: &str) -> String {
    super::fixtures().join("tiny").join(name).to_str().unwrap().to_string()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file with this content.
pub fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Settings for a fast step.
pub const QUICK: &str = r#"{"batch_size": 8, "mini_batch_size": 4, "output_min_length": 6, "output_max_length": 16, "learning_rate": 1e-3}"#;

/// `train` on the tiny models into `out`.
pub fn train_args<'a>(models: &'a [String; 4], config: &'a str, steps: &'a str, out: &'a str) -> Vec<&'a str> {
    vec![
        "train",
        "--policy",
        &models[0],
        "--adapter",
        &models[1],
        "--reward",
        &models[2],
        "--data",
        &models[3],
        "--config",
        config,
        "--steps",
        steps,
        "--seed",
        "7",
        "--out",
        out,
    ]
}

/// Policy, adapter, reward model, data.
pub fn models() -> [String; 4] {
    ["policy", "adapter", "reward", "data/train.jsonl"].map(tiny)
}

/// The files that must be equal in two runs: all but dates, durations and TensorBoard's files.
pub fn numbers(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![run.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(run).unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("events.") && name != "timings.jsonl" && name != ".lock" {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(bytes == &b[name], "{name} differs");
    }
}

/// Checks that lines, events, rollouts and checkpoints have the same steps: each of 1 to `steps` once, if all are kept.
pub fn assert_steps(run: &Path, steps: u64) {
    let all: Vec<u64> = (1..=steps).collect();
    for name in ["metrics.jsonl", "timings.jsonl", "samples.jsonl"] {
        let text = std::fs::read_to_string(run.join(name)).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let mut told: Vec<u64> = text.lines().map(|l| line(l)["step"].as_u64().unwrap()).collect();
        if name == "samples.jsonl" {
            told.dedup();
        }
        assert_eq!(told, all, "{name}");
    }
    assert_eq!(event_steps(run), all, "TensorBoard's files");
    let newest = |folder: &str| {
        let names = run.join(folder).read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.map(|name| name["step-".len()..][..5].parse::<u64>().unwrap()).max()
    };
    assert_eq!((newest("checkpoints"), newest("rollouts")), (Some(steps), Some(steps)));
}

/// The steps of TensorBoard's events, in the order in which it reads them.
fn event_steps(run: &Path) -> Vec<u64> {
    let names = run.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("events.")).collect();
    names.sort();
    let mut steps = Vec::new();
    for name in names {
        let bytes = std::fs::read(run.join(&name)).unwrap();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = &rest[12..12 + length];
            let step =
                event[10..].iter().scan(true, |more, b| std::mem::replace(more, b & 0x80 != 0).then_some(b & 0x7f));
            let step = step.enumerate().fold(0, |sum, (i, b)| sum | u64::from(b) << (7 * i));
            rest = &rest[12 + length + 4..];
            if step > 0 {
                steps.push(step); // the header's is 0
            }
        }
    }
    steps
}
