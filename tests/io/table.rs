//! Tables that stay in their file: rows read from it equal the loaded ones, a model that uses it gives the same numbers as one
//! in memory, and changed files are detected. The output head, as transformers 4 and 5 save it.

use crate::support;
use crate::support::{fixtures, flat};
use candle_core::Tensor;
use detox_lab::finetuning::fresh;
use detox_lab::io::checkpoint::weights::{Checkpoint, Described, load};
use detox_lab::io::disk::{self, Folder};
use detox_lab::io::pretrained::{Stored, to_files};
use detox_lab::io::{ByteSource, Memory};
use detox_lab::lab::head;
use detox_lab::lab::models::{Actor, Judge, Precision, RobertaConfig, T5Config};
use detox_lab::lab::responses::token_numbers;
use detox_lab::lab::sources::policy::PolicySource;
use detox_lab::lab::sources::reward::RewardSource;
use detox_lab::pace::{NonStop, block_on};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

fn folder(name: &str) -> Folder {
    Folder::open(fixtures().join(name)).unwrap()
}

fn open(source: &dyn ByteSource) -> Checkpoint<'_> {
    Checkpoint::open(Box::new(source)).unwrap()
}

fn describe(source: &dyn ByteSource) -> Vec<Described> {
    open(source).described().to_vec()
}

fn policy(source: &dyn ByteSource) -> PolicySource<'_> {
    PolicySource::open(Box::new(source)).unwrap()
}

const WORDS: &str = "roberta.embeddings.word_embeddings.weight";

#[test]
fn rows_in_the_file_equal_the_loaded_ones() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/models/tiny/reward"); // f16
    for (folder, name) in [
        (folder("t5_sharded"), "shared.weight"),
        (folder("t5_bf16"), "shared.weight"),
        (folder("tiny/policy"), "lm_head.weight"),
        (Folder::open(shipped).unwrap(), WORDS),
    ] {
        let loaded = load(&folder).unwrap()[name].to_vec2::<f32>().unwrap();
        let there = open(&folder).table(name).unwrap().unwrap();
        assert_eq!(there.dims(), (loaded.len(), loaded[0].len()));
        let last = loaded.len() as u32 - 1;
        for ids in [vec![last, 0, 7, last, 7], vec![], (0..=last).collect()] {
            let wanted: Vec<f32> = ids.iter().flat_map(|id| loaded[*id as usize].clone()).collect();
            assert_eq!(there.read(&ids).unwrap(), wanted, "{name}");
        }
    }
}

#[test]
fn tables_that_cannot_be_read_in_parts_do_not_stay_in_their_file() {
    for (folder, name) in [
        (folder("t5_bin"), "shared.weight"),                    // torch's file
        (folder("t5_sharded"), "no.such.weight"),               // not in the index
        (folder("t5_bf16"), "no.such.weight"),                  // not in the file
        (folder("t5_bf16"), "encoder.final_layer_norm.weight"), // not a matrix
    ] {
        assert!(open(&folder).table(name).unwrap().is_none(), "{name}");
    }
    let file = folder("t5_bf16").read("model.safetensors").unwrap();
    let memory = Memory::new("made-up", BTreeMap::from([("model.safetensors".to_string(), file)]));
    assert!(open(&memory).table("shared.weight").unwrap().is_none());
}

#[test]
fn a_file_in_use_may_be_removed_or_replaced_but_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let bytes = folder("t5_bf16").read("model.safetensors").unwrap();
    let opened = || {
        std::fs::write(&path, &bytes).unwrap();
        open(&Folder::open(dir.path()).unwrap()).table("shared.weight").unwrap().unwrap()
    };
    let rows = opened().read(&[3, 5]).unwrap();

    let there = opened();
    disk::write_atomic(&path, b"another file").unwrap(); // replaces the old one, which stays open
    assert_eq!(there.read(&[3, 5]).unwrap(), rows);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(there.read(&[3, 5]).unwrap(), rows);

    for shorter in [0, 100] {
        let there = opened();
        std::thread::sleep(std::time::Duration::from_millis(20)); // file systems' clocks are coarse
        std::fs::write(&path, &bytes[..bytes.len() - shorter]).unwrap();
        let message = there.read(&[3, 5]).unwrap_err().to_string();
        assert!(message.contains("model.safetensors: was changed while it was in use"), "{message}");
    }
}

/// The files of a T5 or RoBERTa whose vocabulary is large enough to stay in its file.
fn large(config: &serde_json::Value) -> BTreeMap<String, Vec<u8>> {
    let text = config.to_string();
    let tensors = if config["model_type"] == "t5" {
        fresh::t5(&T5Config::from_json("config.json", text.as_bytes()).unwrap(), 1).unwrap()
    } else {
        fresh::roberta(&RobertaConfig::from_json(&text).unwrap(), 2).unwrap()
    };
    to_files(config, &tensors.into_iter().collect(), Stored::F32, BTreeMap::new()).unwrap()
}

/// The same files on disk and in memory.
fn both(files: BTreeMap<String, Vec<u8>>) -> (tempfile::TempDir, Folder, Memory) {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    let on_disk = Folder::open(dir.path()).unwrap();
    (dir, on_disk, Memory::new("made-up", files))
}

#[test]
fn a_policy_computes_the_same_with_its_table_in_file_or_memory() {
    let config = |tied: bool| {
        json!({
            "model_type": "t5", "vocab_size": 33000, "d_model": 128, "d_kv": 16, "d_ff": 64, "num_layers": 1,
            "num_heads": 2, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": tied,
        })
    };
    let (_dir, on_disk, in_memory) = both(large(&config(false)));
    let (all, held) = (describe(&on_disk), policy(&on_disk).tensors_in_memory());
    let left: Vec<_> = all.iter().filter(|t| !held.contains(t)).map(|t| t.name.as_str()).collect();
    assert_eq!(left, ["shared.weight"]);
    assert_eq!(policy(&in_memory).tensors_in_memory(), all);
    let query = [32999, 3, 3, 17000, 1];
    for precision in Precision::ALL {
        let logprobs = |source: &dyn ByteSource| {
            let actor = Actor::load_as(source, precision, 0).unwrap();
            let numbers: usize = all.iter().map(|t| t.shape.iter().product::<usize>()).sum();
            assert_eq!(actor.policy.t5.parameters(), numbers);
            let message = token_numbers(&actor, None, &[33000], &[1]).err().unwrap().to_string();
            assert!(message.contains("vocabulary"), "{message}");
            token_numbers(&actor, None, &query, &[5, 31000, 1]).unwrap().logprobs
        };
        assert_eq!(logprobs(&on_disk), logprobs(&in_memory), "{precision:?}");
    }
    // the whole output matrix is needed for every token: if it is the table, nothing stays in the file
    let (_dir, on_disk, _) = both(large(&config(true)));
    assert_eq!(policy(&on_disk).tensors_in_memory(), describe(&on_disk));
}

#[test]
fn a_reward_model_computes_the_same_with_its_table_in_file_or_memory() {
    let config = json!({
        "model_type": "roberta", "vocab_size": 33000, "hidden_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 40, "type_vocab_size": 1,
        "layer_norm_eps": 1e-5, "hidden_act": "gelu", "id2label": {"0": "nothate", "1": "hate"},
    });
    let (_dir, on_disk, in_memory) = both(large(&config));
    assert_eq!(RewardSource::open(Box::new(&on_disk)).unwrap().tensors_in_memory().len() + 1, describe(&on_disk).len());
    let rows = [vec![0, 32999, 5, 2], vec![0, 7, 2]];
    for precision in Precision::ALL {
        let scores = |source: &dyn ByteSource| {
            let judge = Judge::load_as(source, precision).unwrap();
            let scored = block_on(judge.score_ids(&rows, false, &mut NonStop)).unwrap();
            scored.iter().map(|s| s.logits).collect::<Vec<_>>()
        };
        assert_eq!(scores(&on_disk), scores(&in_memory), "{precision:?}");
    }
    let judge = Judge::load(&on_disk).unwrap();
    assert!(block_on(judge.score_ids(&[vec![0, 33000, 2]], false, &mut NonStop)).is_err());
    assert!(flat(&load(&on_disk).unwrap()[WORDS]).iter().any(|x| *x != 0.0));
}

/// The log-probs of some tokens from the policy in a folder.
fn logprobs(source: &dyn ByteSource) -> Vec<f32> {
    let actor = Actor::load(source, 0).unwrap();
    token_numbers(&actor, None, &[5, 9, 2, 1], &[7, 3, 60, 1]).unwrap().logprobs
}

/// A fixture's tensors with a changed `config.json`; keys that are null are removed.
fn changed(name: &str, keys: &serde_json::Value, tensors: &BTreeMap<String, Tensor>) -> Memory {
    let mut config = folder(name).read_json("config.json").unwrap();
    let map = config.as_object_mut().unwrap();
    for (key, value) in keys.as_object().unwrap() {
        map.insert(key.clone(), value.clone());
    }
    map.retain(|_, value| !value.is_null());
    let mut files = to_files(&config, tensors, Stored::F32, BTreeMap::new()).unwrap();
    files.insert("config.json".into(), config.to_string().into_bytes());
    Memory::new("made-up", files)
}

#[test]
fn the_weights_decide_the_head_and_transformers_5_whether_it_is_scaled() {
    let close = |a: &[f32], b: &[f32]| assert!(support::max_abs_diff(a, b) < 1e-5, "{a:?} {b:?}");
    let of_5 = json!({"tie_word_embeddings": true, "scale_decoder_outputs": false, "transformers_version": "5.24.0"});
    // a separate head
    let own: BTreeMap<_, _> = load(&folder("t5_sharded")).unwrap().into_iter().collect();
    let plain = logprobs(&folder("t5_sharded"));
    let v5 = changed("t5_sharded", &of_5, &own);
    assert_eq!(logprobs(&v5), plain);
    let numbers = |source: &dyn ByteSource| Actor::load(source, 0).unwrap().policy.t5.parameters();
    assert_eq!(numbers(&v5), numbers(&folder("t5_sharded")));
    // mT5 has no such key, and transformers 5 never scales it
    let mt5 = json!({"model_type": "mt5", "tie_word_embeddings": true, "transformers_version": "5.24.0"});
    assert_eq!(logprobs(&changed("t5_sharded", &mt5, &own)), plain);
    // the embeddings, also if the file has a copy of them under the head's name
    let mut tied: BTreeMap<_, _> = load(&folder("t5_tied")).unwrap().into_iter().collect();
    let plain = logprobs(&folder("t5_tied"));
    tied.insert("lm_head.weight".into(), tied["shared.weight"].clone());
    for keys in [json!({}), json!({"tie_word_embeddings": true, "scale_decoder_outputs": true})] {
        let copy = changed("t5_tied", &keys, &tied);
        assert_eq!(logprobs(&copy), plain);
        assert_eq!(numbers(&copy), numbers(&folder("t5_tied")));
        let config = policy(&copy).config;
        assert!(config.tie_word_embeddings && config.scales());
        assert!(!policy(&copy).tensors_in_memory().iter().any(|d| d.name == "lm_head.weight"));
        assert!(Actor::trainable(&copy, 0).unwrap().1.iter().all(|(name, _)| name != "lm_head.weight"));
    }

    // each of the four forms is written so that transformers 4, which has only one key, loads the same
    for (keys, name, tensors) in [
        (of_5.clone(), "t5_sharded", own.clone()),
        (json!({"tie_word_embeddings": true, "scale_decoder_outputs": true}), "t5_sharded", own),
        (of_5, "t5_tied", tied.clone()),
        (json!({"dtype": "bfloat16", "torch_dtype": "float16"}), "t5_tied", tied),
    ] {
        let source = changed(name, &keys, &tensors);
        let policy = policy(&source);
        let tensors = policy.load_tensors().unwrap();
        let files = head::merged_files(&source, &policy.config, policy.json.clone(), tensors).unwrap();
        let mut written = Memory::new("written", files);
        let json = written.read_json("config.json").unwrap();
        let tied = json["tie_word_embeddings"].as_bool().unwrap();
        assert_eq!(tied, !describe(&written).iter().any(|d| d.name == "lm_head.weight"), "{keys}");
        assert!(json.get("scale_decoder_outputs").is_none_or(|scale| scale.as_bool() == Some(tied)), "{keys}");
        assert_eq!(json["torch_dtype"], "float32");
        assert_eq!(json.get("dtype"), keys.get("dtype").map(|_| &json["torch_dtype"]));
        close(&logprobs(&written), &logprobs(&source));
        let mut old = json;
        old.as_object_mut().unwrap().remove("scale_decoder_outputs");
        written.files.insert("config.json".into(), old.to_string().into_bytes());
        close(&logprobs(&written), &logprobs(&source));
    }
}
