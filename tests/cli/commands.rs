//! Commands on one model: their output as text and JSON, whether they agree with each other, and their errors.

use crate::support;
use crate::support::run::*;
use std::io::Write;
use std::process::Stdio;

#[test]
fn info_counts_what_is_trained() {
    let v = json(&["info", "--policy", &tiny("policy"), "--adapter", &tiny("adapter"), "--json"]);
    let number = |key: &str| v[key].as_u64().unwrap();
    assert_eq!(number("parameters"), number("base_parameters") + number("trainable_parameters"));
    let adapter = support::models::tensors(&support::fixtures().join("tiny/adapter/adapter_model.safetensors"));
    let lora: usize = adapter.values().map(|t| t.elem_count()).sum();
    assert_eq!(number("adapter_parameters") as usize, lora);
    assert_eq!(number("value_head_parameters"), 33, "32 weights and a bias");
    let said = ok(&["info", "--policy", &tiny("policy")]);
    assert!(said.contains("trainable"), "{said}");
}

#[test]
fn summaries_are_the_same_by_text_by_ids_streamed_and_piped() {
    let dir = tempfile::tempdir().unwrap();
    let dialogue = "#Person1#: Did you finish the report? #Person2#: Not yet, I need one more day.";
    let one = file(dir.path(), "one.txt", &format!("{dialogue}\n"));
    let (policy, adapter) = (tiny("policy"), tiny("adapter"));
    let base = ["summarize", "--policy", &policy, "--adapter", &adapter, "--seed", "3", "--max-new-tokens", "24"];
    fn both<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [base, more].concat()
    }
    let v = json(&both(&base, &["--text", text(&one), "--json"]));
    let row = &v["rows"][0];
    assert_eq!(ok(&both(&base, &["--text", text(&one)])).trim_end(), row["text"].as_str().unwrap().trim_end());
    assert_eq!(ok(&both(&base, &[dialogue])).trim_end(), row["text"].as_str().unwrap().trim_end());
    let many = file(dir.path(), "many.txt", &format!("{dialogue}\n{dialogue}\nHello there, how are you?\n"));
    let rows = json(&both(&base, &["--text", text(&many), "--json"]));
    assert_eq!(rows["rows"][0]["response_ids"], row["response_ids"], "row 1 does not depend on other rows");
    assert_eq!(rows["rows"].as_array().unwrap().len(), 3);

    let mut child =
        program(&both(&base, &["--text", "-"])).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{dialogue}\n").as_bytes()).unwrap();
    let piped = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(piped.trim_end(), row["text"].as_str().unwrap().trim_end());

    let ids = file(dir.path(), "ids.jsonl", "{\"ids\":[5,9,12,1]}\n{\"ids\":[7,1]}\n");
    let v =
        json(&["summarize", "--policy", &policy, "--ids", text(&ids), "--greedy", "--max-new-tokens", "5", "--json"]);
    assert_eq!(v["rows"][0]["response_ids"][0], 0, "the start token is first");
}

#[test]
fn logprobs_equal_those_of_generation() {
    let dir = tempfile::tempdir().unwrap();
    let ids = file(dir.path(), "ids.jsonl", "{\"ids\":[5,9,12,40,3,1]}\n");
    let (policy, adapter) = (tiny("policy"), tiny("adapter"));
    let common = ["--policy", &policy, "--adapter", &adapter];
    let out = json(&[&["summarize"], &common[..], &["--ids", text(&ids), "--max-new-tokens", "12", "--json"]].concat());
    let row = &out["rows"][0];
    let line = serde_json::json!({"query_ids": [5, 9, 12, 40, 3, 1], "response_ids": row["response_ids"]});
    let rows = file(dir.path(), "rows.jsonl", &format!("{line}\n"));
    let scored = json(&[&["logprobs"], &common[..], &["--rows", text(&rows), "--json"]].concat());
    let (generated, forced) = (row["logprobs"].as_array().unwrap(), scored["rows"][0]["logprobs"].as_array().unwrap());
    assert_eq!(generated.len(), forced.len());
    for (a, b) in generated.iter().zip(forced) {
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5);
    }
    let off = json(&["logprobs", "--policy", &policy, "--adapter", "off", "--rows", text(&rows), "--json"]);
    assert_ne!(off["rows"][0]["logprobs"], scored["rows"][0]["logprobs"]);
    assert!(scored["rows"][0].get("values").is_none(), "no value head was given, so no values are printed");
}

#[test]
fn scores_have_both_labels_and_agree_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let texts = file(dir.path(), "t.txt", "What a lovely day.\nYou are a useless idiot.\n");
    let v = json(&["score", "--reward", &tiny("reward"), "--text", text(&texts), "--json"]);
    for row in v["rows"].as_array().unwrap() {
        let number = |path: &str| row.pointer(path).unwrap().as_f64().unwrap();
        let (nothate, hate) = (number("/logits/nothate"), number("/logits/hate"));
        assert_eq!(number("/score"), nothate);
        assert_eq!(number("/toxicity"), number("/probabilities/hate"));
        assert!((number("/probabilities/hate") - 1.0 / (1.0 + (nothate - hate).exp())).abs() < 1e-6);
    }
    let said = ok(&["score", "--reward", &tiny("reward"), "--text", text(&texts)]);
    assert!(said.contains("You are a useless idiot."), "{said}");
}

#[test]
fn a_merged_model_gives_the_same_without_its_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, adapter, merged) = (tiny("policy"), tiny("adapter"), dir.path().join("merged"));
    ok(&["merge", "--policy", &policy, "--adapter", &adapter, "--out", text(&merged)]);
    let rows = file(dir.path(), "rows.jsonl", "{\"query_ids\":[5,9,1],\"response_ids\":[0,7,30,1]}\n");
    let a = json(&["logprobs", "--policy", &policy, "--adapter", &adapter, "--rows", text(&rows), "--json"]);
    let b = json(&["logprobs", "--policy", text(&merged), "--rows", text(&rows), "--json"]);
    for k in 0..3 {
        let at = |v: &serde_json::Value| v["rows"][0]["logprobs"][k].as_f64().unwrap();
        assert!((at(&a) - at(&b)).abs() < 1e-5);
    }
    assert!(fails(&["merge", "--policy", &policy, "--adapter", &adapter, "--out", text(&merged)]).contains("exists"));
}

#[test]
fn a_gguf_file_takes_the_place_of_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, reward, adapter) = (tiny("policy"), tiny("reward"), tiny("adapter"));
    let (p, r) = (dir.path().join("policy.gguf"), dir.path().join("reward.gguf"));
    let said = ok(&["quantize", "--policy", &policy, "--out", text(&p)]);
    assert!(said.contains("q8_0") && said.contains("policy.gguf"), "{said}");
    ok(&["quantize", "--reward", &reward, "--weights", "f16", "--out", text(&r)]);
    let texts = file(dir.path(), "t.txt", "#Person1#: You are late. #Person2#: I am sorry.\n");
    let summary = |src: &str, more: &[&str]| {
        let args =
            ["summarize", "--policy", src, "--adapter", &adapter, "--seed", "3", "--text", text(&texts), "--json"];
        json(&[&args[..], more].concat())["rows"][0]["response_ids"].clone()
    };
    assert_eq!(summary(text(&p), &[]), summary(&policy, &["--weights", "q8_0"]));
    let score =
        |src: &str| json(&["score", "--reward", src, "--text", text(&texts), "--json"])["rows"][0]["score"].clone();
    assert!((score(text(&r)).as_f64().unwrap() - score(&reward).as_f64().unwrap()).abs() < 1e-2);
    // a file replaces itself, in another type
    ok(&["quantize", "--policy", text(&p), "--weights", "f16", "--out", text(&p)]);
    assert_eq!(summary(text(&p), &[]), summary(&policy, &["--weights", "q8_0"]));
    ok(&["doctor", "--policy", text(&p), "--reward", text(&r), "--adapter", &adapter]);

    let before = std::fs::read(&p).unwrap();
    let wrong = fails(&["summarize", "--policy", text(&r), "--text", text(&texts)]);
    assert!(wrong.contains("reward.gguf") && wrong.contains("roberta"), "{wrong}");
    assert!(fails(&["quantize", "--policy", &reward, "--out", text(&p)]).contains("reward"));
    assert!(fails(&["quantize", "--policy", &policy, "--out", text(&dir.path().join("x"))]).contains(".gguf"));
    assert!(!run(&["quantize", "--out", text(&p)]).status.success());
    assert_eq!(std::fs::read(&p).unwrap(), before);
}

#[test]
fn errors_say_what_failed_where_and_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, reward) = (tiny("policy"), tiny("reward"));
    let texts = file(dir.path(), "t.txt", "Hello\n");
    let empty = file(dir.path(), "empty.txt", "");
    let blank = file(dir.path(), "blank.txt", "Hello\n\nthere\n");
    let nowhere = fails(&["summarize", "--policy", "no such/place/at all", "--text", text(&texts)]);
    assert!(nowhere.contains("no such/place/at all"), "{nowhere}");
    let offline = fails(&["summarize", "--policy", "someone/nothing", "--text", text(&texts)]);
    assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
    assert!(fails(&["score", "--reward", &reward, "--text", text(&empty)]).contains("empty.txt"));
    assert!(fails(&["score", "--reward", &reward, "--text", text(&blank)]).contains("line 2"));
    let wrong = fails(&["score", "--reward", &policy, "--text", text(&texts)]);
    assert!(wrong.contains("policy"), "{wrong}");

    let copy = dir.path().join("cut");
    std::fs::create_dir(&copy).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let bytes = std::fs::read(support::fixtures().join("tiny/policy").join(name)).unwrap();
        let keep = if name == "model.safetensors" { bytes.len() / 2 } else { bytes.len() };
        std::fs::write(copy.join(name), &bytes[..keep]).unwrap();
    }
    let cut = fails(&["summarize", "--policy", text(&copy), "--text", text(&texts)]);
    assert!(cut.contains("model.safetensors"), "{cut}");

    let other = support::fixtures().join("lora_rs");
    let foreign = fails(&["summarize", "--policy", &policy, "--adapter", text(&other), "--text", text(&texts)]);
    assert!(foreign.contains("lora_rs"), "{foreign}");

    let config = file(dir.path(), "bad.json", r#"{"learning_rat": 1}"#);
    let models = models();
    let out = dir.path().join("run");
    let typo = fails(&train_args(&models, text(&config), "1", text(&out)));
    assert!(typo.contains("learning_rat") && typo.contains("learning_rate"), "{typo}");
    assert!(!out.exists(), "a refused run leaves no folder");
    let rows = file(dir.path(), "r.jsonl", "{\"query_ids\":[5,1],\"response_ids\":[0,99999]}\n");
    let id = fails(&["logprobs", "--policy", &policy, "--rows", text(&rows)]);
    assert!(id.contains("99999") && id.contains("r.jsonl, line 1"), "{id}");
    assert!(fails(&["evaluate", "--run", text(dir.path())]).contains("not a run folder"));
}

#[test]
fn a_dialogue_file_is_one_text_and_turns_under_text_get_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    let turns = "#Person1#: I need a cake for sixty people.\n#Person2#: By when?";
    let file = file(dir.path(), "talk.txt", &format!("\u{feff}{turns}\r\n"));
    let summarize = ["summarize", "--greedy", "--max-new-tokens", "4", "--json"];
    let of = |more: &[&str]| {
        let out = run(&[&summarize[..], more].concat());
        let said = String::from_utf8(out.stderr).unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (rows["rows"].as_array().unwrap().clone(), said)
    };
    let (whole, said) = of(&["--dialogue", text(&file)]);
    assert_eq!((whole.len(), said.as_str()), (1, ""));
    assert_eq!(whole, of(&[turns]).0);
    let (lines, said) = of(&["--text", text(&file)]);
    assert_eq!(lines.len(), 2);
    assert!(said.contains("turns of one dialogue") && said.contains("--dialogue"), "{said}");
    assert_eq!(of(&["--text", text(&file), "--raw"]).1, "", "no notice for whole prompts");
    let scored = json(&["score", "--dialogue", text(&file), "--json"]);
    assert_eq!(scored["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn files_in_any_encoding_give_the_same_or_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let utf16: Vec<u8> = "\u{feff}you idiot\r\nfine\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let plain = json(&["score", "--text", text(&put("plain.txt", b"you idiot\nfine\n")), "--json"]);
    for (name, bytes) in
        [("mark.txt", &b"\xef\xbb\xbfyou idiot\nfine\n"[..]), ("mac.txt", b"you idiot\rfine"), ("utf16.txt", &utf16)]
    {
        assert_eq!(json(&["score", "--text", text(&put(name, bytes)), "--json"]), plain, "{name}");
    }
    let bad = fails(&["score", "--text", text(&put("bad.txt", b"fine\nnot \xff\n"))]);
    assert!(bad.contains("bad.txt:2: not UTF-8"), "{bad}");
    // a model's folder whose JSON files all start with a byte order mark
    for part in ["policy", "adapter"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
        for entry in std::fs::read_dir(tiny(part)).unwrap() {
            let path = entry.unwrap().path();
            let mark = if path.extension().is_some_and(|end| end == "json") { &b"\xef\xbb\xbf"[..] } else { b"" };
            let name = format!("{part}/{}", path.file_name().unwrap().to_str().unwrap());
            put(&name, &[mark, &std::fs::read(&path).unwrap()].concat());
        }
    }
    let said = |policy: &str, adapter: &str| {
        ok(&[
            "summarize",
            "--policy",
            policy,
            "--adapter",
            adapter,
            "--greedy",
            "--max-new-tokens",
            "6",
            "Hello there.",
        ])
    };
    let [policy, adapter] = ["policy", "adapter"].map(|part| dir.path().join(part));
    assert_eq!(said(text(&policy), text(&adapter)), said(&tiny("policy"), &tiny("adapter")));
}

#[test]
fn long_texts_are_forecast_by_their_tokens_and_cuts_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let long = file(dir.path(), "long.txt", &"#Person1#: hello there my friend, how are you today? ".repeat(1000));
    let plan = ["--memory", "300MB"];
    for from in ["--text", "--dialogue"] {
        let refused = fails(&[&plan[..], &["summarize", from, text(&long)]].concat());
        assert!(refused.contains("encoding prompts of up to") && refused.contains("300 MB are free"), "{refused}");
    }
    // a text that fits is not refused because of an upper limit
    ok(&[&plan[..], &["summarize", "--greedy", "--max-new-tokens", "2", "Hello there."]].concat());
    let given = serde_json::json!({"query": "hello there my friend ".repeat(3000), "response": "a cake"});
    let rows = file(dir.path(), "rows.jsonl", &format!("{given}\n"));
    assert!(fails(&[&plan[..], &["logprobs", "--rows", text(&rows)]].concat()).contains("encoding a prompt of"));
    let talk = "#Person1#: hello there my friend, how are you today? ".repeat(1000);
    let row = serde_json::json!({"id": "a", "dialogue": talk, "summary": "s"});
    let data = file(dir.path(), "data.jsonl", &format!("{row}\n"));
    let evaluate = ["evaluate", "--policy", "tiny", "--every-row", "-n", "1", "--data", text(&data)];
    assert!(fails(&[&plan[..], &evaluate].concat()).contains("encoding prompts of up to"));

    let out = run(&["score", "--json", &"what a nice day ".repeat(400)]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("text 1 was cut") && said.contains("reads the first 512"), "{said}");
    assert_eq!(run(&["score", "what a nice day"]).stderr, b"");
}

#[test]
fn absurd_numbers_are_refused_immediately() {
    for args in [
        &["--threads", "100000", "score", "hi"][..],
        &["--threads", "0", "score", "hi"],
        &["summarize", "--batch-size", "1000000000000", "hi"],
        &["summarize", "--max-new-tokens", "1000000000000000", "hi"],
        &["finetune", "--out", "nowhere", "--max-source", "1000000000000"],
        &["train-tokenizer", "--kind", "bpe", "--vocab-size", "1000000000000", "--out", "nowhere", "x.txt"],
    ] {
        let out = run(args);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(2) && said.contains("from 1 to"), "{args:?}: {said}");
    }
}

/// `tests/mpi` tests the program with MPI.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_of_a_program_without_mpi_are_refused() {
    let started = |rank: &str, command: &[&str]| {
        let launcher = [("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", rank)];
        let out = program(command).envs(launcher).output().unwrap();
        assert!(!out.status.success());
        String::from_utf8(out.stderr).unwrap()
    };
    let said = started("0", &["train", "--steps", "1"]);
    assert!(said.contains("2 processes were started, but this program was built without MPI"), "{said}");
    assert!(said.contains("try: build it with: cargo build --release --features mpi"), "{said}");
    assert!(started("0", &["score", "a text"]).contains("score was started as 2 processes"));
    assert_eq!(started("1", &["train", "--steps", "1"]), "", "only rank 0 prints");
}
