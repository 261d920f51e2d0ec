//! The files of a model's Hugging Face folder, by name: configuration, weights in f32 or f16, T5's generation settings, and the
//! unchanged tokenizer files. transformers' `from_pretrained` loads the same model from them.

use super::ByteSource;
use super::checkpoint::safetensors;
use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The number type that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    F32,
    /// Half the size; for the tiny models.
    F16,
}

/// The possible files of a tokenizer in a Hugging Face folder.
const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "vocab.json",
    "merges.txt",
];

/// The tokenizer's files in a folder; none if there is no tokenizer.
pub fn tokenizer_files(source: &dyn ByteSource) -> Result<BTreeMap<String, Vec<u8>>> {
    let there = TOKENIZER_FILES.into_iter().filter(|file| source.has(file));
    there.map(|file| Ok((file.to_string(), source.read(file)?))).collect()
}

/// The files of a T5 or RoBERTa classifier: `config`, completed with keys that transformers needs (`architectures`,
/// `torch_dtype`, T5's token ids), and all `tensors` by their checkpoint names.
///
/// # Errors
/// A config without a known `model_type`; a weight that is NaN, infinite or too large for the number type, by name.
pub fn to_files(
    config: &Value,
    tensors: &BTreeMap<String, Tensor>,
    stored: Stored,
    tokenizer: BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = tokenizer;
    let config = completed(config, stored)?;
    if config["model_type"] != "roberta" {
        files.insert("generation_config.json".into(), pretty(&generation_config(&config)));
    }
    files.insert("config.json".into(), pretty(&Value::Object(config)));
    let weights = tensors.iter().map(|(name, t)| Ok((name.clone(), converted(name, t, stored)?)));
    let weights = weights.collect::<Result<BTreeMap<_, _>>>()?;
    files.insert("model.safetensors".into(), safetensors::to_bytes(&weights)?);
    Ok(files)
}

/// The configuration with the keys that transformers needs.
fn completed(config: &Value, stored: Stored) -> Result<Map<String, Value>> {
    let mut config = config.as_object().cloned().unwrap_or_default();
    let mut default = |key: &str, value: Value| {
        let slot = config.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
        slot.clone()
    };
    match default("model_type", Value::Null).as_str() {
        Some(kind @ ("t5" | "mt5")) => {
            default("architectures", json!([format!("{}ForConditionalGeneration", kind.to_uppercase())]));
            default("is_encoder_decoder", json!(true));
            for (key, id) in [("pad_token_id", 0), ("eos_token_id", 1), ("decoder_start_token_id", 0)] {
                default(key, json!(id));
            }
        }
        Some("roberta") => drop(default("architectures", json!(["RobertaForSequenceClassification"]))),
        other => {
            let what = format!("config.json's model_type is {}", other.unwrap_or("missing"));
            return Err(Error::input(what, "set it to t5 or roberta, as transformers writes it"));
        }
    }
    let dtype = if stored == Stored::F16 { "float16" } else { "float32" };
    config.insert("torch_dtype".into(), json!(dtype));
    if let Some(newer) = config.get_mut("dtype") {
        *newer = json!(dtype); // the name in transformers 5
    }
    Ok(config)
}

/// The settings for transformers' `generate`.
fn generation_config(config: &Map<String, Value>) -> Value {
    let mut generation = Map::new();
    for key in ["decoder_start_token_id", "eos_token_id", "pad_token_id"] {
        generation.insert(key.into(), config[key].clone());
    }
    Value::Object(generation)
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn converted(name: &str, tensor: &Tensor, stored: Stored) -> Result<Tensor> {
    let dtype = if stored == Stored::F16 { DType::F16 } else { DType::F32 };
    let tensor = tensor.to_dtype(dtype)?.contiguous()?;
    if !tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?.iter().all(|x| x.is_finite()) {
        let hint = "train with a lower learning rate; if the numbers are large but finite, save as f32";
        return Err(Error::not_finite(format!("a weight of {name} in {dtype:?}"), hint));
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::io::Memory;
    use crate::io::checkpoint::weights;
    use candle_core::Device;

    fn tensors(numbers: &[f32]) -> BTreeMap<String, Tensor> {
        let tensor = Tensor::from_slice(numbers, (1, numbers.len()), &Device::Cpu).unwrap();
        BTreeMap::from([("shared.weight".to_string(), tensor)])
    }

    #[test]
    fn missing_keys_are_added_and_others_are_unchanged() {
        let config =
            json!({"model_type": "t5", "d_model": 3, "eos_token_id": 7, "architectures": ["Mine"], "odd": [1]});
        let tokenizer = BTreeMap::from([("tokenizer.json".to_string(), b"{}".to_vec())]);
        let files = to_files(&config, &tensors(&[0.5, -1.0, 3.0]), Stored::F16, tokenizer).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]);
        let folder = Memory::new("model", files);
        let written = folder.read_json("config.json").unwrap();
        for (key, value) in config.as_object().unwrap() {
            assert_eq!(&written[key], value, "{key}");
        }
        assert_eq!((&written["torch_dtype"], &written["pad_token_id"]), (&json!("float16"), &json!(0)));
        let generation = json!({"decoder_start_token_id": 0, "eos_token_id": 7, "pad_token_id": 0});
        assert_eq!(folder.read_json("generation_config.json").unwrap(), generation);
        let weights = weights::load(&folder).unwrap();
        assert_eq!(weights["shared.weight"].to_vec2::<f32>().unwrap(), [[0.5, -1.0, 3.0]]);
        let header = String::from_utf8_lossy(&folder.files["model.safetensors"][8..80]).into_owned();
        assert!(header.contains(r#""format":"pt""#), "{header}");
        assert_eq!(tokenizer_files(&folder).unwrap().len(), 1);
    }

    #[test]
    fn weights_that_cannot_be_stored_are_named() {
        let config = json!({"model_type": "roberta"});
        let save = |numbers: &[f32], stored| to_files(&config, &tensors(numbers), stored, BTreeMap::new());
        assert!(save(&[1e5], Stored::F32).is_ok());
        for error in [save(&[1e5], Stored::F16), save(&[f32::NAN], Stored::F32)] {
            assert!(error.unwrap_err().to_string().contains("shared.weight"));
        }
        let unknown = to_files(&json!({"model_type": "bert"}), &tensors(&[1.0]), Stored::F32, BTreeMap::new());
        assert!(unknown.unwrap_err().to_string().contains("bert"));
        assert!(to_files(&json!(3), &tensors(&[1.0]), Stored::F32, BTreeMap::new()).is_err());
    }
}
