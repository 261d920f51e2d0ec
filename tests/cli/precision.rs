//! `--precision bf16`: a run with it is recorded, repeats and resumes bit for bit, and is evaluated with it; numbers stay near
//! those of f32; a processor without instructions for it is named once.

use crate::support::run::*;
use std::path::Path;

/// `config.json` of a run.
fn config(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap()
}

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.jsonl")).unwrap()
}

#[test]
fn a_run_with_bf16_repeats_and_resumes_bit_for_bit_and_is_evaluated_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let [short, long, again, f32] = ["short", "long", "again", "f32"].map(|name| dir.path().join(name));
    let (settings, models) = (file(dir.path(), "c.json", QUICK), models());
    let start = |out: &Path, steps: &str, precision: &str| {
        let mut args = train_args(&models, text(&settings), steps, text(out));
        args.extend(["--precision", precision]);
        ok(&args);
    };
    start(&short, "1", "bf16");
    assert_eq!(config(&short)["precision"], "bf16");
    ok(&["train", "--resume", text(&short), "--steps", "2"]);
    start(&long, "2", "bf16");
    start(&again, "2", "bf16");
    assert_same(&long, &again);
    assert_same(&short, &long);

    ok(&train_args(&models, text(&settings), "2", text(&f32)));
    assert_eq!(config(&f32)["precision"], "f32");
    assert_ne!(metrics(&f32), metrics(&long), "bf16 changed nothing");
    assert!(!run(&["train", "--resume", text(&f32), "--precision", "bf16"]).status.success());

    let evaluate = |run: &Path, more: &[&str]| {
        let mut args = vec!["evaluate", "--json", "-n", "4", "--max-new-tokens", "8", "--run", text(run)];
        args.extend(more);
        json(&args)
    };
    assert_eq!(evaluate(&long, &[]), evaluate(&long, &["--precision", "bf16"]), "not evaluated as it was trained");
    assert_ne!(evaluate(&long, &[]), evaluate(&long, &["--precision", "f32"]));

    let head = short.join("checkpoints/step-00000/value_head.safetensors");
    let replay = |out: &str, run: &Path, more: &[&str]| {
        let (rows, out) = (run.join("rollouts/step-00001.jsonl"), dir.path().join(out));
        let mut args =
            vec!["replay", "--json", "--policy", &models[0], "--adapter", &models[1], "--config", text(&settings)];
        args.extend(["--value-head", text(&head), "--rows", text(&rows), "--out", text(&out)]);
        args.extend(more);
        json(&args)
    };
    let rounded = replay("r1", &long, &[]);
    assert_eq!(rounded, replay("r2", &long, &["--precision", "bf16"]), "not replayed as it was trained");
    assert_ne!(rounded, replay("r3", &long, &["--precision", "f32"]));

    // A run from before this option continues in f32.
    let mut old = config(&f32);
    assert!(old.as_object_mut().unwrap().remove("precision").is_some());
    std::fs::write(f32.join("config.json"), old.to_string()).unwrap();
    ok(&["train", "--resume", text(&f32), "--steps", "3"]);
    assert_eq!(config(&f32)["precision"], "f32");
}

#[test]
fn a_fine_tuning_with_bf16_is_recorded_and_repeats_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let ([policy, _, _, data], runs) = (models(), ["one", "two", "f32"].map(|name| dir.path().join(name)));
    for (run, precision) in runs.iter().zip(["bf16", "bf16", "f32"]) {
        let quick = "--epochs 0.25 --batch-size 8 --rouge-rows 0 --validation-rows 8 --max-source 96 --max-target 24";
        let sources = ["finetune", "--policy", &policy, "--data", &data, "--validation", &data, "--out", text(run)];
        let args: Vec<&str> =
            sources.into_iter().chain(quick.split_whitespace()).chain(["--precision", precision]).collect();
        ok(&args);
        assert_eq!(config(run)["what"]["precision"], precision);
    }
    assert_same(&runs[0], &runs[1]);
    assert_ne!(metrics(&runs[0]), metrics(&runs[2]), "bf16 changed nothing");
}

/// A score differs from that of f32 by less than bf16's rounding explains: a rounded factor is off by
/// at most 2⁻⁹ of itself, and a tiny model has about ten products one after the other, so that 10 · 2 · 2⁻⁹ of a logit's
/// magnitude (about 1) is a wide bound.
#[test]
fn scores_stay_near_those_of_f32_on_every_kernel() {
    let models = models();
    let score = |kernel: &str, precision: &str| {
        let args =
            ["score", "--json", "--reward", &models[2], "--precision", precision, "calm words, and some more of them"];
        let out = program(&args).env("DETOX_LAB_KERNEL", kernel).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{said}");
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (json["rows"][0]["score"].as_f64().unwrap(), said)
    };
    let (exact, said) = score("", "f32");
    assert!(!said.contains("--precision"), "{said}");
    for kernel in ["portable", ""] {
        let (rounded, said) = score(kernel, "bf16");
        let off = (rounded - exact).abs();
        assert!(off > 0.0 && off < 0.04 * exact.abs().max(1.0), "{kernel}: {rounded} and {exact}");
        if kernel == "portable" {
            assert_eq!(said.matches("--precision bf16 is slower than f32 here").count(), 1, "{said}");
        }
    }
}
