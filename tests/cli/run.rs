//! A run from the command line: its folder, continuing it, evaluation and table. Interrupted runs are in `tests/robustness`.

use crate::support;
use crate::support::run::*;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_run_writes_the_folder_that_the_documentation_describes() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config) = (dir.path().join("run"), file(dir.path(), "quick.json", QUICK));
    let models = models();
    ok(&train_args(&models, text(&config), "2", text(&run)));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for key in ["objective/kl", "ppo/returns/mean", "ppo/policy/advantages_mean", "ppo/mean_scores", "ppo/loss/total"] {
        assert!(lines[1][key].is_f64(), "{key}");
    }
    assert!(lines[0]["objective/kl"].as_f64().unwrap().abs() < 1e-4, "corrected: the KL is 0 at step 1");
    let samples = std::fs::read_to_string(run.join("samples.jsonl")).unwrap();
    assert_eq!(samples.lines().count(), 2 * 8);
    for name in [
        "config.json",
        "timings.jsonl",
        "rollouts/step-00001.jsonl",
        "rollouts/step-00001.safetensors",
        "checkpoints/step-00000/adapter_model.safetensors",
        "checkpoints/step-00002/adapter_config.json",
        "checkpoints/step-00002/adapter_model.safetensors",
        "checkpoints/step-00002/value_head.safetensors",
        "checkpoints/step-00002/trainer_state.json",
        "checkpoints/step-00002/adam.safetensors",
    ] {
        assert!(run.join(name).is_file(), "{name} is missing");
    }
    let before = support::models::tensors(&run.join("checkpoints/step-00000/adapter_model.safetensors"));
    let after = support::models::tensors(&run.join("checkpoints/step-00002/adapter_model.safetensors"));
    for (name, tensor) in &after {
        assert_ne!(support::flat(tensor), support::flat(&before[name]), "{name} was not trained");
    }

    // Also as JSON lines.
    let lined = dir.path().join("lined");
    let mut args = train_args(&models, text(&config), "2", text(&lined));
    args.push("--json");
    let said = ok(&args);
    let printed: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(printed.len(), 2);
    assert_eq!(printed[1]["ppo/returns/mean"], lines[1]["ppo/returns/mean"]);
    assert!(printed[1]["seconds"]["total"].as_f64() > Some(0.0));

    // replay reads a rollout's rows and computes the same step.
    let rows = run.join("rollouts/step-00001.jsonl");
    let (adapter, out) = (run.join("checkpoints/step-00000"), dir.path().join("replayed"));
    let head = adapter.join("value_head.safetensors");
    let config = file(dir.path(), "seeded.json", &QUICK.replace('}', r#", "seed": 7}"#));
    ok(&[
        "replay",
        "--policy",
        &models[0],
        "--adapter",
        text(&adapter),
        "--value-head",
        text(&head),
        "--rows",
        text(&rows),
        "--config",
        text(&config),
        "--out",
        text(&out),
    ]);
    let stats: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("step-00001/stats.json")).unwrap()).unwrap();
    for key in ["ppo/returns/mean", "ppo/loss/total", "ppo/mean_scores"] {
        let (a, b) = (stats[key].as_f64().unwrap(), lines[0][key].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5, "{key}: replayed {a}, in the run {b}");
    }

    // Nothing is overwritten.
    let again = fails(&train_args(&models, text(&file(dir.path(), "q.json", QUICK)), "2", text(&run)));
    assert!(again.contains("already contains a run") && again.contains("--resume"), "{again}");
    let done = fails(&["train", "--resume", text(&run)]);
    assert!(done.contains("2 of 2 steps are done"), "{done}");
}

#[test]
fn a_run_that_is_extended_equals_a_longer_one() {
    let dir = tempfile::tempdir().unwrap();
    let (short, long, config) = (dir.path().join("a"), dir.path().join("b"), file(dir.path(), "c.json", QUICK));
    let models = models();
    ok(&train_args(&models, text(&config), "2", text(&short)));
    ok(&["train", "--resume", text(&short), "--steps", "4"]);
    ok(&train_args(&models, text(&config), "4", text(&long)));
    assert_same(&short, &long);
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_can_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let (out, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let models = models();
    ok(&train_args(&models, text(&config), "1", text(&out)));
    std::fs::remove_file(out.join("metrics.jsonl")).unwrap();
    std::fs::remove_file(out.join("samples.jsonl")).unwrap();
    std::fs::remove_dir_all(out.join("checkpoints")).unwrap(); // as after a kill before the first checkpoint
    let resumed = fails(&["train", "--resume", text(&out)]);
    assert!(resumed.contains("no checkpoint"), "{resumed}");
    ok(&train_args(&models, text(&config), "2", text(&out)));
    assert_eq!(std::fs::read_to_string(out.join("metrics.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn both_presets_evaluate_and_compare() {
    let dir = tempfile::tempdir().unwrap();
    let models = models();
    let config = file(dir.path(), "c.json", QUICK);
    for preset in ["corrected", "published"] {
        let out = dir.path().join(preset);
        let mut args = train_args(&models, text(&config), "2", text(&out));
        args.extend(["--preset", preset]);
        ok(&args);
        let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        let kl = first["objective/kl"].as_f64().unwrap().abs();
        assert_eq!(kl > 1e-3, preset == "published", "{preset}: KL {kl} at step 1");
        let e = json(&["evaluate", "--run", text(&out), "-n", "6", "--max-new-tokens", "12", "--json"]);
        assert_eq!(e["n"], if preset == "published" { 7 } else { 6 }, "the published lab evaluates one sample more");
        let d = &e["toxicity_difference"];
        assert!(d["low"].as_f64() <= d["mean"].as_f64() && d["mean"].as_f64() <= d["high"].as_f64());
        assert!(out.join("evaluation.json").is_file());
        let again = json(&["evaluate", "--run", text(&out), "-n", "6", "--max-new-tokens", "12", "--json"]);
        assert_eq!(e, again, "seeded, so both are the same");
        let table = ok(&["compare", "--run", text(&out), "-n", "4", "--max-new-tokens", "12"]);
        assert!(table.contains("comparison.csv"), "{table}");
        let csv = std::fs::read_to_string(out.join("comparison.csv")).unwrap();
        assert!(csv.lines().count() > 4);
        let html = std::fs::read_to_string(out.join("comparison.html")).unwrap();
        assert!(html.starts_with("<!") && !html.contains("<script"));
    }
}

#[test]
fn two_processes_do_not_share_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (out, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let models = models();
    let mut first =
        program(&train_args(&models, text(&config), "5000", text(&out))).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..600 {
        if out.join("metrics.jsonl").is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let refused = [fails(&["train", "--resume", text(&out)]), fails(&["evaluate", "--run", text(&out)])];
    let holder = format!("in use by another detox-lab (process {})", first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(refused.iter().all(|said| said.contains(&holder) && said.contains(text(&out))), "{refused:?}");
}

/// A zip as the page saves it: the run's folder, with or without the folder's name in front.
#[test]
fn a_zipped_run_can_be_continued_like_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, config, models) = (dir.path().join("run"), file(dir.path(), "quick.json", QUICK), models());
    ok(&train_args(&models, text(&config), "1", text(&folder)));
    let pack = |name: &str, front: &str| {
        let file = |(path, bytes): (String, Vec<u8>)| (format!("{front}{path}"), bytes);
        let bytes = detox_lab::io::zip::pack(&numbers(&folder).into_iter().map(file).collect()).unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let zips = [pack("plain.zip", ""), pack("named.zip", "any-name/")];
    ok(&["train", "--resume", text(&folder), "--steps", "2"]);
    for zip in &zips {
        ok(&["train", "--resume", text(zip), "--steps", "2"]);
        assert_same(&zip.with_extension(""), &folder);
        assert!(fails(&["train", "--resume", text(zip), "--steps", "3"]).contains("already exists"));
    }
    let other = dir.path().join("other.zip");
    std::fs::write(&other, detox_lab::io::zip::pack(&[("a.txt".to_string(), vec![1])].into()).unwrap()).unwrap();
    assert!(fails(&["evaluate", "--run", text(&other)]).contains("config.json"));
    assert!(!other.with_extension("").exists());
}

/// The contents of a folder, including hidden files.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copied(from: &str, to: &Path) -> String {
    std::fs::create_dir(to).unwrap();
    for name in names(Path::new(from)) {
        std::fs::copy(Path::new(from).join(&name), to.join(&name)).unwrap();
    }
    text(to).to_string()
}

#[test]
fn runs_that_start_at_the_same_time_never_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "c.json", QUICK);
    std::fs::create_dir_all(dir.path().join("runs/2")).unwrap();
    file(&dir.path().join("runs/2"), "mine.txt", "not a run");
    let start = |seed: &str| {
        let args = ["train", "--seed", seed, "--steps", "1", "--config", text(&config)];
        program(&args).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let started: Vec<_> = ["0", "1", "2"].into_iter().map(start).collect();
    assert!(started.into_iter().all(|mut child| child.wait().unwrap().success()));
    let mut seeds: Vec<u64> = ["1", "3", "4"]
        .into_iter()
        .map(|n| {
            let config = std::fs::read(dir.path().join("runs").join(n).join("config.json")).unwrap();
            serde_json::from_slice::<serde_json::Value>(&config).unwrap()["ppo"]["seed"].as_u64().unwrap()
        })
        .collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [0, 1, 2]);

    // If both have the same name, the first one gets it.
    let args = ["train", "--steps", "1", "--config", text(&config), "--out", "one"];
    let both: Vec<_> = (0..2)
        .map(|_| {
            let mut command = program(&args);
            command.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = both.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(ends.iter().filter(|end| end.status.success()).count(), 1);
    let lost = ends.iter().find(|end| !end.status.success()).unwrap();
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(said.contains("in use by another detox-lab") || said.contains("already contains a run"), "{said}");

    // A folder that was claimed but not used is removed.
    fails(&["train", "--policy", "no such/place/at all", "--out", text(&dir.path().join("deep/er"))]);
    fails(&[
        "merge",
        "--policy",
        "no such/place/at all",
        "--adapter",
        "tiny",
        "--out",
        text(&dir.path().join("merged")),
    ]);
    assert!(!dir.path().join("deep").exists() && !dir.path().join("merged").exists());
}

#[test]
fn a_folder_that_is_not_a_run_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let other = copied(&tiny("policy"), &dir.path().join("model"));
    let before = names(Path::new(&other));
    for args in [
        vec!["evaluate", "--run", &other],
        vec!["compare", "--run", &other],
        vec!["train", "--resume", &other],
        vec!["finetune", "--resume", &other],
        vec!["train-reward", "--resume", &other],
    ] {
        let said = fails(&args);
        assert!(said.contains("not a run") && said.contains("config.json"), "{said}");
    }
    for args in [
        vec!["train", "--out", &other],
        vec!["finetune", "--policy", "tiny", "--out", &other],
        vec!["merge", "--policy", "tiny", "--adapter", "tiny", "--out", &other],
    ] {
        fails(&args);
    }
    assert!(!run(&["doctor", "--run", &other]).status.success());
    assert_eq!(names(Path::new(&other)), before);
    assert_eq!(
        std::fs::read(Path::new(&other).join("config.json")).unwrap(),
        std::fs::read(tiny("policy/config.json")).unwrap()
    );
}

#[test]
fn a_run_continues_with_models_that_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (out, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let models = models();
    let moving = [copied(&models[0], &here), models[1].clone(), models[2].clone(), models[3].clone()];
    ok(&train_args(&moving, text(&config), "1", text(&out)));
    std::fs::rename(&here, &there).unwrap();

    // A shell does not expand ~ inside quotes.
    let mut home = program(&["evaluate", "--run", text(&out), "--policy", "~/there", "-n", "2"]);
    assert!(home.env("HOME", dir.path()).output().unwrap().status.success());
    let mut home =
        program(&["train", "--policy", "~/there", "--config", text(&config), "--steps", "1", "--out", "home"]);
    assert!(
        home.env("HOME", dir.path())
            .current_dir(dir.path())
            .args(["--adapter", &models[1]])
            .args(["--reward", &models[2]])
            .args(["--data", &models[3]])
            .output()
            .unwrap()
            .status
            .success()
    );
    ok(&["train", "--resume", text(&dir.path().join("home")), "--steps", "2"]);

    let lost = fails(&["evaluate", "--run", text(&out), "-n", "2"]);
    assert!(lost.contains("config.json") && lost.contains("here") && lost.contains("--policy"), "{lost}");
    let doctor = run(&["doctor", "--run", text(&out)]);
    assert!(!doctor.status.success() && String::from_utf8_lossy(&doctor.stdout).contains("--policy"));

    let before = std::fs::read(out.join("config.json")).unwrap();
    ok(&["evaluate", "--run", text(&out), "--policy", text(&there), "-n", "2"]);
    assert_eq!(std::fs::read(out.join("config.json")).unwrap(), before, "evaluate changes no run");
    ok(&["train", "--resume", text(&out), "--policy", text(&there), "--adapter", &models[1], "--steps", "2"]);
    ok(&["train", "--resume", text(&out), "--steps", "3"]);

    // Another model with the same shape, one with another shape, another adapter.
    let weights = there.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    std::fs::write(&weights, bytes).unwrap();
    let other = fails(&["evaluate", "--run", text(&out), "--policy", text(&there), "-n", "2"]);
    assert!(other.contains("not the policy that the run was trained with"), "{other}");
    let shape = fails(&["evaluate", "--run", text(&out), "--policy", "tiny", "-n", "2"]);
    assert!(shape.contains("an adapter for another base model"), "{shape}");
    let adapter =
        fails(&["train", "--resume", text(&out), "--adapter", "tiny", "--policy", &models[0], "--steps", "9"]);
    assert!(adapter.contains("not the adapter that the run started from"), "{adapter}");
}

#[test]
fn a_run_keeps_the_label_names_of_its_reward_model() {
    let dir = tempfile::tempdir().unwrap();
    let (out, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let mut models = models();
    models[2] = copied(&models[2], &dir.path().join("neutral"));
    let labels = Path::new(&models[2]).join("config.json");
    let mut config_json: serde_json::Value = serde_json::from_slice(&std::fs::read(&labels).unwrap()).unwrap();
    for label in config_json["id2label"].as_object_mut().unwrap().values_mut() {
        *label = if label.as_str().unwrap().eq_ignore_ascii_case("hate") { "toxic" } else { "neutral" }.into();
    }
    std::fs::write(&labels, config_json.to_string()).unwrap();

    let refused = fails(&train_args(&models, text(&config), "1", text(&out)));
    assert!(refused.contains("--reward-labels") && !out.exists(), "{refused}");
    let named = ["--reward-labels", "neutral,toxic"];
    ok(&[train_args(&models, text(&config), "1", text(&out)), named.to_vec()].concat());
    ok(&["train", "--resume", text(&out), "--steps", "2"]);
    ok(&["evaluate", "--run", text(&out), "-n", "2"]);
    ok(&[
        "evaluate", "--policy", &models[0], "--reward", &models[2], "--data", &models[3], "-n", "2", named[0], named[1],
    ]);
    let one = json(&["score", "--json", "--reward", &tiny("reward"), "you idiot"]);
    let two = json(&["score", "--json", "--reward", &models[2], named[0], named[1], "you idiot"]);
    assert_eq!(one, two);
    ok(&["doctor", "--reward", &models[2], named[0], named[1]]);
}

#[test]
fn settings_of_trl_and_the_notebook_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let with = |more: &str| {
        let config = QUICK.replace('}', &format!(", {more}}}"));
        run(&train_args(&models(), text(&file(dir.path(), "c.json", &config)), "1", text(&out)))
    };
    let said = |more: &str| {
        let end = with(more);
        assert!(!end.status.success() && !out.exists(), "{more}");
        String::from_utf8(end.stderr).unwrap()
    };
    assert!(said(r#""gamma": 1.0, "gamma": 0.9"#).contains("gamma is given twice"));
    assert!(said(r#""num_ppo_epochs": 2"#).contains("ppo_epochs"));
    let done = with(r#""log_with": "wandb", "generation_kwargs": {"min_length": 5, "top_k": 0.0, "do_sample": true}"#);
    let notes = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && notes.contains("change nothing here: log_with"), "{notes}");

    let one = r#"{"batch_size": 1, "mini_batch_size": 1, "output_min_length": 1, "output_max_length": 2}"#;
    let (one, out) = (file(dir.path(), "one.json", one), dir.path().join("never"));
    let never = fails(&train_args(&models(), text(&one), "1", text(&out)));
    assert!(never.contains("batch_size") && !never.contains("--resume") && !out.exists(), "{never}");
}
