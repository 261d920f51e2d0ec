//! A policy's output head, as its files hold it: the embeddings, or a matrix of its own. Every reader of a policy's folder
//! takes its configuration from [`config`] here, and every writer its files from [`saved_form`].
//!
//! transformers 4 says with `tie_word_embeddings` whether the head is the embeddings, and whether hidden states are scaled
//! before it. transformers 5 writes `tie_word_embeddings: true` for every T5, keeps a head of its own in `lm_head.weight`, and
//! says in `scale_decoder_outputs` whether hidden states are scaled. So the weights decide which head it is.

use crate::error::Result;
use crate::io::weights::{self, Described};
use crate::io::{ByteSource, pretrained};
use crate::model::config::T5Config;
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

const HEAD: &str = "lm_head.weight";
/// The embeddings, by the first of these names that a checkpoint has.
pub const TABLES: [&str; 3] = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// The configuration of the policy in a folder, with the head that its weights hold.
pub fn config(source: &dyn ByteSource) -> Result<T5Config> {
    let config = T5Config::from_json(&source.path("config.json"), &source.read("config.json")?)?;
    let own = !config.tie_word_embeddings || has_own(source)?;
    Ok(config.with_head(own))
}

/// Is there a head that is no copy of the embeddings?
fn has_own(source: &dyn ByteSource) -> Result<bool> {
    let described = weights::describe(source)?;
    let there = |name: &str| described.iter().any(|d| d.name == name);
    match TABLES.into_iter().find(|name| there(name)) {
        Some(table) if there(HEAD) => Ok(!weights::same(source, HEAD, table)?),
        _ => Ok(false),
    }
}

/// Is this tensor of the checkpoint a part of the model? A copy of the embeddings is none.
pub fn is_used(config: &T5Config, name: &str) -> bool {
    !(config.tie_word_embeddings && name == HEAD)
}

/// What the checkpoint of a policy says of the model's tensors.
pub fn describe(source: &dyn ByteSource, config: &T5Config) -> Result<Vec<Described>> {
    Ok(weights::describe(source)?.into_iter().filter(|d| is_used(config, &d.name)).collect())
}

/// The model's tensors.
pub fn load(source: &dyn ByteSource, config: &T5Config) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    weights::each(source, &|name| is_used(config, name), &mut |name, tensor| {
        tensors.insert(name, tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// Puts `tensors` and the `config.json` that goes with them into a form from which transformers 4 and 5 and we load the same
/// model: a tied head scales, one of its own does not.
pub fn saved_form(config: &T5Config, json: &mut Value, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let (tied, scaled) = (config.tie_word_embeddings, config.scales());
    if tied != scaled {
        let table = TABLES.into_iter().find_map(|name| tensors.get(name));
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

/// The files of a policy that is merged: `config.json` says what is stored, the other files are `source`'s.
pub fn merged_files(
    source: &dyn ByteSource,
    config: &T5Config,
    tensors: HashMap<String, Tensor>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut json = source.read_json("config.json")?;
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
