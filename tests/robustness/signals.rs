//! SIGINT and SIGTERM at any time: the command saves, says how to continue, and exits with the status that shells expect; a
//! second signal ends it immediately.

use crate::support::run::*;
use rustix::process::{Pid, Signal};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SIGNALS: [(&str, i32); 2] = [("INT", 130), ("TERM", 143)];

fn signal(child: &Child, name: &str) {
    let signal = if name == "INT" { Signal::INT } else { Signal::TERM };
    rustix::process::kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until `ready`; the child must not end before.
fn until(child: &mut Child, ready: impl Fn() -> bool) {
    while !ready() {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("it ended too early: {status}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Standard error of a stopped child; checks how it ended.
fn stopped(child: Child, name: &str, status: i32) -> String {
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(status), "{said}");
    assert!(said.contains(&format!("stopped by SIG{name}")), "{said}");
    assert!(!said.contains("error:") && !said.contains("panicked"), "{said}");
    said
}

fn spawn(args: &[&str]) -> Child {
    program(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn lines(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |m| m.lines().count())
}

/// A run that spends most of its time where `settings` say: when it is stopped there, it saves, and continues like an
/// uninterrupted run.
fn a_run_is_stopped(settings: &str, aim: impl Fn(&Path) -> bool) {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let config = file(dir.path(), "c.json", settings);
    for (name, status) in SIGNALS {
        let run = dir.path().join(name);
        let mut child = spawn(&train_args(&models, text(&config), "5000", text(&run)));
        until(&mut child, || lines(&run) > 0 && aim(&run));
        signal(&child, name);
        let said = stopped(child, name, status);
        let done = lines(&run);
        let how = format!("{done} of 5000 steps are saved. Continue with: detox-lab train --resume {}", run.display());
        assert!(said.contains(&how), "{said}");
        let (twin, steps) = (dir.path().join(format!("{name}-twin")), (done + 1).to_string());
        ok(&["train", "--resume", text(&run), "--steps", &steps]);
        ok(&train_args(&models, text(&config), &steps, text(&twin)));
        assert_same(&run, &twin);
    }
}

#[test]
fn while_generating() {
    let long = r#"{"batch_size": 4, "mini_batch_size": 4, "output_min_length": 100, "output_max_length": 110}"#;
    a_run_is_stopped(&long.replace('}', r#", "ppo_epochs": 1, "min_length": 100}"#), |_| true);
}

#[test]
fn in_a_ppo_step() {
    let epochs =
        r#"{"batch_size": 8, "mini_batch_size": 2, "output_min_length": 4, "output_max_length": 8, "ppo_epochs": 12}"#;
    a_run_is_stopped(epochs, |_| true);
}

#[test]
fn in_a_write() {
    let aim = |run: &Path| {
        let entries = run.join("checkpoints").read_dir().unwrap().flatten();
        entries.into_iter().any(|e| e.file_name().to_str().unwrap().starts_with(".tmp-"))
    };
    a_run_is_stopped(QUICK, aim);
}

#[test]
fn while_evaluating() {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let (run, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    ok(&train_args(&models, text(&config), "1", text(&run)));
    // many dialogues and long responses, so that the command is far from its end when the signal comes
    let evaluate = ["evaluate", "--run", text(&run), "--data", "tiny", "--max-new-tokens", "400", "-n", "100"];
    for (name, status) in SIGNALS {
        let mut child = spawn(&evaluate);
        // The signals are caught before the lock is taken.
        let pid = child.id().to_string();
        until(&mut child, || std::fs::read_to_string(run.join(".lock")).is_ok_and(|owner| owner == pid));
        std::thread::sleep(Duration::from_millis(300)); // the models are loaded, and it is generating
        signal(&child, name);
        stopped(child, name, status);
        assert!(!run.join("evaluation.json").exists());
    }
}

#[test]
fn while_fine_tuning() {
    let (dir, data, policy) = (tempfile::tempdir().unwrap(), tiny("data/train.jsonl"), tiny("policy"));
    for (name, status) in SIGNALS {
        let (run, twin) = (dir.path().join(name), dir.path().join(format!("{name}-twin")));
        let args = |out: &Path| -> Vec<String> {
            let given = ["--policy", &policy, "--data", &data, "--validation", &data, "--out", text(out)];
            let quick =
                "finetune --epochs 4 --batch-size 8 --evaluate-every 40 --save-every 30 --log-every 2 --rouge-rows 0";
            quick.split_whitespace().chain(given).map(str::to_string).collect()
        };
        let mut child = spawn(&args(&run).iter().map(String::as_str).collect::<Vec<_>>());
        until(&mut child, || lines(&run) > 0);
        signal(&child, name);
        let said = stopped(child, name, status);
        assert!(said.contains("updates are saved. Continue with: detox-lab finetune --resume"), "{said}");
        ok(&["finetune", "--resume", text(&run)]);
        ok(&args(&twin).iter().map(String::as_str).collect::<Vec<_>>());
        assert_same(&run, &twin);
    }
}

/// While a command waits for input, the first signal is only noted.
#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_it_immediately() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, reward) = (dir.path().join("pipe"), tiny("reward"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (second, status) in SIGNALS {
        let mut child = spawn(&["score", "--reward", &reward, "--text", text(&pipe)]);
        let caught = format!("/proc/{}/status", child.id());
        let both = (1 << (2 - 1)) | (1 << (15 - 1)); // SIGINT and SIGTERM in the mask of caught signals
        until(&mut child, || {
            let status = std::fs::read_to_string(&caught).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & both == both)
        });
        std::thread::sleep(Duration::from_millis(20)); // handlers are registered one after the other
        signal(&child, "INT");
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "the first signal is only noted");
        signal(&child, second);
        assert_eq!(child.wait().unwrap().code(), Some(status));
    }
}
