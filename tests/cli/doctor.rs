//! `doctor` on an undamaged run and models, and on each kind of damage; the memory forecast.

use crate::support;
use crate::support::run::*;
use std::path::{Path, PathBuf};

/// The findings of `doctor --json`, and whether it succeeded.
fn findings(args: &[&str]) -> (bool, Vec<serde_json::Value>) {
    let out = run(&[&["doctor", "--json"], args].concat());
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["ok"].as_bool().unwrap(), out.status.success());
    (out.status.success(), said["findings"].as_array().unwrap().clone())
}

/// Asserts that each finding of `state` contains one of these words, and that there are no others of this state.
fn only(found: &[serde_json::Value], state: &str, words: &[&str]) {
    let said: Vec<String> =
        found.iter().filter(|f| f["state"] == state && f["about"] == "run").map(|f| f["what"].to_string()).collect();
    assert_eq!(said.len(), words.len(), "{state}: {said:#?}, expected {words:?}");
    for word in words {
        assert!(said.iter().any(|what| what.contains(word)), "{state}: {said:#?} lacks {word:?}");
    }
    for finding in found.iter().filter(|f| f["state"] != "ok") {
        assert!(finding["do"].as_str().is_some_and(|text| !text.is_empty()), "{finding} does not say what to do");
    }
}

/// A run of three steps.
fn good_run(folder: &Path) -> PathBuf {
    let (run, config) = (folder.join("run"), file(folder, "c.json", QUICK));
    ok(&train_args(&models(), text(&config), "3", text(&run)));
    run
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    std::fs::write(path, change(std::fs::read_to_string(path).unwrap())).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

/// Removes the n-th line, from 0.
fn without_line(text: &str, n: usize) -> String {
    text.split_inclusive('\n').enumerate().filter(|(i, _)| *i != n).map(|(_, line)| line).collect()
}

#[test]
fn a_good_run_is_ok_and_every_damage_is_found_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let good = good_run(dir.path());
    let (well, found) = findings(&["--run", text(&good)]);
    assert!(well, "{found:#?}");
    only(&found, "wrong", &[]);
    only(&found, "note", &[]);
    assert!(found.iter().any(|f| f["what"].as_str().unwrap().contains("samples, rollouts")), "{found:#?}");
    let numbers_before = numbers(&good);

    type Damage = (&'static str, fn(&Path), &'static [&'static str]);
    let wrong: &[Damage] = &[
        ("no config", |run| std::fs::remove_file(run.join("config.json")).unwrap(), &["no config.json"]),
        ("config torn", |run| cut(&run.join("config.json"), 40), &["not valid JSON"]),
        ("config of nothing", |run| std::fs::write(run.join("config.json"), "{}").unwrap(), &["not a run folder"]),
        ("no checkpoint", |run| std::fs::remove_dir_all(run.join("checkpoints")).unwrap(), &["no checkpoint"]),
        (
            "step 0 gone",
            |run| std::fs::remove_dir_all(run.join("checkpoints/step-00000")).unwrap(),
            &["step 0 is missing"],
        ),
        (
            "adapter cut",
            |run| cut(&run.join("checkpoints/step-00003/adapter_model.safetensors"), 10),
            &["adapter_model.safetensors"],
        ),
        ("adam cut", |run| cut(&run.join("checkpoints/step-00003/adam.safetensors"), 10), &["adam.safetensors"]),
        (
            "no value head",
            |run| std::fs::remove_file(run.join("checkpoints/step-00003/value_head.safetensors")).unwrap(),
            &["value_head.safetensors"],
        ),
        (
            "another step's state",
            |run| {
                edit(&run.join("checkpoints/step-00003/trainer_state.json"), |t| {
                    t.replace("\"step\": 3", "\"step\": 2")
                })
            },
            &["has step 2, but its folder is named for step 3"],
        ),
        (
            "a metrics line lost",
            |run| edit(&run.join("metrics.jsonl"), |t| without_line(&t, 1)),
            &["step 3 after step 1"],
        ),
        (
            "a metrics line broken",
            |run| edit(&run.join("metrics.jsonl"), |t| t.replacen("{\"step\":2", "\"step\":2", 1)),
            &["not JSON", "ends at step 1"],
        ),
        (
            "metrics shorter",
            |run| edit(&run.join("metrics.jsonl"), |t| without_line(&t, 2)),
            &["metrics.jsonl ends at step 2"],
        ),
        (
            "no timings",
            |run| std::fs::remove_file(run.join("timings.jsonl")).unwrap(),
            &["timings.jsonl is missing", "timings.jsonl ends at step 0"],
        ),
        (
            "a sample lost",
            |run| edit(&run.join("samples.jsonl"), |t| without_line(&t, 9)),
            &["row 2 where row 1 belongs"],
        ),
        (
            "the last sample lost",
            |run| edit(&run.join("samples.jsonl"), |t| without_line(&t, 23)),
            &["7 rows of step 3, not 8"],
        ),
        (
            "no rollout",
            |run| std::fs::remove_file(run.join("rollouts/step-00002.jsonl")).unwrap(),
            &["step-00002.jsonl"],
        ),
        ("rollout cut", |run| cut(&run.join("rollouts/step-00002.safetensors"), 4), &["step-00002.safetensors"]),
        (
            "another rollout's rows",
            |run| {
                let (from, to) = ("rollouts/step-00001.jsonl", "rollouts/step-00002.jsonl");
                std::fs::copy(run.join(from), run.join(to)).unwrap();
            },
            &["have different scores for step 2"],
        ),
        (
            "another mean",
            |run| {
                edit(&run.join("metrics.jsonl"), |t| {
                    let mut lines: Vec<serde_json::Value> =
                        t.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
                    lines[0]["ppo/mean_scores"] = 5.0.into();
                    lines.iter().map(|l| format!("{l}\n")).collect()
                });
            },
            &["mean score of 5"],
        ),
    ];
    let notes: &[Damage] = &[
        ("torn last line", |run| edit(&run.join("metrics.jsonl"), |t| t + "{\"step\":4,"), &["an incomplete line"]),
        (
            "a step that no checkpoint counts",
            |run| edit(&run.join("timings.jsonl"), |t| t + "{\"step\":4}\n"),
            &["steps 4 to 4, which have no checkpoint"],
        ),
        (
            "an interrupted write",
            |run| std::fs::write(run.join("checkpoints/.tmp-step-00004"), "").unwrap(),
            &["interrupted"],
        ),
    ];
    for (kind, damages) in [("wrong", wrong), ("note", notes)] {
        for (name, damage, words) in damages {
            let bad = dir.path().join(name);
            copy(&good, &bad);
            damage(&bad);
            let (well, found) = findings(&["--run", text(&bad)]);
            assert_eq!(well, kind == "note", "{name}: {found:#?}");
            only(&found, kind, words);
        }
    }
    assert_eq!(numbers(&good), numbers_before, "doctor changes nothing");
}

#[test]
fn a_run_in_use_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let run = good_run(dir.path());
    let lock = std::fs::File::open(run.join(".lock")).unwrap();
    lock.lock().unwrap();
    let (well, found) = findings(&["--run", text(&run)]);
    assert!(well);
    only(&found, "note", &["is using this run"]);
}

#[test]
fn models_are_read_completely() {
    let models = models();
    let (well, found) = findings(&["--policy", &models[0], "--adapter", &models[1], "--reward", &models[2]]);
    assert!(well, "{found:#?}");
    for part in ["policy", "adapter", "reward"] {
        assert!(found.iter().any(|f| f["about"] == part && f["state"] == "ok"), "{part}: {found:#?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let damage = |name: &str, change: &dyn Fn(&Path)| -> String {
        let folder = dir.path().join(name);
        copy(Path::new(&models[0]), &folder);
        change(&folder);
        let (well, found) = findings(&["--policy", text(&folder)]);
        assert!(!well, "{name}: {found:#?}");
        let wrong: Vec<&serde_json::Value> = found.iter().filter(|f| f["state"] == "wrong").collect();
        assert!(wrong.len() == 1 && wrong[0]["about"] == "policy" && wrong[0]["do"].is_string(), "{name}: {wrong:#?}");
        wrong[0]["what"].as_str().unwrap().to_string()
    };
    let said = damage("cut", &|f| cut(&f.join("model.safetensors"), 8));
    assert!(said.contains("model.safetensors"), "{said}");
    let said = damage("no-config", &|f| std::fs::remove_file(f.join("config.json")).unwrap());
    assert!(said.contains("config.json"), "{said}");
    let said = damage("no-tokenizer", &|f| std::fs::remove_file(f.join("tokenizer.json")).unwrap());
    assert!(said.contains("tokenizer"), "{said}");
    let said = damage("other-shape", &|f| edit(&f.join("config.json"), |t| t.replace("\"d_ff\": 64", "\"d_ff\": 96")));
    assert!(said.contains("shape"), "{said}");
    let said = damage("not-a-number", &|f| {
        let mut tensors = support::models::model_tensors(f);
        let norm = tensors["encoder.final_layer_norm.weight"].affine(f64::NAN, 0.0).unwrap();
        tensors.insert("encoder.final_layer_norm.weight".into(), norm);
        candle_core::safetensors::save(&tensors, f.join("model.safetensors")).unwrap();
    });
    assert!(said.contains("NaN") && said.contains("encoder.final_layer_norm.weight"), "{said}");
}

#[test]
fn what_cannot_fit_is_refused_before_loading_with_the_needed_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let models = models();
    let mut args = train_args(&models, text(&config), "1", text(&run));
    args.extend(["--memory", "20MB"]);
    let refused = fails(&args);
    for part in [
        "20 MB are free",
        "the policy's weights as f32",
        "the reward model's weights",
        "Adam",
        "forward and backward of 4 rows",
    ] {
        assert!(refused.contains(part), "{refused}\nlacks {part}");
    }
    for lower in ["--weights q8_0", "mini_batch_size", "output_max_length", "--memory unlimited"] {
        assert!(refused.contains(lower), "{refused}\nlacks {lower}");
    }
    assert!(!run.exists(), "nothing is started");
    args.extend(["--memory", "unlimited"]);
    let twice = args.iter().position(|a| *a == "20MB").unwrap();
    args.drain(twice - 1..=twice);
    ok(&args);
    let resumed = fails(&["train", "--resume", text(&run), "--steps", "2", "--memory", "20MB"]);
    assert!(resumed.contains("are free"), "{resumed}");
    for command in [
        &["summarize", "--policy", &models[0], "A: hi"][..],
        &["score", "--reward", &models[2], "hi"],
        &["evaluate", "--run", text(&run), "-n", "2"],
        &["compare", "--run", text(&run), "-n", "2"],
        &["finetune", "--policy", &models[0], "--data", &models[3], "--out", "never"],
        &["finetune", "--full", "--policy", &models[0], "--data", &models[3], "--out", "never"],
    ] {
        let refused = fails(&[command, &["--memory", "20MB"]].concat());
        assert!(refused.contains("20 MB are free") && refused.contains("--memory unlimited"), "{refused}");
    }
    assert!(!Path::new("never").exists());
}
