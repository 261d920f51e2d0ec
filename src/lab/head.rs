//! A policy's output head, as its files hold it: the embeddings, or a matrix of its own. Everything that writes a policy's files
//! takes their form from [`saved_form`]; how the head is found when they are read: [`crate::lab::sources::policy`].

use crate::error::Result;
use crate::io::{ByteSource, pretrained};
use crate::model::config::T5Config;
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The name of an output head of its own.
pub const HEAD: &str = "lm_head.weight";
/// The embeddings, by the first of these names that a checkpoint has.
pub const EMBEDDINGS: [&str; 3] = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// Puts `tensors` and the `config.json` that goes with them into a form from which transformers 4 and 5 and we load the same
/// model: a tied head scales, one of its own does not.
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

/// The files of a policy that is merged: `json` is its `config.json`, which is changed to say what is stored; the other files
/// are those of the folder `source`.
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
