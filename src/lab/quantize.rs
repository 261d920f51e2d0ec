//! Writes models as GGUF files: a policy with llama.cpp's names and keys, a reward model with transformers' names. The file also
//! contains config.json and tokenizer.json, so that nothing else is needed to load the model.

use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::checkpoint::dtype::Dtype;
use crate::io::checkpoint::gguf::{fill_up, write_header};
use crate::io::checkpoint::gguf_model::{CONFIG, TOKENIZER, llama_name};
use crate::io::checkpoint::pieces::Piece;
use crate::io::checkpoint::weights::{Checkpoint, Described};
use crate::kernels::quantized::{BLOCK, BlockQ8_0, Compact};
use crate::lab::models::Precision;
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::lab::sources::tokenizer::tokenizer;
use crate::model::may_be_compact;
use half::f16;
use serde_json::{Map, Value, json};
use std::io::Write;

/// The number types in which matrices can be written.
pub const KINDS: [Precision; 3] = [Precision::Q8_0, Precision::F16, Precision::F32];

/// Writes the policy, its matrices in `precision`, as one GGUF file. `path` is for messages.
///
/// # Errors
/// Names file and tensor; a number that the type cannot hold.
pub fn policy(out: &mut dyn Write, policy: &PolicySource<'_>, precision: Precision, path: &str) -> Result<()> {
    let c = &policy.config;
    let mut metadata = metadata("t5", policy.source(), &policy.json.to_string(), precision)?;
    for (key, value) in [
        ("context_length", json!(512)),
        ("embedding_length", json!(c.d_model)),
        ("feed_forward_length", json!(c.d_ff)),
        ("block_count", json!(c.num_layers)),
        ("decoder_block_count", json!(c.decoder_layers())),
        ("attention.head_count", json!(c.num_heads)),
        ("attention.key_length", json!(c.d_kv)),
        ("attention.value_length", json!(c.d_kv)),
        ("attention.layer_norm_epsilon", json!(c.layer_norm_epsilon)),
        ("attention.layer_norm_rms_epsilon", json!(c.layer_norm_epsilon)),
        ("attention.relative_buckets_count", json!(c.relative_attention_num_buckets)),
        ("decoder_start_token_id", json!(c.decoder_start_token_id)),
    ] {
        metadata.insert(format!("t5.{key}"), value);
    }
    for (key, id) in [("eos", c.eos_token_id), ("padding", c.pad_token_id), ("unknown", 2)] {
        metadata.insert(format!("tokenizer.ggml.{key}_token_id"), json!(id));
    }
    write(out, policy.checkpoint(), policy.tensors(), &llama_name, metadata, precision, path)
}

/// Writes the reward model as one GGUF file; see [`policy`].
///
/// # Errors
/// As [`policy`].
pub fn reward(out: &mut dyn Write, reward: &RewardSource<'_>, precision: Precision, path: &str) -> Result<()> {
    let checkpoint = reward.checkpoint();
    let metadata = metadata("roberta", checkpoint.source(), reward.json(), precision)?;
    write(out, checkpoint, checkpoint.described().to_vec(), &str::to_string, metadata, precision, path)
}

/// The metadata of every file: its description, the configuration, and the tokenizer if there is one.
fn metadata(
    architecture: &str,
    source: &dyn ByteSource,
    config: &str,
    precision: Precision,
) -> Result<Map<String, Value>> {
    let file_type = match precision {
        Precision::Q8_0 => 7,
        Precision::F16 => 1,
        _ => 0,
    };
    let mut metadata = Map::new();
    metadata.insert("general.architecture".into(), json!(architecture));
    metadata.insert("general.name".into(), json!(source.name()));
    metadata.insert("general.file_type".into(), json!(file_type));
    metadata.insert("general.quantization_version".into(), json!(2));
    metadata.insert(CONFIG.into(), json!(config));
    if source.has("tokenizer.json") {
        let tokenizer = source.read_json("tokenizer.json")?;
        metadata.extend(sentencepiece(&tokenizer));
        metadata.insert(TOKENIZER.into(), json!(tokenizer.to_string()));
    } else if let Some(tokenizer) = tokenizer(source)? {
        metadata.insert(TOKENIZER.into(), json!(tokenizer.to_json()?)); // of vocab.json and merges.txt
    }
    Ok(metadata)
}

/// llama.cpp's keys of a Unigram vocabulary.
fn sentencepiece(tokenizer: &Value) -> Map<String, Value> {
    let mut keys = Map::new();
    let model = &tokenizer["model"];
    let Some(vocabulary) = model["vocab"].as_array().filter(|_| model["type"] == "Unigram") else { return keys };
    let mut put = |key: &str, value: Value| drop(keys.insert(format!("tokenizer.ggml.{key}"), value));
    let part = |at: usize| vocabulary.iter().map(|pair| pair[at].clone()).collect::<Vec<Value>>();
    let special: Vec<u64> =
        tokenizer["added_tokens"].as_array().into_iter().flatten().filter_map(|token| token["id"].as_u64()).collect();
    // llama.cpp's token types: 1 normal, 2 unknown, 3 control
    let kind = |id: u64| {
        if Some(id) == model["unk_id"].as_u64() {
            2
        } else if special.contains(&id) {
            3
        } else {
            1
        }
    };
    put("model", json!("t5"));
    put("pre", json!("default"));
    put("tokens", Value::Array(part(0)));
    put("scores", Value::Array(part(1).into_iter().map(|x| json!(x.as_f64().unwrap_or_default())).collect()));
    put("token_type", (0..vocabulary.len() as u64).map(kind).collect());
    put("add_space_prefix", json!(true));
    put("remove_extra_whitespaces", json!(true));
    put("add_bos_token", json!(false));
    put("add_eos_token", json!(true));
    let all = [&tokenizer["normalizer"]]
        .into_iter()
        .chain(tokenizer["normalizer"]["normalizers"].as_array().into_iter().flatten());
    let map = all.filter_map(|normalizer| normalizer["precompiled_charsmap"].as_str()).next();
    if let Some(bytes) = map.and_then(|map| base64::decode(map).ok()) {
        put("precompiled_charsmap", bytes.into_iter().map(Value::from).collect());
    }
    keys
}

/// Writes the tensors one after another, piece by piece. Tensors of whole numbers, such as old checkpoints' `position_ids`, are left
/// out: they are no parameters.
fn write(
    out: &mut dyn Write,
    checkpoint: &Checkpoint<'_>,
    mut tensors: Vec<Described>,
    renamed: &dyn Fn(&str) -> String,
    metadata: Map<String, Value>,
    precision: Precision,
    path: &str,
) -> Result<()> {
    let failed = |e: std::io::Error| Error::file(path, e, "check free space and permissions");
    tensors.retain(|d| d.dtype.is_float());
    let stored = |d: &Described| {
        let matrix = may_be_compact(&d.name, &d.shape);
        match precision {
            // a block of ggml cannot contain numbers of two rows
            Precision::Q8_0 if matrix && d.shape[1].is_multiple_of(BLOCK) => Dtype::Q8_0,
            Precision::F16 if matrix => Dtype::F16,
            _ => Dtype::F32,
        }
    };
    let of = |d: &Described| Described { name: renamed(&d.name), shape: d.shape.clone(), dtype: stored(d) };
    let planned: Vec<Described> = tensors.iter().map(of).collect();
    write_header(out, &metadata, &planned).map_err(failed)?;
    for (tensor, planned) in tensors.iter().zip(&planned) {
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let mut pieces = checkpoint.pieces(&tensor.name)?;
        let mut written = 0;
        while let Some(piece) = pieces.next(planned.dtype == Dtype::Q8_0)? {
            let bytes = match piece {
                Piece::Q8_0(blocks) => blocks,
                Piece::Numbers(numbers) => encoded(&numbers, cols, planned.dtype)
                    .map_err(|e| e.in_file(&format!("{path}: tensor {}", tensor.name)))?,
            };
            out.write_all(&bytes).map_err(failed)?;
            written += bytes.len();
        }
        fill_up(out, written).map_err(failed)?;
    }
    Ok(())
}

/// The bytes of whole rows in one of ggml's types.
fn encoded(numbers: &[f32], cols: usize, dtype: Dtype) -> Result<Vec<u8>> {
    if dtype == Dtype::Q8_0 {
        let held = Compact::of(numbers, numbers.len() / cols.max(1), cols, Precision::Q8_0)?;
        return Ok(held.blocks().into_iter().flatten().flat_map(BlockQ8_0::to_bytes).collect());
    }
    if dtype == Dtype::F16 {
        let halves: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
        if let Some(at) = halves.iter().position(|x| !x.is_finite()) {
            let hint = "use the type f32";
            return Err(Error::input(format!("f16 cannot hold its number {}", numbers[at]), hint));
        }
        return Ok(halves.into_iter().flat_map(f16::to_le_bytes).collect());
    }
    Ok(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
}
