//! The memory settings with which the program restarts itself (`cli::allocator`): commands that compute get them in the same
//! process, others do not, and the caller's settings are kept.

use crate::support::run::*;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The tunables in the environment of a running `train`; waits at most ten seconds for the `wanted` ones.
fn tunables_of_train(given: Option<&str>, wanted: &str) -> String {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let (config, run) = (file(dir.path(), "c.json", QUICK), dir.path().join("run"));
    let mut command = program(&train_args(&models, text(&config), "5000", text(&run)));
    command.env_remove("GLIBC_TUNABLES").stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(given) = given {
        command.env("GLIBC_TUNABLES", given);
    }
    let mut child = command.spawn().unwrap();
    let (start, mut found) = (Instant::now(), String::new());
    while start.elapsed() < Duration::from_secs(10) && !found.contains(wanted) {
        let environment = std::fs::read(format!("/proc/{}/environ", child.id())).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let variable = environment.split('\0').find_map(|v| v.strip_prefix("GLIBC_TUNABLES="));
        found = variable.unwrap_or_default().to_string();
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    found
}

#[test]
fn a_command_that_computes_gets_large_pages_in_the_same_process() {
    assert!(tunables_of_train(None, "hugetlb=1").contains("glibc.malloc.hugetlb=1"));
}

#[test]
fn tunables_of_the_caller_are_kept() {
    assert_eq!(tunables_of_train(Some("glibc.malloc.check=0"), "glibc.malloc.check=0"), "glibc.malloc.check=0");
}

#[test]
fn the_exit_status_and_the_error_are_those_of_the_command() {
    let out = program(&["summarize", "--policy", "/nowhere", "--text", "/nowhere"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(String::from_utf8(out.stderr).unwrap().matches("error:").count(), 1);
}
