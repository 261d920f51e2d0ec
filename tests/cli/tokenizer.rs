//! `train-tokenizer`: both kinds and their guarantees, reproducible bytes, and bad input.

use crate::support::run::{fails, file, json, ok, text, tiny};
use detox_lab::text::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::Path;

fn load(folder: &Path) -> Tokenizer {
    let read = |name: &str| Ok(std::fs::read(folder.join(name)).ok());
    Tokenizer::from_files(text(folder), read).unwrap()
}

fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text).unwrap();
    tokenizer.pieces(&ids).into_iter().map(|piece| piece.text).collect()
}

#[test]
fn a_unigram_follows_t5s_conventions() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t5");
    let data = tiny("data/train.jsonl");
    let said =
        json(&["train-tokenizer", "--kind", "unigram", "--vocab-size", "400", "--json", "--out", text(&out), &data]);
    assert_eq!(said["vocab_size"], 400);
    let t5 = load(&out);
    assert_eq!((t5.pad_id(), t5.eos_id(), t5.unk_id(), t5.vocab_size()), (0, 1, Some(2), 400));

    let text = "#Person1#: Hello, I'm 42.\n#Person2#: What's #Person1#'s name?";
    let ids = t5.encode(text).unwrap();
    assert_eq!(t5.decode(&ids, true).unwrap(), "#Person1#: Hello, I'm 42. #Person2#: What's #Person1#'s name?");
    assert_eq!(ids.last(), Some(&1));
    let pieces = pieces(&t5, text);
    for whole in [" #Person1#", " #Person2#", "4", "2", ":", ","] {
        assert!(pieces.iter().any(|p| p == whole || p.trim() == whole), "{whole} in {pieces:?}");
    }
    assert!(!pieces.iter().any(|p| p.contains("42")), "{pieces:?}");
    assert_eq!(t5.encode("").unwrap(), [1]);
    assert_eq!(t5.encode("  Hello \n").unwrap(), t5.encode("Hello").unwrap());
    assert_eq!(t5.encode("I’m “fine”").unwrap(), t5.encode("I'm \"fine\"").unwrap());
    assert!(t5.encode("~^{}").unwrap().iter().all(|id| *id != 2), "printable ASCII is never unknown");
    assert!(t5.encode("😀").unwrap().contains(&2));
}

#[test]
fn a_bpe_follows_robertas_conventions() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("roberta");
    let csv = file(dir.path(), "a.csv", "text,label\n\"You, \"\"you\"\"\nare stupid\",hate\nI like you 😀,nothate\n");
    let lines = file(dir.path(), "b.txt", "You are a stupid, stupid man.\n\nI like you.\n");
    let args =
        ["train-tokenizer", "--kind", "bpe", "--vocab-size", "280", "--symbol", "#Person1#", "--out", text(&out)];
    let args: Vec<&str> = args.into_iter().chain([text(&csv), text(&lines)]).collect();
    assert!(ok(&args).contains("tokens"));
    let roberta = load(&out);
    assert_eq!((roberta.pad_id(), roberta.eos_id(), roberta.unk_id()), (1, 2, Some(3)));
    let all: Value = serde_json::from_slice(&std::fs::read(out.join("tokenizer.json")).unwrap()).unwrap();
    let added = all["added_tokens"].as_array().unwrap();
    let (last, size) = (added.last().unwrap(), roberta.vocab_size());
    assert_eq!((last["content"].as_str(), last["id"].as_u64()), (Some("<mask>"), Some(size as u64 - 1)));
    assert!(size <= 280, "{size}");

    let text = "You stupid 😀 #Person1#: Ünknown\n";
    let ids = roberta.encode(text).unwrap();
    assert_eq!((ids[0], ids[ids.len() - 1]), (0, 2));
    assert!(!ids.contains(&3), "bytes are never unknown");
    assert_eq!(roberta.decode(&ids, true).unwrap(), text);
    assert!(pieces(&roberta, text).contains(&"#Person1#".to_string()));
    assert!(pieces(&roberta, text).contains(&" stupid".to_string()), "{:?}", pieces(&roberta, text));
}

#[test]
fn an_uncased_bpe_has_one_token_for_a_word_in_every_position() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("uncased");
    let lines = file(dir.path(), "a.txt", &"Stupid man, you are stupid\n".repeat(3));
    let args =
        ["train-tokenizer", "--kind", "bpe", "--vocab-size", "280", "--uncased", "--out", text(&out), text(&lines)];
    ok(&args);
    let tokenizer = load(&out);
    let id = |text: &str| tokenizer.encode(text).unwrap();
    assert_eq!(id("Stupid"), id("STUPID"));
    assert_eq!(id("Stupid").len(), 3);
    assert_eq!(id("you Stupid")[2..], id("stupid")[1..]);
    let unigram =
        ["train-tokenizer", "--kind", "unigram", "--uncased", "--vocab-size", "300", "--out", "x", text(&lines)];
    assert!(fails(&unigram).contains("--uncased"));
}

#[test]
fn the_same_texts_give_the_same_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["unigram", "bpe"] {
        let runs = ["1", "2", "3"].map(|threads| {
            let out = dir.path().join(format!("{kind}-{threads}"));
            let args = ["train-tokenizer", "--kind", kind, "--vocab-size", "500", "--threads", threads, "--out"];
            let data = tiny("data/train.jsonl");
            ok(&args.into_iter().chain([text(&out), &data]).collect::<Vec<_>>());
            std::fs::read(out.join("tokenizer.json")).unwrap()
        });
        assert!(runs[0] == runs[1] && runs[1] == runs[2], "{kind}");
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let data = tiny("data/train.jsonl");
    let run = |kind: &str, size: &str, data: &str| {
        fails(&["train-tokenizer", "--kind", kind, "--vocab-size", size, "--out", text(&out), data])
    };
    let small = run("unigram", "60", &data);
    assert!(small.contains("vocabulary of 60") && small.contains("give a --vocab-size above"), "{small}");
    assert!(run("bpe", "261", &data).contains("vocabulary of 261"));
    assert!(run("bpe", "300", text(&file(dir.path(), "empty.txt", ""))).contains("empty.txt"));
    assert!(run("bpe", "300", text(&file(dir.path(), "blank.csv", "text\n\" \"\n"))).contains("no text"));
    assert!(run("bpe", "300", text(&file(dir.path(), "other.csv", "a,b\n1,2\n"))).contains("no column `text`"));
    assert!(run("bpe", "300", text(&file(dir.path(), "torn.csv", "text,b\nx,1\ny\n"))).contains("torn.csv:3"));
    assert!(
        run("bpe", "300", text(&file(dir.path(), "torn.jsonl", "{\"text\":\"x\"}\n{\"te"))).contains("torn.jsonl:2")
    );
    assert!(run("bpe", "300", text(&file(dir.path(), "else.jsonl", "{\"a\":1}\n"))).contains("else.jsonl:1"));
    assert!(run("bpe", "300", text(&dir.path().join("missing.csv"))).contains("missing.csv"));
    std::fs::write(dir.path().join("latin.txt"), b"fine\ncaf\xe9\n").unwrap();
    assert!(run("bpe", "300", text(&dir.path().join("latin.txt"))).contains("latin.txt:2"));
    let symbol =
        ["train-tokenizer", "--kind", "unigram", "--vocab-size", "400", "--symbol", "a b", "--out", text(&out)];
    assert!(fails(&symbol.into_iter().chain([data.as_str()]).collect::<Vec<_>>()).contains("\"a b\""));
    assert!(!out.exists(), "a refused training leaves no folder");

    std::fs::create_dir(&out).unwrap();
    file(&out, "tokenizer.json", "mine");
    assert!(run("bpe", "300", &data).contains("already exists"));
    assert_eq!(std::fs::read_to_string(out.join("tokenizer.json")).unwrap(), "mine");
}
