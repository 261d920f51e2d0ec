//! What is refused before models are loaded; the message comes once, from rank 0.

use crate::support::run::{QUICK, file, ok, text};
use crate::{mpirun, ranks, texts};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_detox-lab");

/// Standard error of a command that must fail with one message.
fn refused(mut command: Command) -> String {
    let out = command.output().unwrap();
    let [_, said] = texts(&out);
    assert!(!out.status.success() && !said.contains("panicked"), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("try: "), "{said}");
    said
}

#[test]
fn ranks_with_different_settings() {
    let dir = tempfile::tempdir().unwrap();
    let start = |seed: &'static str| [PROGRAM, "train", "--steps", "1", "--seed", seed, "--out", "run"];
    let mut command = mpirun(&["-n", "1"]);
    command.args(start("1")).args([":", "-n", "1"]).args(start("2")).current_dir(dir.path());
    let said = refused(command);
    assert!(said.contains("settings: rank 0 has run.ppo.seed 1, rank 1 has run.ppo.seed 2"), "{said}");
    assert!(!dir.path().join("run").exists(), "nothing was written");
}

#[test]
fn more_ranks_than_rows_of_a_mini_batch() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "c.json", r#"{"batch_size": 4, "mini_batch_size": 2}"#);
    let run = dir.path().join("run");
    let said = refused(ranks(3, &["train", "--config", text(&config), "--out", text(&run)]));
    assert!(said.contains("3 ranks are more than mini_batch_size = 2"), "{said}");
    assert!(!run.exists());
}

#[test]
fn a_run_that_one_rank_does_not_see() {
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let config = file(here.path(), "c.json", QUICK);
    let run = here.path().join("run");
    ok(&["train", "--config", text(&config), "--steps", "1", "--out", text(&run)]);
    let mut command = mpirun(&["-n", "1", "--wdir", text(here.path())]);
    let resume = [PROGRAM, "train", "--resume", "run", "--steps", "2"];
    command.args(resume).args([":", "-n", "1", "--wdir", text(there.path())]).args(resume);
    let said = refused(command);
    assert!(said.contains("error: rank 1: run"), "{said}");
}

#[test]
fn a_command_that_runs_as_one_process() {
    let said = refused(ranks(2, &["score", "a text"]));
    assert!(said.contains("score was started as 2 processes, but it runs as one"), "{said}");
}
