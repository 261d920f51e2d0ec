//! `train-reward` on tiny sizes: it learns, resumes exactly, writes a folder that `score` reads, measures each source, and
//! refuses bad input.

use crate::support::run::{fails, file, json, ok, program, run, text, tiny};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const CONFIG: &str = r#"{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 66, "hidden_dropout_prob": 0.1}"#;

/// Calm and insulting sentences; every third row is held out if there is a `split`.
fn rows(from: usize, n: usize, split: bool) -> String {
    let mut csv = format!("label,text{}\n", if split { ",split" } else { "" });
    for i in from..from + n {
        let (name, day) = (["Anna", "Tom", "#Person1#"][i % 3], ["today", "again", "on Monday"][i / 3 % 3]);
        let (label, words) = if i % 2 == 0 { ("hate", "a stupid idiot") } else { ("nothate", "a good friend") };
        let part = if i % 3 == 0 { "test" } else { "train" };
        csv += &format!("{label},\"{name}, says #Person2#, is {words} {day}\"");
        csv += &if split { format!(",{part}\n") } else { "\n".into() };
    }
    csv
}

/// A folder with a tokenizer, a config and two sources.
struct Work {
    dir: tempfile::TempDir,
}

impl Work {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "config.json", CONFIG);
        file(dir.path(), "one.csv", &rows(0, 60, true));
        file(dir.path(), "two.csv", &rows(60, 40, false));
        file(dir.path(), "other.csv", &rows(100, 20, false));
        let (csv, tokenizer) = (dir.path().join("one.csv"), dir.path().join("tokenizer"));
        ok(&["train-tokenizer", "--kind", "bpe", "--vocab-size", "320", "--out", text(&tokenizer), text(&csv)]);
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `train-reward` into `out` with new weights; `more`: further arguments.
    fn args(&self, out: &str, more: &[&str]) -> Vec<String> {
        let path = |name: &str| text(&self.at(name)).to_string();
        let mut args: Vec<String> = vec!["train-reward".into()];
        for (flag, name) in [("--model-config", "config.json"), ("--tokenizer", "tokenizer"), ("--data", "one.csv")] {
            args.extend([flag.into(), path(name)]);
        }
        args.extend(["--data".into(), path("two.csv"), "--out".into(), path(out)]);
        let fixed = "--batch-size 8 --learning-rate 3e-3 --seed 5 --evaluate-every 10 --save-every 7 --log-every 5";
        args.extend(fixed.split(' ').map(String::from));
        args.extend(more.iter().map(|arg| arg.to_string()));
        args
    }
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_new_model_learns_and_score_reads_its_folder() {
    let work = Work::new();
    let other = work.at("other.csv");
    let args = work.args("run", &["--epochs", "6", "--held-out", text(&other), "--save-as", "f16", "--json"]);
    let table = json(&strs(&args));
    let names: Vec<&String> = table.as_object().unwrap().keys().collect();
    assert_eq!(names, ["all", "one", "two", "other"]);
    let rows = |name: &str| table[name]["rows"].as_u64().unwrap();
    assert_eq!((rows("one"), rows("two"), rows("other"), rows("all")), (20, 4, 20, 24), "other files are not in all");
    assert!(table["other"]["auc"].as_f64().unwrap() > 0.95, "{table}");
    assert_eq!(table, serde_json::from_slice::<Value>(&std::fs::read(work.at("run/quality.json")).unwrap()).unwrap());

    let metrics = lines(&work.at("run/metrics.jsonl"));
    let evaluated: Vec<&Value> = metrics.iter().filter(|line| line.get("eval/auc").is_some()).collect();
    assert!(evaluated.len() > 2);
    for key in ["eval/loss", "eval/f1", "eval/ece", "eval/brier", "eval/accuracy", "eval/one/auc", "eval/other/ece"] {
        assert!(evaluated[0][key].is_f64(), "{key}");
    }

    let best = work.at("run/best");
    let config: Value = serde_json::from_slice(&std::fs::read(best.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"], serde_json::json!({"0": "nothate", "1": "hate"}));
    assert_eq!(config["architectures"], serde_json::json!(["RobertaForSequenceClassification"]));
    let scored = json(&["score", "--reward", text(&best), "--json", "Anna, says #Person2#, is a stupid idiot today"]);
    let calm = json(&["score", "--reward", text(&best), "--json", "Anna, says #Person2#, is a good friend today"]);
    let toxicity = |v: &Value| v["rows"][0]["toxicity"].as_f64().unwrap();
    assert!(toxicity(&scored) > 0.5 && toxicity(&calm) < 0.5, "{scored} {calm}");
}

#[test]
fn every_balance_and_masking_train_and_a_saved_model_can_be_trained_further() {
    let work = Work::new();
    for balance in ["classes", "sources"] {
        let more =
            ["--epochs", "1", "--balance", balance, "--mask", "0.2", "--label-smoothing", "0.1", "--dropout", "0"];
        ok(&strs(&work.args(balance, &more)));
    }
    let (from, data, out) = (work.at("classes/best"), work.at("two.csv"), work.at("on"));
    let said =
        ok(&["train-reward", "--reward", text(&from), "--data", text(&data), "--epochs", "1", "--out", text(&out)]);
    assert!(said.contains("AUC") && said.contains("two"), "{said}");
    let reward = tiny("reward");
    let fixture = work.at("fixture");
    ok(&["train-reward", "--reward", &reward, "--data", text(&data), "--epochs", "1", "--out", text(&fixture)]);
}

#[test]
fn a_run_killed_and_resumed_equals_an_uninterrupted_one() {
    let work = Work::new();
    ok(&strs(&work.args("twin", &["--epochs", "8", "--mask", "0.1"])));
    let start = work.args("killed", &["--epochs", "8", "--mask", "0.1"]);
    let (metrics, killed) = (work.at("killed/metrics.jsonl"), work.at("killed"));
    let resume = ["train-reward", "--resume", text(&killed)];
    let count = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    for attempt in 0..3 {
        let before = count();
        let args = if attempt == 0 { strs(&start) } else { resume.to_vec() };
        let mut child = program(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while count() <= before + 1 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = run(&resume);
    let said = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(last.status.success() || said.contains("updates are done"), "{said}");
    let twin = work.at("twin");
    assert_eq!(lines(&metrics), lines(&twin.join("metrics.jsonl")));
    let weights = |run: &Path| std::fs::read(run.join("best/model.safetensors")).unwrap();
    assert!(weights(&killed) == weights(&twin));
}

#[test]
fn bad_input_is_named_and_nothing_is_lost() {
    let work = Work::new();
    let data = |name: &str, content: &str| {
        let bad = file(work.dir.path(), name, content);
        let (config, tokenizer, out) = (work.at("config.json"), work.at("tokenizer"), work.at("out"));
        let fresh = ["train-reward", "--model-config", text(&config), "--tokenizer", text(&tokenizer)];
        let said = fails(&[&fresh[..], &["--data", text(&bad), "--out", text(&out)]].concat());
        assert!(!out.exists(), "a refused training leaves no folder");
        said
    };
    assert!(data("empty.csv", "").contains("empty.csv"));
    assert!(data("header.csv", "text,label\n").contains("header.csv: no rows"));
    assert!(data("label.csv", "text,label\na,hate\nb,rude\n").contains("label.csv:3: unknown label \"rude\""));
    assert!(data("blank.csv", "text,label\n,hate\n").contains("blank.csv:2: the text is empty"));
    assert!(data("class.csv", "text,label\na,hate\nb,hate\nc,1\n").contains("rows are labelled hate"));
    assert!(data("whole.csv", "text,label,split\na,hate,train\nb,nothate,train\n").contains("held out"));

    let twice = work.at("one.csv");
    assert!(
        fails(&strs(&work.args("out", &["--held-out", text(&twice)]))).contains("two sources have the name \"one\"")
    );
    assert!(fails(&strs(&work.args("out", &["--held-out", "nowhere.csv"]))).contains("nowhere.csv"));
    assert!(fails(&strs(&work.args("out", &["--mask", "1.5"]))).contains("masked"));
    file(work.dir.path(), "config.json", &CONFIG.replace("32", "33"));
    let odd = fails(&strs(&work.args("out", &[])));
    assert!(odd.contains("config.json") && odd.contains("33"), "{odd}");
    file(work.dir.path(), "config.json", &CONFIG.replace('{', "{\"vocab_size\": 300,"));
    assert!(fails(&strs(&work.args("out", &[]))).contains("vocab_size is 300"));
    let nothing = fails(&["train-reward", "--data", text(&twice), "--out", text(&work.at("out"))]);
    assert!(nothing.contains("no model to train"), "{nothing}");
}

#[test]
fn a_run_is_not_overwritten_nor_resumed_by_another_command() {
    let work = Work::new();
    let args = work.args("run", &["--epochs", "1"]);
    ok(&strs(&args));
    let before = std::fs::read(work.at("run/metrics.jsonl")).unwrap();
    assert!(fails(&strs(&args)).contains("--resume"));
    let run = work.at("run");
    let other = fails(&["finetune", "--resume", text(&run)]);
    assert!(other.contains("train-reward"), "{other}");
    assert!(fails(&["train-reward", "--resume", text(&run)]).contains("updates are done"));
    assert_eq!(std::fs::read(work.at("run/metrics.jsonl")).unwrap(), before);
    let refused = program(&["train-reward", "--resume", text(&run), "--learning-rate", "1"]).output().unwrap();
    assert!(!refused.status.success(), "other settings cannot be given to a run that is continued");
}
