//! How a policy's output head is saved: as the embeddings, or as a separate matrix. All code that saves a policy uses
//! [`saved_form`]; [`crate::lab::sources::policy`] finds the head in saved files.

use crate::error::Result;
use crate::io::{ByteSource, pretrained};
use crate::model::config::T5Config;
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The name of a separate output head.
pub const HEAD: &str = "lm_head.weight";
/// Names of the embeddings; a checkpoint's first one counts.
pub const EMBEDDINGS: [&str; 3] = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// Changes `tensors` and their `config.json` into a form that transformers 4, transformers 5 and detox-lab load as the same
/// model: hidden states are scaled for a tied head, and not for a separate one.
pub fn saved_form(config: &T5Config, json: &mut Value, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let (tied, scaled) = (config.tie_word_embeddings, config.scales());
    if tied != scaled {
        let table = EMBEDDINGS.into_iter().find_map(|name| tensors.get(name));
        let head = if tied { table } else { tensors.get(HEAD) };
        if let Some(head) = head {
            let factor = if scaled { config.head_scale() } else { 1.0 };
            let head = (head * factor)?;
            tensors.insert(HEAD.into(), head);
        }
    }
    if let Some(json) = json.as_object_mut() {
        let tied = tied && scaled;
        json.insert("tie_word_embeddings".into(), json!(tied));
        if json.contains_key("scale_decoder_outputs") {
            json.insert("scale_decoder_outputs".into(), json!(tied));
        }
    }
    Ok(())
}

/// The files of a merged policy. `json` is its `config.json`, changed to match the stored tensors; the other files are copied
/// from the folder `source`.
///
/// # Errors
/// Files that cannot be read, weights that cannot be stored.
pub fn merged_files(
    source: &dyn ByteSource,
    config: &T5Config,
    mut json: Value,
    tensors: HashMap<String, Tensor>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    if let Some(json) = json.as_object_mut() {
        json.entry("model_type").or_insert(json!("t5"));
    }
    let mut tensors = tensors.into_iter().collect();
    saved_form(config, &mut json, &mut tensors)?;
    let mut files =
        pretrained::to_files(&json, &tensors, pretrained::Stored::F32, pretrained::tokenizer_files(source)?)?;
    if source.has("generation_config.json") {
        files.insert("generation_config.json".into(), source.read("generation_config.json")?);
    }
    Ok(files)
}
