//! Token ids and decoded texts equal transformers' (golden.jsonl), streams equal decoding, errors of bad files say what to do.

use crate::support;
use detox_lab::text::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::Path;

fn load(folder: &Path) -> Tokenizer {
    let read = |name: &str| Ok(std::fs::read(folder.join(name)).ok());
    Tokenizer::from_files(&folder.display().to_string(), read).unwrap()
}

fn roberta_from_merges(folder: &Path) -> Tokenizer {
    let read = |name: &str| Ok(std::fs::read(folder.join(name)).ok().filter(|_| name != "tokenizer.json"));
    Tokenizer::from_files("roberta", read).unwrap()
}

fn golden(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("golden.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(row: &Value) -> Vec<u32> {
    row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
#[ignore = "needs ../shared/data"]
fn t5_equals_transformers() {
    let shared = support::shared_data();
    let folder = shared.join("flan-t5-tokenizer");
    let t5 = load(&folder);
    assert_eq!((t5.pad_id(), t5.eos_id(), t5.unk_id(), t5.vocab_size()), (0, 1, Some(2), 32100));
    let rows = golden(&folder);
    assert_eq!(rows.len(), 89);
    for row in &rows {
        let text = row["text"].as_str().unwrap();
        assert_eq!(t5.encode(text).unwrap(), ids(row), "{text:?}");
        assert_eq!(t5.decode(&ids(row), false).unwrap(), row["decode"].as_str().unwrap(), "{text:?}");
        assert_eq!(t5.decode(&ids(row), true).unwrap(), row["decode_skip_special"].as_str().unwrap(), "{text:?}");
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn roberta_equals_transformers_from_either_form() {
    let shared = support::shared_data();
    let folder = shared.join("roberta-tokenizer");
    let rows = golden(&folder);
    assert_eq!(rows.len(), 52);
    for roberta in [load(&folder), roberta_from_merges(&folder)] {
        assert_eq!((roberta.pad_id(), roberta.eos_id(), roberta.unk_id()), (1, 2, Some(3)));
        assert_eq!(roberta.vocab_size(), 50265);
        for row in &rows {
            let text = row["text"].as_str().unwrap();
            assert_eq!(roberta.encode(text).unwrap(), ids(row), "{text:?}");
        }
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn streams_join_to_the_decoded_text() {
    let shared = support::shared_data();
    for name in ["flan-t5-tokenizer", "roberta-tokenizer"] {
        let folder = shared.join(name);
        let tokenizer = load(&folder);
        for row in golden(&folder) {
            for skip_special in [true, false] {
                let mut stream = tokenizer.stream(skip_special);
                let mut text: String = ids(&row).into_iter().map(|id| stream.push(id).unwrap()).collect();
                text += &stream.finish().unwrap();
                assert_eq!(text, tokenizer.decode(&ids(&row), skip_special).unwrap());
            }
        }
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn a_stream_returns_words_early_but_no_text_that_may_change() {
    let shared = support::shared_data();
    let t5 = load(&shared.join("flan-t5-tokenizer"));
    let mut stream = t5.stream(true);
    // <pad> ▁Hello , ▁world ▁ . </s>: the space before the full stop must never be returned.
    let parts: Vec<String> = [0, 8774, 6, 296, 3, 5, 1].into_iter().map(|id| stream.push(id).unwrap()).collect();
    assert_eq!(parts, ["", "Hello", ",", " world", "", ".", ""]);
    assert_eq!(stream.finish().unwrap(), "");

    let roberta = load(&shared.join("roberta-tokenizer"));
    let smile = roberta.encode("😀").unwrap();
    assert!(smile.len() > 3, "the character must span tokens: {smile:?}");
    let mut stream = roberta.stream(true);
    let parts: Vec<String> = smile.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(parts.iter().filter(|p| !p.is_empty()).collect::<Vec<_>>(), ["😀"]);
}

#[test]
#[ignore = "needs ../shared/data"]
fn truncation_keeps_the_last_special_token() {
    let shared = support::shared_data();
    for (name, first, eos) in [("flan-t5-tokenizer", 8774, 1), ("roberta-tokenizer", 0, 2)] {
        let tokenizer = load(&shared.join(name));
        let text = "Hello, world! ".repeat(300);
        let whole = tokenizer.encode(&text).unwrap();
        let cut = tokenizer.encode_truncated(&text, 512).unwrap();
        assert_eq!((cut.len(), cut[0], cut[511]), (512, first, eos));
        assert_eq!(cut[..511], whole[..511]);
        assert_eq!(tokenizer.encode_truncated(&text, whole.len()).unwrap(), whole);
        assert_eq!(tokenizer.encode_truncated("Hello", 512).unwrap(), tokenizer.encode("Hello").unwrap());
        assert!(tokenizer.encode_truncated("Hello", 0).unwrap_err().to_string().contains("special tokens"));
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn pieces_join_to_the_text() {
    let shared = support::shared_data();
    let text = "#Person1#: Hello, world! It's fine.";
    for name in ["flan-t5-tokenizer", "roberta-tokenizer"] {
        let tokenizer = load(&shared.join(name));
        let pieces = tokenizer.pieces(&tokenizer.encode(text).unwrap());
        let plain: String = pieces.iter().filter(|p| !p.special).map(|p| p.text.as_str()).collect();
        assert_eq!(plain.trim_start(), text);
        assert!(pieces.last().unwrap().special);
        assert_eq!(tokenizer.pieces(&[99_999])[0].text, "<99999>");
    }
}

#[test]
fn bad_files_say_what_to_do() {
    let message = |json: &[u8]| Tokenizer::from_json("m/tokenizer.json", json).err().unwrap().to_string();
    for json in [&b""[..], b"{}", b"{\"version\": \"1.0\", \"model\":", b"version https://git-lfs.github.com/spec/v1"] {
        let text = message(json);
        assert!(text.contains("m/tokenizer.json") && text.contains("try: "), "{text}");
    }
    assert!(message(b"version https://git-lfs.github.com/spec/v1").contains("Git LFS pointer"));

    let none = Tokenizer::from_files("m", |_| Ok(None)).err().unwrap().to_string();
    assert!(none.contains("no tokenizer.json") && none.contains("hub"), "{none}");
    let vocab = br#"{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6}"#;
    let merges = Tokenizer::from_vocab_and_merges("m", vocab, b"#version: 0.2\na b\nab\n").err().unwrap().to_string();
    assert!(merges.contains("m/merges.txt:3"), "{merges}");
    let unknown = Tokenizer::from_vocab_and_merges("m", vocab, b"a c\n").err().unwrap().to_string();
    assert!(unknown.contains("m/merges.txt"), "{unknown}");
    let special = Tokenizer::from_vocab_and_merges("m", br#"{"a":0}"#, b"").err().unwrap().to_string();
    assert!(special.contains("no token </s>"), "{special}");
}
