//! Training and evaluation on two ranks, beside one process; stopped and killed runs.

use crate::support::run::{QUICK, assert_same, file, ok, text};
use crate::support::{flat, max_abs_diff};
use crate::{done, ranks, texts};
use candle_core::Device;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The ids of a run's rollouts.
pub fn ids(run: &Path, steps: u64) -> Vec<serde_json::Value> {
    let of = |step| std::fs::read_to_string(run.join(format!("rollouts/step-{step:05}.jsonl"))).unwrap();
    let lines = (1..=steps).flat_map(|step| of(step).lines().map(str::to_string).collect::<Vec<_>>());
    lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap()["response_ids"].clone()).collect()
}

/// The largest difference between the adapters and value heads of two runs.
pub fn difference(a: &Path, b: &Path, step: u64) -> f32 {
    let mut largest = 0f32;
    for name in ["adapter_model.safetensors", "value_head.safetensors"] {
        let tensors = |run: &Path| {
            let path = run.join(format!("checkpoints/step-{step:05}/{name}"));
            candle_core::safetensors::load(path, &Device::Cpu).unwrap()
        };
        let (a, b) = (tensors(a), tensors(b));
        assert!(!a.is_empty() && a.len() == b.len());
        largest = a.iter().map(|(name, t)| max_abs_diff(&flat(t), &flat(&b[name]))).fold(largest, f32::max);
    }
    largest
}

pub fn train<'a>(config: &'a str, steps: &'a str, out: &'a Path) -> [&'a str; 7] {
    ["train", "--config", config, "--steps", steps, "--out", text(out)]
}

#[test]
fn two_ranks_train_and_evaluate_as_one_process_does() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "c.json", QUICK);
    let [alone, one, two, again] = ["alone", "one", "two", "again"].map(|name| dir.path().join(name));
    ok(&train(text(&config), "3", &alone));
    done(ranks(1, &train(text(&config), "3", &one)));
    assert_same(&alone, &one);
    let [_, said] = done(ranks(2, &train(text(&config), "3", &two)));
    assert_eq!(said.matches("done: 3 steps").count(), 1, "{said}");
    assert_eq!(ids(&two, 3), ids(&alone, 3));
    let off = difference(&two, &alone, 3);
    assert!(off <= 1e-5, "{off}");
    done(ranks(2, &train(text(&config), "3", &again)));
    assert_same(&two, &again);

    let evaluate = ["evaluate", "--run", text(&two), "-n", "5", "--max-new-tokens", "12", "--json"];
    let number = |json: &str, name: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()[name].clone();
    let (one, [both, _]) = (ok(&evaluate), done(ranks(2, &evaluate)));
    assert_eq!(number(&one, "n"), 5);
    for name in ["kl", "toxicity_mean_improvement"] {
        let [a, b] = [&one, &both].map(|json| number(json, name).as_f64().unwrap());
        assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
}

/// Ranks of a job by rank, from the variable that `mpirun` sets.
fn rank_pid(job: &Child, rank: usize) -> Option<Pid> {
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let child = |pid: &i32| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let parent = format!("PPid:\t{}", job.id());
        read("status").lines().any(|line| line == parent) && read("environ").split('\0').any(|v| v == wanted)
    };
    numbers.into_iter().find(child).and_then(Pid::from_raw)
}

#[test]
fn a_signal_or_the_death_of_a_rank_ends_all_and_the_run_continues() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "c.json", QUICK);
    for (name, rank, signal) in [
        ("first", Some(0), Signal::TERM),
        ("second", Some(1), Signal::INT),
        ("job", None, Signal::INT),
        ("dead", Some(1), Signal::KILL),
    ] {
        let run = dir.path().join(name);
        let mut job = ranks(2, &train(text(&config), "5000", &run));
        let mut job = job.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = || std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |m| m.lines().count());
        while lines() < 1 {
            assert!(job.try_wait().unwrap().is_none(), "{name}: it ended too early");
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = rank.map_or_else(|| Some(Pid::from_child(&job)), |rank| rank_pid(&job, rank));
        kill_process(pid.unwrap(), signal).unwrap();
        let out = job.wait_with_output().unwrap();
        let [_, said] = texts(&out);
        assert!(!out.status.success() && !said.contains("panicked") && !said.contains("error: "), "{name}: {said}");
        assert!(said.contains("detox-lab train --resume"), "{name}: {said}");
        let steps = lines() as u64 + 1;
        let twin = dir.path().join(format!("{name}-twin"));
        ok(&["train", "--resume", text(&run), "--steps", &steps.to_string()]);
        ok(&train(text(&config), &steps.to_string(), &twin));
        assert_eq!(ids(&run, steps), ids(&twin, steps), "{name}: the same tokens after it was resumed on one rank");
    }
}
