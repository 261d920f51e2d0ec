//! Text files that describe models and data: adapter_config.json, tokenizer files, rows, configurations.

use super::{Limit, hold};
use detox_lab::error::{Error, Result};
use detox_lab::io::Memory;
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::checkpoint::weights;
use detox_lab::lab::replay::parse_rows;
use detox_lab::lab::run::RunConfig;
use detox_lab::model::config::T5Config;
use detox_lab::model::roberta::RobertaConfig;
use detox_lab::ppo::batch::Batch;
use detox_lab::settings::PpoConfig;
use detox_lab::text::dialogue::{self, Dialogue};
use detox_lab::text::labelled::LabelledFile;
use detox_lab::text::texts::texts;
use detox_lab::text::tokenizer::Tokenizer;
use std::collections::BTreeMap;

/// JSON as a tree of values, which temporarily exists twice.
const JSON: Limit = Limit { constant: 1 << 20, factor: 256 };
/// Compiled patterns, of limited number and size (`io::adapter_config`).
const PATTERNS: Limit = Limit { constant: 32 << 20, factor: 256 };
/// A vocabulary becomes hash maps and a trie with a map for each letter.
const TOKENIZER: Limit = Limit { constant: 16 << 20, factor: 2048 };
/// A row of a few bytes is a struct of texts.
const ROWS: Limit = Limit { constant: 1 << 20, factor: 128 };

/// Any bytes as an adapter's configuration; an accepted one is used for the modules of a small T5.
pub fn adapter(input: &[u8]) {
    let name = "adapter_config.json";
    let modules: Vec<String> = ["encoder", "decoder"]
        .iter()
        .flat_map(|side| (0..3).map(move |block| format!("{side}.block.{block}.layer.0.SelfAttention.q")))
        .chain(["lm_head".to_string()])
        .collect();
    let names: Vec<&str> = modules.iter().map(String::as_str).collect();
    let config = hold(name, input.len(), PATTERNS, || {
        let config = AdapterConfig::parse(input, name)?;
        for module in &names {
            let rank = config.rank_for(module);
            assert!((1..=1 << 20).contains(&rank), "rank {rank}");
            config.targets(module);
            config.scale_for(module);
        }
        Ok(config)
    });
    let Some(config) = config else { return };
    hold(name, input.len(), PATTERNS, || config.check_supported());
    hold(name, input.len(), PATTERNS, || config.check_targets(&names));
    let again = AdapterConfig::parse(config.to_json().as_bytes(), name).unwrap();
    assert_eq!(again.to_json(), config.to_json());
}

/// Texts for an accepted tokenizer.
const TEXTS: [&str; 6] =
    ["", " ", "#Person1#: Hi , it's 5 o'clock …", "\u{fdfa}\u{1f600}e\u{301}\u{200b}", "a\0b\n\t</s><pad>", "    ab  "];

/// Any bytes as `tokenizer.json`, or (first byte odd) as `vocab.json`, a zero byte and `merges.txt`.
pub fn tokenizer(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let len = bytes.len() + TEXTS.concat().len();
    let name = if kind % 2 == 0 { "m/tokenizer.json" } else { "m/" };
    hold(name, len, TOKENIZER, || {
        let tokenizer = if kind % 2 == 0 {
            Tokenizer::from_json(name, bytes)?
        } else {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            Tokenizer::from_vocab_and_merges("m", &bytes[..end], bytes.get(end + 1..).unwrap_or_default())?
        };
        for text in TEXTS {
            // an error about a text, which names no file
            let Ok(ids) = tokenizer.encode(text) else { continue };
            let _ = tokenizer.encode_truncated(text, 3);
            let _ = tokenizer.decode(&ids, true);
            let mut stream = tokenizer.stream(true);
            let _: Result<String> = ids.iter().map(|id| stream.push(*id)).collect();
            let _ = stream.finish();
            tokenizer.pieces(&ids);
        }
        let _ = tokenizer.decode(&[0, 1, 2, 3, u32::MAX], false);
        Ok(())
    });
}

/// Any bytes as rows; the first byte chooses the kind.
pub fn rows(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let len = bytes.len();
    match kind % 7 {
        0 => dialogues("train.jsonl", bytes),
        1 => dialogues("train.csv", bytes),
        2 => drop(hold("data/some.csv", len, ROWS, || LabelledFile::parse("data/some.csv", bytes))),
        kind @ 3..=5 => {
            let name = ["some.jsonl", "some.csv", "some.txt"][usize::from(kind) - 3];
            let found = hold(name, len, ROWS, || texts(name, bytes));
            assert!(found.is_none_or(|texts| !texts.is_empty()));
        }
        _ => {
            let Some(rows) = hold("rows.jsonl", len, ROWS, || parse_rows("rows.jsonl", bytes)) else { return };
            let config = PpoConfig { batch_size: rows.len(), ..PpoConfig::default() };
            // as the command line does with an error about a row
            let batch = hold("rows.jsonl", len, Limit { constant: 1 << 30, factor: 128 }, || {
                Batch::new(&rows, &config).map_err(|e| in_file(e, "rows.jsonl"))
            });
            if let Some(batch) = batch {
                assert_eq!((batch.len(), batch.mask.rows), (rows.len(), rows.len()));
            }
        }
    }
}

fn dialogues(name: &str, bytes: &[u8]) {
    let rows = hold(name, bytes.len(), ROWS, || dialogue::parse(name, bytes));
    let complete = |row: &Dialogue| !row.id.is_empty() && !row.dialogue.is_empty() && row.summary == row.references[0];
    assert!(rows.is_none_or(|rows| !rows.is_empty() && rows.iter().all(complete)));
}

/// Any bytes as a configuration; the first byte chooses the kind.
pub fn configs(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let len = bytes.len();
    let folder = |name: &str| Memory::new("runs/1", BTreeMap::from([(name.to_string(), bytes.to_vec())]));
    match kind % 5 {
        0 => {
            let settings = hold("settings.json", len, JSON, || {
                let json = serde_json::from_slice(bytes).map_err(|e| Error::file("settings.json", e, "write JSON"))?;
                PpoConfig::from_json(PpoConfig::default(), &json).map_err(|e| in_file(e, "settings.json"))
            });
            if let Some(settings) = settings {
                settings.validate().unwrap();
                assert!(settings.rows_per_update() <= settings.batch_size);
            }
        }
        1 => {
            let run = hold("runs/1/config.json", len, JSON, || RunConfig::read(&folder("config.json")));
            if let Some(run) = run {
                run.ppo.validate().unwrap();
            }
        }
        2 => {
            let config = hold("config.json", len, JSON, || T5Config::from_json("config.json", bytes));
            if let Some(config) = config {
                assert!(config.inner() > 0 && config.decoder_layers() > 0);
            }
        }
        3 => {
            let config = hold("config.json", len, JSON, || {
                let text = String::from_utf8_lossy(bytes);
                RobertaConfig::from_json(&text).map_err(|e| in_file(e, "config.json"))
            });
            if let Some(config) = config {
                assert!(config.limit() > 0 && config.parameter_count() > 0);
            }
        }
        _ => {
            let name = "model.safetensors.index.json";
            let map = hold(name, len, JSON, || weights::weight_map(&folder(name), name));
            for file in map.unwrap_or_default().values() {
                assert!(!file.contains("..") || !file.split('/').any(|part| part == ".."), "{file}");
            }
        }
    }
}

/// An error about settings or rows, with the file's name as the command line adds it.
fn in_file(error: Error, name: &str) -> Error {
    match error {
        Error::Input { what, hint } => Error::file(name, what, hint),
        Error::NotFinite { what, hint, .. } => Error::file(name, format!("{what} is not finite"), hint),
        Error::Shape { tensor, hint, .. } => Error::file(name, tensor, hint),
        other => other,
    }
}
