//! `finetune` from the command line: an adapter, a whole model from new weights, bad input (`robustness/killed.rs` interrupts
//! it).

use crate::support;
use crate::support::run::*;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// `finetune` on the tiny data: a few quick updates of the model in `from`.
fn finetune(from: &[&str], epochs: &str, out: &Path) -> Vec<String> {
    let data = tiny("data/train.jsonl");
    let given = ["finetune", "--data", &data, "--validation", &data, "--out", text(out), "--epochs", epochs];
    let quick = "--batch-size 8 --learning-rate 5e-3 --evaluate-every 6 --save-every 4 --log-every 2 --rouge-rows 4 \
                 --validation-rows 8 --max-source 96 --max-target 24";
    given.into_iter().chain(quick.split_whitespace()).chain(from.iter().copied()).map(str::to_string).collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A number from all lines of metrics.jsonl that have it.
fn series(run: &Path, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line[name].as_f64()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn an_adapter_is_trained_and_can_be_used_as_an_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let (run, more, policy) = (dir.path().join("run"), dir.path().join("more"), tiny("policy"));
    ok(&strs(&finetune(&["--policy", &policy, "--lora-r", "4", "--lora-alpha", "8"], "3", &run)));
    let losses = series(&run, "eval/loss");
    assert!(losses.len() >= 3 && losses.last() < losses.first(), "{losses:?}");
    assert_eq!(series(&run, "eval/rouge1").len(), losses.len());
    let best = run.join("best");
    assert_eq!(names(&best), ["adapter_config.json", "adapter_model.safetensors"]);
    for (name, tensor) in support::models::tensors(&best.join("adapter_model.safetensors")) {
        assert!(support::flat(&tensor).iter().any(|x| *x != 0.0), "{name} was not trained");
    }
    ok(&["summarize", "--policy", &policy, "--adapter", text(&best), "--max-new-tokens", "5", "#Person1#: Hello."]);
    ok(&strs(&finetune(&["--policy", &policy, "--adapter", text(&best)], "0.5", &more)));
    assert!(series(&more, "eval/loss")[0] < losses[0], "a second fine-tuning starts where the first ended");
}

#[test]
fn a_model_is_trained_from_new_weights_and_then_with_full() {
    let dir = tempfile::tempdir().unwrap();
    let (run, more) = (dir.path().join("run"), dir.path().join("more"));
    let (config, tokenizer) = (tiny("policy/config.json"), tiny("policy"));
    let fresh = ["--model-config", &config, "--tokenizer", &tokenizer, "--save-as", "f16"];
    ok(&strs(&finetune(&fresh, "4", &run)));
    let losses = series(&run, "eval/loss");
    assert!(*losses.last().unwrap() < losses[0] - 0.3, "{losses:?}");
    let best = run.join("best");
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        assert!(best.join(file).is_file(), "{file} is missing");
    }
    let saved = std::fs::read(best.join("model.safetensors")).unwrap();
    let saved = safetensors::SafeTensors::deserialize(&saved).unwrap();
    assert!(saved.iter().all(|(_, t)| t.dtype() == safetensors::Dtype::F16));
    ok(&["summarize", "--policy", text(&best), "--adapter", "off", "--max-new-tokens", "5", "#Person1#: Hello."]);
    ok(&strs(&finetune(&["--policy", text(&best), "--full"], "0.5", &more)));
    assert!(series(&more, "eval/loss")[0] < losses[0]);
}

#[test]
fn training_continues_with_models_and_data_that_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (run, here, there) = (dir.path().join("run"), dir.path().join("here"), dir.path().join("there"));
    std::fs::create_dir(&here).unwrap();
    for name in names(Path::new(&tiny("policy"))) {
        std::fs::copy(Path::new(&tiny("policy")).join(&name), here.join(&name)).unwrap();
    }
    let mut child = program(&strs(&finetune(&["--policy", text(&here)], "3", &run)));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !run.join("checkpoints/step-00004").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::rename(&here, &there).unwrap();
    let lost = fails(&["finetune", "--resume", text(&run)]);
    assert!(lost.contains("config.json") && lost.contains("--policy"), "{lost}");
    assert!(fails(&["finetune", "--resume", text(&run), "--adapter", "tiny"]).contains("without --adapter"));
    ok(&["finetune", "--resume", text(&run), "--policy", text(&there)]);
    assert!(std::fs::read_to_string(run.join("config.json")).unwrap().contains(text(&there)));
}

#[test]
fn bad_input_is_named_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (run, policy) = (dir.path().join("run"), tiny("policy"));
    let with = |extra: &[&str], out: &Path| fails(&strs(&finetune(extra, "1", out)));
    let other = |data: &str, out: &str| {
        fails(&["finetune", "--policy", &policy, "--data", data, "--out", text(&dir.path().join(out))])
    };
    let empty = file(dir.path(), "empty.jsonl", "");
    assert!(other(text(&empty), "a").contains("empty.jsonl"));
    let broken = file(dir.path(), "broken.jsonl", "{\"dialogue\": \"#Person1#: Hi.\", \"summary\": \"\"}\n");
    assert!(other(text(&broken), "b").contains("broken.jsonl:1"));
    let few = other(&tiny("data/train.jsonl"), "c");
    assert!(few.contains("too few") && few.contains("--validation"), "{few}");
    assert!(with(&["--policy", &policy, "--label-smoothing", "1.5"], &run).contains("label smoothing"));
    assert!(with(&["--policy", "no/such/folder"], &run).contains("no/such/folder"));
    let config = file(dir.path(), "small.json", &{
        let whole = std::fs::read_to_string(tiny("policy/config.json")).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&whole).unwrap();
        json["vocab_size"] = 20.into();
        json.to_string()
    });
    let small = with(&["--model-config", text(&config), "--tokenizer", &policy], &run);
    assert!(small.contains("vocab_size is 20"), "{small}");
    assert!(!run.exists(), "a run that could not start leaves no folder");

    ok(&strs(&finetune(&["--policy", &policy], "0.5", &run)));
    let before = numbers(&run);
    assert!(with(&["--policy", &policy], &run).contains("already contains a run"));
    assert!(fails(&["finetune", "--resume", text(&run)]).contains("updates are done"));
    assert!(fails(&["train", "--resume", text(&run)]).contains("started by finetune"));
    let settings = program(&["finetune", "--resume", text(&run), "--epochs", "9"]).output().unwrap();
    let message = String::from_utf8(settings.stderr).unwrap();
    assert!(!settings.status.success() && message.contains("--epochs") && message.contains("--resume"), "{message}");
    assert!(before == numbers(&run), "a refused command changed the run");
}

#[test]
fn data_that_changed_during_a_run_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (run, policy) = (dir.path().join("run"), tiny("policy"));
    let rows = std::fs::read_to_string(tiny("data/train.jsonl")).unwrap();
    let data = file(dir.path(), "rows.jsonl", &rows);
    let args = ["--policy", &policy, "--out", text(&run), "--data", text(&data), "--validation", text(&data)];
    let mut child = program(&[&["finetune"], &args[..], &["--epochs", "500", "--save-every", "1"]].concat());
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    while !run.join("metrics.jsonl").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(&data, rows.replacen("#Person1#", "#Person2#", 1)).unwrap();
    let message = fails(&["finetune", "--resume", text(&run)]);
    assert!(message.contains("the training data"), "{message}");
}
