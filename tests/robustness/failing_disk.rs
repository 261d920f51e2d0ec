//! Disks that are full, read-only, or lose files during a run: the error names the file, the step and what to do, and after
//! that the run continues as if nothing had happened.

use crate::support;
use crate::support::run::*;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk for one test, if the user may mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None if this user may not mount.
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", text(dir.path())]).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Self(dir))
    }

    fn options(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}"), text(self.0.path())]).status();
        assert!(done.unwrap().success());
    }

    fn free(&self) -> u64 {
        let out = Command::new("df").args(["--output=avail", "-B1", text(self.0.path())]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The files named by `error: PATH: …`.
fn named(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("error: ")?.split(": ").next()).unwrap()
}

/// Checks that a failure leaves the complete checkpoint of `step`, and no unfinished files.
fn assert_whole(run: &Path, step: &str) {
    for file in ["adapter_model.safetensors", "adam.safetensors", "value_head.safetensors"] {
        drop(support::models::tensors(&run.join("checkpoints").join(step).join(file)));
    }
    for folder in [run.to_path_buf(), run.join("checkpoints"), run.join("rollouts")] {
        let entries = folder.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(entries.into_iter().all(|name| !name.starts_with(".tmp")), "{}", folder.display());
    }
}

#[test]
#[ignore = "needs a user who may mount a tmpfs"]
fn a_full_disk_stops_a_run_that_can_be_continued() {
    let disk = Disk::mount("size=24m").expect("this user may not mount a tmpfs");
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let (run, twin, config) = (disk.0.path().join("run"), dir.path().join("twin"), file(dir.path(), "c.json", QUICK));
    ok(&train_args(&models, text(&config), "2", text(&run)));
    ok(&train_args(&models, text(&config), "6", text(&twin)));
    let step: u64 = std::fs::read_dir(twin.join("checkpoints/step-00006"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    // The free space is enough for nothing (the run does not start), for the rollout, for the lines, or for a part of the
    // checkpoint.
    let mut where_ = Vec::new();
    for room in [0, 16_000, 40_000, step / 4, step / 2, step * 3 / 4, step, step + 30_000] {
        let filler = disk.0.path().join("filler");
        std::fs::write(&filler, vec![0; (disk.free().saturating_sub(room)) as usize]).unwrap();
        let before = newest(&run);
        let said = fails(&["train", "--resume", text(&run), "--steps", "6"]);
        std::fs::remove_file(filler).unwrap();
        assert!(said.contains("No space left on device") && said.contains("free some space"), "{said}");
        assert!(named(&said).starts_with(text(&run)), "{said}");
        // If there was space for a step, the run continues after it.
        let after = newest(&run);
        let number = |name: &str| name.trim_start_matches("step-").trim_start_matches('0').to_string();
        let step = [
            format!("the checkpoint of step {}.", number(&after)),
            format!("continuing after step {} ", number(&before)),
        ];
        assert!(step.iter().any(|named| said.contains(named)), "{said}");
        assert_whole(&run, &after);
        where_.push(Path::new(named(&said)).strip_prefix(&run).unwrap().to_path_buf());
    }
    assert!(where_.iter().any(|path| path.starts_with("checkpoints")), "no checkpoint was being written: {where_:?}");
    assert!(where_.iter().any(|path| !path.starts_with("checkpoints")), "{where_:?}");
    ok(&["train", "--resume", text(&run), "--steps", "6"]);
    assert_same(&run, &twin);
}

fn newest(run: &Path) -> String {
    let names = run.join("checkpoints").read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("step-")).max().unwrap()
}

/// The program with a limit on the size of files, in blocks of 1024 bytes: a larger write fails in the middle.
fn limited(blocks: u64, args: &[&str]) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let program = program(args);
    let mut shell = Command::new("bash");
    shell.args(["-c", &script, "bash"]).arg(program.get_program()).args(program.get_args()).env("HF_HUB_OFFLINE", "1");
    shell.arg0("bash").output().unwrap()
}

#[test]
fn a_file_size_limit_stops_a_run_that_can_be_continued() {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let (run, twin, config) = (dir.path().join("run"), dir.path().join("twin"), file(dir.path(), "c.json", QUICK));
    ok(&train_args(&models, text(&config), "1", text(&run)));
    ok(&train_args(&models, text(&config), "3", text(&twin)));
    let adam = twin.join("checkpoints/step-00003/adam.safetensors").metadata().unwrap().len();
    for blocks in [3, adam / 2048] {
        let out = limited(blocks, &["train", "--resume", text(&run), "--steps", "3"]);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains("File too large") && said.contains("the checkpoint of step 1"), "{said}");
        assert_whole(&run, "step-00001");
        if blocks > 3 {
            assert!(named(&said).ends_with("step-00002/adam.safetensors"), "{said}");
        }
    }
    ok(&["train", "--resume", text(&run), "--steps", "3"]);
    assert_same(&run, &twin);
}

/// A folder that cannot be written to: a read-only disk, or permissions.
#[test]
fn a_read_only_folder_is_reported_before_anything_is_loaded() {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let config = file(dir.path(), "c.json", QUICK);
    let disk = Disk::mount("size=24m");
    let place: PathBuf = disk.as_ref().map_or_else(|| dir.path().join("closed"), |disk| disk.0.path().into());
    std::fs::create_dir_all(&place).unwrap();
    let run = place.join("run");
    ok(&train_args(&models, text(&config), "1", text(&run)));
    let lock = |open: bool| match &disk {
        Some(disk) => disk.options(if open { "rw" } else { "ro" }),
        None => {
            for path in [&place, &run] {
                let mode = if open { "755" } else { "555" };
                assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
            }
        }
    };
    lock(false);
    let said = [
        // the policy does not exist: if it were looked for first, it would be the error
        fails(&["train", "--policy", "/no/such/model", "--out", text(&place.join("other/deeper"))]),
        fails(&["finetune", "--policy", "/no/such/model", "--out", text(&place.join("other"))]),
        fails(&["train", "--resume", text(&run), "--steps", "3"]),
        fails(&["evaluate", "--run", text(&run)]),
        fails(&["merge", "--policy", &models[0], "--adapter", &models[1], "--out", text(&place.join("merged"))]),
    ];
    lock(true);
    for said in said {
        let reason = if disk.is_some() { "Read-only file system" } else { "Permission denied" };
        assert!(said.contains(reason) && named(&said).starts_with(text(&place)), "{said}");
    }
    ok(&["train", "--resume", text(&run), "--steps", "2"]);
}

#[test]
fn removed_files_are_named() {
    let (dir, models) = (tempfile::tempdir().unwrap(), models());
    let (run, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let policy = dir.path().join("policy");
    let copy =
        |from: &str, to: &Path| assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
    copy(&models[0], &policy);
    let own = [text(&policy).to_string(), models[1].clone(), models[2].clone(), models[3].clone()];
    ok(&train_args(&own, text(&config), "2", text(&run)));
    let resume = ["train", "--resume", text(&run), "--steps", "3"];
    let without = |name: &str, wants: &[&str]| {
        let (path, aside) = (dir.path().join(name), dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        let said = fails(&resume);
        std::fs::rename(&aside, &path).unwrap();
        wants.iter().for_each(|want| assert!(said.contains(want), "without {name}: {said}"));
    };
    without("policy", &["run/config.json", text(&policy), "give its new location with --policy"]);
    without("policy/config.json", &["policy", "config.json"]);
    without("run/config.json", &["config.json", "not a run folder"]);
    without("run/checkpoints", &["checkpoints", "no checkpoint"]);
    for file in ["adapter_model.safetensors", "adam.safetensors", "trainer_state.json", "value_head.safetensors"] {
        without(&format!("run/checkpoints/step-00002/{file}"), &["step-00002", file.split('.').next().unwrap()]);
    }
    without("run/checkpoints/step-00000", &["step-00000"]);

    // Lost lines cannot be restored, but are reported.
    std::fs::remove_file(run.join("samples.jsonl")).unwrap();
    let out = support::run::run(&resume);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && said.contains("samples.jsonl has lines for 0 of 2 steps"), "{said}");

    // The whole folder is removed during the run: it is not created again.
    let mut child = program(&["train", "--resume", text(&run), "--steps", "5000"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count() < 4 {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let moved = dir.path().join("moved");
    std::fs::rename(&run, &moved).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    let gone = said.contains("the run's folder was removed") || said.contains("No such file");
    assert!(out.status.code() == Some(1) && gone && !said.contains("panicked"), "{said}");
    assert!(!run.exists());
    let steps = (std::fs::read_to_string(moved.join("metrics.jsonl")).unwrap().lines().count() + 1).to_string();
    ok(&["train", "--resume", text(&moved), "--steps", &steps]);
}
