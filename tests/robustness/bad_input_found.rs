//! Bad input that once did harm, or would have, made here case by case: each is refused with a message that says what is wrong,
//! within the memory that `hostile` allows.

use crate::hostile;
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::checkpoint::pickle;
use detox_lab::io::{Memory, zip};
use detox_lab::lab::run::RunConfig;
use detox_lab::model::config::T5Config;
use detox_lab::ppo::batch::{Batch, Row};
use detox_lab::settings::PpoConfig;
use detox_lab::text::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The error of loading this `tokenizer.json`; also checks the rules of `hostile`.
fn refused(file: &Value) -> String {
    let bytes = file.to_string().into_bytes();
    hostile::tokenizer(&[b"\0", bytes.as_slice()].concat());
    Tokenizer::from_json("m/tokenizer.json", &bytes).err().unwrap().to_string()
}

/// A table of replaced characters: units by number, and texts.
fn charsmap(units: &[(usize, u32)], texts: &str) -> String {
    let mut trie = vec![0u32; 512];
    units.iter().for_each(|(at, unit)| trie[*at] = *unit);
    let trie: Vec<u8> = trie.into_iter().flat_map(u32::to_le_bytes).collect();
    base64(&[&(trie.len() as u32).to_le_bytes(), trie.as_slice(), texts.as_bytes()].concat())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |part: &[u8]| {
        let bits = part.iter().chain([&0; 2]).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let letter = |i: usize| LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
        (0..4).map(|i| if i <= part.len() { letter(i) as char } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(four).collect()
}

const ROOT: (usize, u32) = (0, 256 << 10);
const A: usize = 256 ^ 97;

#[test]
fn tables_of_characters_are_checked_before_they_are_used() {
    let with = |table: String| {
        let mut file = fixture("tiny/policy/tokenizer.json");
        file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": table});
        file
    };
    let sound = charsmap(&[ROOT, (A, 1 << 10 | 1 << 8 | 97), (A ^ 1, 0)], "b\0");
    let tokenizer = Tokenizer::from_json("m", with(sound).to_string().as_bytes()).unwrap();
    let plain = Tokenizer::from_json("m", fixture("tiny/policy/tokenizer.json").to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), plain.encode("b").unwrap());
    for (table, expected) in [
        ("not base64!".to_string(), "not base64"),
        (base64(b"\0"), "empty"),
        (base64(b"\0\0\0\0"), "trie is empty"),
        (base64(b"\xff\xff\xff\xff"), "longer than the table"),
        (charsmap(&[(0, 1 << 20)], ""), "points to unit 1024"),
        (charsmap(&[ROOT, (A, 1 << 20 | 97)], ""), "points to unit"),
        (charsmap(&[ROOT, (A, 1 << 10 | 1 << 8 | 97), (A ^ 1, 9)], "b\0"), "outside its texts"),
        (charsmap(&[ROOT, (A, 1 << 10 | 1 << 8 | 97), (A ^ 1, 1)], "é\0"), "into a character"),
        (charsmap(&[ROOT, (A, 1 << 10 | 1 << 8 | 97)], &"b".repeat(300)), "more than 256 bytes"),
        (base64(b"\x04\0\0\0\0\0\0\0\xff"), "not UTF-8"),
    ] {
        let message = refused(&with(table));
        assert!(message.contains("normalizer Precompiled") && message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn parts_of_tokenizers_that_would_panic_or_use_much_memory_are_refused() {
    let t5 = || fixture("tiny/policy/tokenizer.json");
    let roberta = || fixture("tiny/reward/tokenizer.json");
    let set = |mut file: Value, pointer: &str, value: Value| {
        *file.pointer_mut(pointer).unwrap() = value;
        file
    };
    let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let sequence = |part: Value, times: usize| json!({"type": "Sequence", "normalizers": vec![part; times]});
    let piece = json!({"SpecialToken": {"id": "</s>", "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let cases = [
        (set(t5(), "/decoder", json!(5)), "decoder: a part without a type"),
        (
            set(t5(), "/decoder", json!({"type": "Strip", "content": "a", "start": 0, "stop": 99})),
            "decoder Strip: not a part",
        ),
        (set(t5(), "/normalizer", json!([])), "normalizer: a part without a type"),
        (set(t5(), "/post_processor/single", json!([text("B"), piece])), "neither text A"),
        (set(t5(), "/post_processor/single", json!(vec![text("A"); 9])), "the text 9 times"),
        (set(t5(), "/post_processor/special_tokens", json!({})), "\"</s>\" is not described"),
        (set(t5(), "/post_processor/special_tokens/<~1s>/ids", json!([1, 2])), "2 ids and 1 tokens"),
        (set(t5(), "/model/type", json!("WordLevel")), "neither T5's Unigram nor RoBERTa's BPE"),
        (set(t5(), "/model/vocab", json!([["a", 0.0], ["b"]])), "piece 1"),
        (set(t5(), "/model/vocab/0", json!(["a".repeat(5000), 0.0])), "has 5000 bytes"),
        (set(roberta(), "/model/continuing_subword_prefix", json!("##")), "continuing_subword_prefix"),
        (set(roberta(), "/model/dropout", json!(0.1)), "dropout is set"),
        (set(t5(), "/normalizer", replace(json!({"Regex": "(?=a)b"}), "x")), "is not supported"),
        (set(t5(), "/normalizer", replace(json!({"Regex": " {0,}"}), "x")), "matches an empty text"),
        (
            set(
                t5(),
                "/pre_tokenizer",
                json!({"type": "Split", "pattern": {"Regex": "\\b"}, "behavior": "Isolated", "invert": false}),
            ),
            "matches an empty text",
        ),
        (set(t5(), "/normalizer", replace(json!({"Regex": "(a*)*+b"}), "x")), "repeats a repetition"),
        (set(t5(), "/normalizer", replace(json!({"Regex": "(\\w{99}){99}"}), "x")), "the pattern"),
        (set(t5(), "/normalizer", replace(json!({"String": ""}), "x")), "no pattern"),
        (set(t5(), "/normalizer", json!({"type": "Prepend", "prepend": ""})), "no text to prepend"),
        (set(t5(), "/normalizer", sequence(replace(json!({"String": "a"}), "aa"), 20)), "64 times longer"),
        (set(t5(), "/normalizer", sequence(json!({"type": "NFKC"}), 99)), "more than 32 parts"),
        (
            set(
                roberta(),
                "/pre_tokenizer",
                json!({"type": "Sequence", "pretokenizers": vec![roberta()["pre_tokenizer"].clone(); 9]}),
            ),
            "64 times longer",
        ),
    ];
    for (file, expected) in cases {
        let message = refused(&file);
        assert!(message.starts_with("m/tokenizer.json: ") && message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_repeated_key_is_read_as_it_was_checked() {
    let file = fixture("tiny/policy/tokenizer.json").to_string();
    let twice = file.replacen('{', "{\"decoder\": 5,", 1);
    hostile::tokenizer(&[b"\0", twice.as_bytes()].concat());
    assert!(Tokenizer::from_json("m", twice.as_bytes()).is_ok());
}

fn text(t: &str) -> Vec<u8> {
    [b"X".as_slice(), &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat()
}

#[test]
fn a_pickle_cannot_copy_one_text_a_thousand_times() {
    let long = "k".repeat(100_000);
    let key = [
        b"\x80\x02(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(&long),
        text("cpu"),
        b"K\x01tq\x01".to_vec(),
        b"h\x01Q".repeat(2000),
        b".".to_vec(),
    ]
    .concat();
    hostile::pickle(&key);
    assert!(pickle::tensors(&key).unwrap_err().contains("not described in torch's form"));

    let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x18tQK\x00)))tRq\x02";
    let names = [
        b"\x80\x02".to_vec(),
        text(&long),
        b"q\x01".to_vec(),
        tensor.to_vec(),
        b"}(".to_vec(),
        b"h\x01h\x02".repeat(3000),
        b"u.".to_vec(),
    ];
    let names = names.concat();
    hostile::pickle(&names);
    let found = pickle::tensors(&names).unwrap();
    assert_eq!((found.len(), found[0].0.len()), (1, long.len()), "as in Python, the last of equal keys counts");
}

#[test]
fn a_small_zip_cannot_become_a_large_folder() {
    let bomb = zip::pack(&BTreeMap::from([("config.json".to_string(), vec![0; 100 << 20])])).unwrap();
    assert!(bomb.len() < 200_000);
    hostile::zipped(&bomb);
    let message = zip::unpack(&bomb, "run.zip").unwrap_err().to_string();
    assert!(message.contains("unpack to more than"), "{message}");
    let zeros = BTreeMap::from([("fresh.safetensors".to_string(), vec![0; 8 << 20])]);
    assert_eq!(zip::unpack(&zip::pack(&zeros).unwrap(), "run.zip").unwrap(), zeros);
}

#[test]
fn short_patterns_that_compile_to_much_are_refused() {
    let many: serde_json::Map<String, Value> = (0..2000).map(|i| (format!("q{i}"), json!(4))).collect();
    for (config, expected) in [
        (json!({"target_modules": "(\\w{99}){99}"}), "target_modules"),
        (json!({"rank_pattern": {"\\pL{500}": 4}}), "rank_pattern"),
        (json!({"rank_pattern": many}), "2000 patterns"),
        (json!({"layers_to_transform": 1, "layers_pattern": vec!["\\w{300}"; 50]}), "layers_pattern"),
    ] {
        let bytes = config.to_string().into_bytes();
        hostile::adapter(&bytes);
        let message = AdapterConfig::parse(&bytes, "a/adapter_config.json").unwrap_err().to_string();
        assert!(message.starts_with("a/adapter_config.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn configurations_are_checked_when_they_are_read() {
    let run = |key: &str, value: u64| {
        let mut ppo = serde_json::to_value(PpoConfig::default()).unwrap();
        ppo[key] = value.into();
        let config = json!({"version": "0.1.0", "policy": "p", "adapter": null, "reward": "r", "data": "d", "steps": 1,
            "save_every": 1, "ppo": ppo});
        let files = BTreeMap::from([("config.json".to_string(), config.to_string().into_bytes())]);
        RunConfig::read(&Memory::new("runs/1", files))
    };
    run("batch_size", 16).unwrap();
    for (key, value) in [("mini_batch_size", 0), ("batch_size", u64::MAX >> 1), ("output_max_length", 1 << 40)] {
        let message = run(key, value).unwrap_err().to_string();
        assert!(message.starts_with("runs/1/config.json: ") && message.contains(key), "{message}");
    }
    let mut t5 = fixture("t5_tied/config.json");
    for (key, value) in [("num_layers", json!(1 << 24)), ("d_model", json!(0)), ("layer_norm_epsilon", json!(-1.0))] {
        let before = std::mem::replace(&mut t5[key], value);
        let message = T5Config::from_json("t5/config.json", t5.to_string().as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with("t5/config.json: ") && message.contains(key), "{message}");
        t5[key] = before;
    }
}

#[test]
fn one_long_response_does_not_need_a_grid_of_terabytes() {
    let row = |n: usize| Row { query_ids: vec![1], decoder_ids: vec![0; n], score: 0.0, generated: None };
    let rows: Vec<Row> = [row(100_000)].into_iter().chain(vec![row(2); 1000]).collect();
    let config = PpoConfig { batch_size: rows.len(), ..PpoConfig::default() };
    let message = Batch::new(&rows, &config).unwrap_err().to_string();
    assert!(message.contains("1001 rows with a response of 100000 ids"), "{message}");
}

#[test]
fn a_message_quotes_only_the_start_of_a_long_text() {
    let label = format!("text,label\na,{}\n", "é".repeat(1 << 20));
    hostile::rows(&[b"\x02", label.as_bytes()].concat());
}
