//! The program as `mpirun` starts it, on the models that ship with it: `make test-mpi`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod runs;
mod two_hosts;

use std::process::{Command, Output};

/// More ranks than cores, and root in a container, are right for a test.
const MPIRUN: [&str; 4] = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"];

/// `mpirun` with options, before the program.
fn mpirun(options: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(MPIRUN).args(options);
    command.env("HF_HUB_OFFLINE", "1");
    command
}

/// The program on `ranks` ranks of one thread each.
fn ranks(ranks: usize, args: &[&str]) -> Command {
    let mut command = mpirun(&["-n", &ranks.to_string(), env!("CARGO_BIN_EXE_detox-lab")]);
    command.args(args).args(["--threads", "1"]);
    command
}

/// Standard output and error of a command that must succeed.
fn done(mut command: Command) -> [String; 2] {
    let out = command.output().unwrap();
    let [stdout, stderr] = texts(&out);
    assert!(out.status.success(), "{command:?} failed:\n{stderr}");
    [stdout, stderr]
}

fn texts(out: &Output) -> [String; 2] {
    [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
