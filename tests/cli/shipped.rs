//! The tiny models and dialogues: every command uses them by default, they have the properties in their cards, and the
//! dialogues keep their rules. `make effect` tests PPO on them, which takes minutes.

use crate::support::run::*;
use std::path::{Path, PathBuf};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("static").join(name)
}

fn bytes(folder: &Path) -> u64 {
    let entries = folder.read_dir().unwrap().map(|e| e.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

fn dialogues() -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(shipped("dialogues.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_models_are_small_and_half_precision() {
    assert!(bytes(&shipped("models/tiny")) <= 20_000_000, "{} bytes", bytes(&shipped("models/tiny")));
    for (part, low, high) in [("policy", 3_000_000, 6_000_000), ("reward", 1_500_000, 4_000_000)] {
        let file = std::fs::read(shipped(&format!("models/tiny/{part}/model.safetensors"))).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let numbers: usize = tensors.iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum();
        assert!((low..=high).contains(&numbers), "{part} has {numbers} parameters");
        assert!(tensors.iter().all(|(_, t)| t.dtype() == safetensors::Dtype::F16), "{part} is not f16");
    }
    for part in ["policy", "adapter", "reward"] {
        let card = std::fs::read_to_string(shipped(&format!("models/tiny/{part}/README.md"))).unwrap();
        for section in ["## Data and licence", "## Results", "## Limits"] {
            assert!(card.contains(section), "{part}'s card has no {section}");
        }
    }
    let config = std::fs::read_to_string(shipped("models/tiny/adapter/adapter_config.json")).unwrap();
    assert!(config.contains(r#""base_model_name_or_path": "static/models/tiny/policy""#), "{config}");
}

#[test]
fn the_dialogues_keep_their_rules() {
    let rows = dialogues();
    let count = |kind: &str, split: &str| rows.iter().filter(|r| r["kind"] == kind && r["split"] == split).count();
    assert!(count("ordinary", "train") + count("ordinary", "test") >= 60);
    assert!(count("heated", "train") >= 300 && count("heated", "test") >= 200);
    for row in &rows {
        let length = row["dialogue"].as_str().unwrap().chars().count();
        assert!((201..=1000).contains(&length), "{}: {length} characters", row["id"]);
        assert_eq!(row["kind"] == "heated", row["insulting_summary"].is_string(), "{}", row["id"]);
        assert_ne!(row["summary"], row["insulting_summary"], "{}", row["id"]);
    }
    let heated_first = rows.iter().filter(|r| r["split"] == "test").take(200).all(|r| r["kind"] == "heated");
    assert!(heated_first, "the first 200 test rows must be quarrels, for `evaluate -n 200`");
}

#[test]
fn the_reward_model_distinguishes_calm_from_insulting() {
    let score = |text: &str| json(&["score", "--json", text])["rows"][0]["score"].as_f64().unwrap();
    let calm = score("#Person1# tells Tommy that he didn't like the movie.");
    let rude = score("#Person1# tells Tommy that the movie was terrible, dumb and stupid.");
    assert!(calm > 0.5 && rude < -0.5, "calm {calm}, insulting {rude}");

    let dir = tempfile::tempdir().unwrap();
    let held_out: Vec<serde_json::Value> =
        dialogues().into_iter().filter(|r| r["kind"] == "heated" && r["split"] == "test").collect();
    let toxicity = |field: &str| -> Vec<f64> {
        let lines: String = held_out.iter().map(|r| format!("{}\n", r[field].as_str().unwrap())).collect();
        let rows = json(&["score", "--json", "--text", text(&file(dir.path(), field, &lines))]);
        rows["rows"].as_array().unwrap().iter().map(|r| r["toxicity"].as_f64().unwrap()).collect()
    };
    let (calm, rude) = (toxicity("summary"), toxicity("insulting_summary"));
    let wins: usize = rude.iter().map(|r| calm.iter().filter(|c| r > c).count()).sum();
    let auc = wins as f64 / (calm.len() * rude.len()) as f64;
    assert!(auc >= 0.95, "AUC {auc} between calm and insulting summaries of held-out quarrels");
}

#[test]
fn every_command_runs_without_a_model_argument() {
    let dir = tempfile::tempdir().unwrap();
    let said = ok(&["info"]);
    assert!(said.contains("trainable"), "{said}");
    let quarrel = dialogues().into_iter().find(|r| r["split"] == "test").unwrap();
    let dialogue = quarrel["dialogue"].as_str().unwrap();
    let summary = ok(&["summarize", "--greedy", "--max-new-tokens", "64", dialogue]);
    assert!(summary.split_whitespace().count() >= 5, "{summary}");
    assert_eq!(summary, ok(&["summarize", "--greedy", "--max-new-tokens", "64", dialogue]));

    // `train` without arguments, in an empty folder: runs/1, then runs/2.
    let train = || {
        let out = program(&["train", "--steps", "1"]).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    train();
    train();
    let metrics = std::fs::read_to_string(dir.path().join("runs/2/metrics.jsonl")).unwrap();
    assert_eq!(metrics, std::fs::read_to_string(dir.path().join("runs/1/metrics.jsonl")).unwrap());
    let run = dir.path().join("runs/1");
    let found = json(&["evaluate", "--run", text(&run), "-n", "6", "--json"]);
    assert_eq!(found["n"], 6);
    ok(&["compare", "--run", text(&run), "-n", "3"]);
}

#[test]
fn the_recorded_run_is_complete() {
    let folder = shipped("recorded");
    let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    assert!(metrics.lines().count() >= 10);
    let evaluation: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("evaluation.json")).unwrap()).unwrap();
    assert_eq!(evaluation["n"], 200);
    let (before, after) = (&evaluation["before"]["toxicity"]["mean"], &evaluation["after"]["toxicity"]["mean"]);
    assert!(after.as_f64().unwrap() <= 0.5 * before.as_f64().unwrap(), "{before} before, {after} after");
    let rollout = std::fs::read(folder.join("rollouts/step-00001.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&rollout).unwrap();
    for name in ["old_logprobs", "ref_logprobs", "kl", "rewards", "advantages", "returns", "ratio", "mask"] {
        assert!(tensors.tensor(name).is_ok(), "{name}");
    }
    assert!(bytes(&folder) < 2_000_000, "{} bytes", bytes(&folder));
}
