//! NaN and infinity from a policy, a reward model or a learning rate stop the run, which reports step and row and keeps the
//! last good state. Also closed pipes, and a clock that goes backwards.

use crate::support;
use crate::support::run::*;
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

/// A copy of a tiny model in which all numbers of tensors with this name ending are `value`.
fn poisoned(dir: &Path, model: &str, end: &str, value: f32) -> String {
    let (from, to) = (tiny(model), dir.join(format!("poisoned-{model}")));
    std::fs::create_dir(&to).unwrap();
    for entry in Path::new(&from).read_dir().unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let file =
        to.read_dir().unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "safetensors"));
    let file = file.unwrap();
    let mut tensors: HashMap<String, Tensor> = support::models::tensors(&file);
    let mut changed = 0;
    for (name, tensor) in &mut tensors {
        if name.ends_with(end) {
            let values = vec![value; tensor.elem_count()];
            *tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "no tensor of {model} ends in {end}");
    candle_core::safetensors::save(&tensors, file).unwrap();
    text(&to).to_string()
}

#[test]
fn a_reward_model_that_gives_nan_stops_the_run_and_names_the_row() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let mut models = models();
    models[2] = poisoned(dir.path(), "reward", "classifier.out_proj.bias", f32::NAN);
    let said = fails(&train_args(&models, text(&config), "2", text(&run)));
    assert!(said.contains("error: step 1, dialogue train_"), "{said}");
    assert!(said.contains("a logit of the reward model for row") && said.contains("is not finite"), "{said}");
    assert!(said.contains("check the reward model's weights"), "{said}");
    assert!(said.contains("the last good state is the checkpoint of step 0"), "{said}");
    assert!(!run.join("metrics.jsonl").exists() && run.join("checkpoints/step-00000/adam.safetensors").is_file());
    let said = fails(&["score", "--reward", &models[2], "Hello."]);
    assert!(said.contains("a logit of the reward model for row 1"), "{said}");
}

#[test]
fn a_policy_that_gives_nan_stops_the_run_and_names_the_row() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK));
    let mut models = models();
    models[1] = poisoned(dir.path(), "adapter", "lora_B.weight", f32::NAN);
    let said = fails(&train_args(&models, text(&config), "2", text(&run)));
    assert!(said.contains("error: step 1, dialogue train_") && said.contains("a logit of row 1, token 1"), "{said}");
}

#[test]
fn a_run_that_diverges_keeps_its_last_good_state() {
    let dir = tempfile::tempdir().unwrap();
    let models = models();
    // After the first update, products with the adapter are too large: the same step fails if it has more updates, otherwise
    // the next one.
    for (name, rate, mini_batch, good) in [("huge", "1e38", "4", 0), ("large", "1e19", "8", 1)] {
        let settings = QUICK
            .replace("1e-3", rate)
            .replace(r#""mini_batch_size": 4"#, &format!(r#""mini_batch_size": {mini_batch}"#));
        let config = file(dir.path(), name, &settings);
        let run = dir.path().join(format!("run-{name}"));
        let said = fails(&train_args(&models, text(&config), "50", text(&run)));
        assert!(said.contains("error: step ") && said.contains("is not finite"), "{said}");
        assert!(said.contains("lower the learning rate") || said.contains("lower learning rate"), "{said}");
        let newest = run.join("checkpoints").read_dir().unwrap().map(|e| e.unwrap().path()).max().unwrap();
        for (name, tensor) in support::models::tensors(&newest.join("adapter_model.safetensors")) {
            assert!(support::flat(&tensor).iter().all(|x| x.is_finite()), "{name} of {}", newest.display());
        }
        let step: usize = newest.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(step, good, "{said}");
        assert!(said.contains(&format!("the last good state is the checkpoint of step {step}")), "{said}");
        assert!(said.contains(&format!("error: step {}", step + 1)), "{said}");
        let lines = std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |m| m.lines().count());
        assert_eq!(lines, step);
        // From there it continues with a lower rate.
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap();
        let mut calm = json.clone();
        calm["ppo"]["learning_rate"] = 1e-5.into();
        std::fs::write(run.join("config.json"), calm.to_string()).unwrap();
        if step == 0 {
            ok(&["train", "--resume", text(&run), "--steps", "2"]);
        }
    }
}

#[test]
fn a_fine_tuning_that_diverges_names_update_and_rows() {
    let (dir, data, policy) = (tempfile::tempdir().unwrap(), tiny("data/train.jsonl"), tiny("policy"));
    let run = dir.path().join("run");
    let quick = "--epochs 3 --batch-size 8 --learning-rate 1e38 --max-grad-norm 0 --warmup 0 --rouge-rows 0 --full";
    let given = ["finetune", "--policy", &policy, "--data", &data, "--validation", &data, "--out", text(&run)];
    let said = fails(&given.into_iter().chain(quick.split_whitespace()).collect::<Vec<_>>());
    assert!(said.contains("the loss of update 2 (rows [") && said.contains("lower the learning rate"), "{said}");
    assert!(said.contains("the last good state is the checkpoint of update 0"), "{said}");
}

/// A closed pipe does not stop a run.
#[test]
fn a_closed_pipe_ends_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let (config, models) = (file(dir.path(), "c.json", QUICK), models());
    for json in [true, false] {
        let run = dir.path().join(json.to_string());
        let mut args = train_args(&models, text(&config), "3", text(&run));
        if json {
            args.push("--json");
        }
        let mut child = program(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_steps(&run, 3);
    }
    // Commands that only print end without a message, as other tools do.
    let texts = file(dir.path(), "texts.txt", &"Hello.\n".repeat(2000));
    let mut child = program(&["score", "--reward", &models[2], "--text", text(&texts)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8(out.stderr).unwrap().as_str()), (Some(141), ""));
    // A full disk behind standard output is reported; the evaluation is saved.
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let run = dir.path().join("true");
        let out = program(&["evaluate", "--run", text(&run), "-n", "2", "--max-new-tokens", "4"])
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && said.contains("standard output: No space left on device"), "{said}");
        let evaluation = std::fs::read(run.join("evaluation.json")).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&evaluation).unwrap()["n"], 2);
    }
}

/// TensorBoard reads files by name, and the names contain the time.
#[test]
fn a_clock_that_goes_backwards_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config, models) = (dir.path().join("run"), file(dir.path(), "c.json", QUICK), models());
    ok(&train_args(&models, text(&config), "1", text(&run)));
    let events = |run: &Path| {
        let names = run.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("events.")).collect();
        names.sort();
        names
    };
    let first = events(&run);
    std::fs::rename(run.join(&first[0]), run.join("events.out.tfevents.9999999990.detox-lab")).unwrap();
    ok(&["train", "--resume", text(&run), "--steps", "2"]);
    assert_eq!(
        events(&run),
        ["events.out.tfevents.9999999990.detox-lab", "events.out.tfevents.9999999991.detox-lab.from-1"]
    );
    ok(&["train", "--resume", text(&run), "--steps", "3"]);
    assert_eq!(events(&run).len(), 3);
    assert_steps(&run, 3);
}
