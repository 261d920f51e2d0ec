//! A model in one GGUF file, read like a Hugging Face folder: tensors have transformers' names, and `config.json` and
//! `tokenizer.json` come from the file's metadata. Files from `detox-lab quantize` contain both as text; for T5 files from
//! llama.cpp they are made from its keys; files from candle have no metadata, so that both must be in the file's folder.

use super::gguf::GgufHeader;
use crate::error::{Error, Result};
use crate::io::{ByteSource, Lasting, ReadSeek};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Cursor;

/// The weights' name in the folder.
pub const WEIGHTS: &str = "model.gguf";
/// The metadata that holds config.json.
pub const CONFIG: &str = "detox_lab.config";
/// The metadata that holds tokenizer.json, as the GGUF specification names it.
pub const TOKENIZER: &str = "tokenizer.huggingface.json";

/// Names of T5's tensors in llama.cpp and in transformers, without `enc.blk.N.` and `encoder.block.N.`. The encoder has no
/// cross-attention.
const IN_BLOCKS: [(&str, &str); 11] = [
    ("attn_norm", "layer.0.layer_norm"),
    ("attn_q", "layer.0.SelfAttention.q"),
    ("attn_k", "layer.0.SelfAttention.k"),
    ("attn_v", "layer.0.SelfAttention.v"),
    ("attn_o", "layer.0.SelfAttention.o"),
    ("attn_rel_b", "layer.0.SelfAttention.relative_attention_bias"),
    ("cross_attn_norm", "layer.1.layer_norm"),
    ("cross_attn_q", "layer.1.EncDecAttention.q"),
    ("cross_attn_k", "layer.1.EncDecAttention.k"),
    ("cross_attn_v", "layer.1.EncDecAttention.v"),
    ("cross_attn_o", "layer.1.EncDecAttention.o"),
];
/// The same for the feed-forward layer, which is a block's last layer: number 1 in the encoder, 2 in the decoder.
const FEED_FORWARD: [(&str, &str); 5] = [
    ("ffn_norm", "layer_norm"),
    ("ffn_gate", "DenseReluDense.wi_0"),
    ("ffn_up", "DenseReluDense.wi_1"),
    ("ffn_up", "DenseReluDense.wi"),
    ("ffn_down", "DenseReluDense.wo"),
];
const OUTSIDE: [(&str, &str); 4] = [
    ("token_embd", "shared"),
    ("output", "lm_head"),
    ("enc.output_norm", "encoder.final_layer_norm"),
    ("dec.output_norm", "decoder.final_layer_norm"),
];

/// llama.cpp's name of a T5 tensor; other names are unchanged.
pub fn llama_name(name: &str) -> String {
    let Some(stem) = name.strip_suffix(".weight") else { return name.into() };
    if let Some((theirs, _)) = OUTSIDE.iter().find(|(_, ours)| *ours == stem) {
        return format!("{theirs}.weight");
    }
    let block = |stack: &str, short: &str, last: usize| {
        let (number, rest) = stem.strip_prefix(stack)?.strip_prefix(".block.")?.split_once('.')?;
        let last = format!("layer.{last}.");
        let fed = rest.strip_prefix(&last).and_then(|rest| FEED_FORWARD.iter().find(|(_, ours)| *ours == rest));
        let theirs = fed.or_else(|| IN_BLOCKS.iter().find(|(_, ours)| *ours == rest))?.0;
        Some(format!("{short}.blk.{number}.{theirs}.weight"))
    };
    block("encoder", "enc", 1).or_else(|| block("decoder", "dec", 2)).unwrap_or_else(|| name.into())
}

/// transformers' name of a T5 tensor in llama.cpp; other names are unchanged. `gated`: the feed-forward layers are gated.
fn own_name(name: &str, gated: bool) -> String {
    let Some(stem) = name.strip_suffix(".weight") else { return name.into() };
    if let Some((_, ours)) = OUTSIDE.iter().find(|(theirs, _)| *theirs == stem) {
        return format!("{ours}.weight");
    }
    let block = |stack: &str, short: &str, last: usize| {
        let (number, rest) = stem.strip_prefix(short)?.strip_prefix(".blk.")?.split_once('.')?;
        let ours = if let Some((_, ours)) = IN_BLOCKS.iter().find(|(theirs, _)| *theirs == rest) {
            ours.to_string()
        } else {
            let is = |(theirs, ours): &&(&str, &str)| {
                *theirs == rest && (*ours == "DenseReluDense.wi") == (rest == "ffn_up" && !gated)
            };
            format!("layer.{last}.{}", FEED_FORWARD.iter().find(is)?.1)
        };
        Some(format!("{stack}.block.{number}.{ours}.weight"))
    };
    block("encoder", "enc", 1).or_else(|| block("decoder", "dec", 2)).unwrap_or_else(|| name.into())
}

impl GgufHeader {
    /// Renames llama.cpp's T5 tensors to transformers' names.
    pub(super) fn own_names(&mut self) {
        let gated = self.described().any(|d| d.name.ends_with("ffn_gate.weight"));
        self.rename(|name| own_name(name, gated));
    }
}

/// A GGUF file as the folder of a model.
pub struct GgufModel<'a> {
    source: Box<dyn ByteSource + 'a>,
    file: String,
    /// Files that are made from the metadata.
    made: BTreeMap<&'static str, Vec<u8>>,
}

impl<'a> GgufModel<'a> {
    /// Reads the metadata of `file` in a folder.
    ///
    /// # Errors
    /// A file that is damaged, or of a model that is neither a T5 nor our own RoBERTa.
    pub fn open(source: Box<dyn ByteSource + 'a>, file: String) -> Result<Self> {
        let path = source.path(&file);
        let mut header = GgufHeader::read(&mut *source.open(&file)?, &path)?;
        header.own_names();
        let text = |key: &str| header.metadata.get(key).and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
        let mut made = BTreeMap::new();
        if let Some(config) = text(CONFIG) {
            made.insert("config.json", config);
        } else if !source.has("config.json") {
            made.insert(
                "config.json",
                t5_config(&header).map_err(|what| {
                    Error::file(&path, what, "give a T5's GGUF file, or put the config.json of its model beside it")
                })?,
            );
        }
        let tokenizer = text(TOKENIZER).or_else(|| unigram(&header.metadata));
        if let Some(tokenizer) = tokenizer.filter(|_| made.contains_key("config.json")) {
            made.insert("tokenizer.json", tokenizer);
        }
        Ok(Self { source, file, made })
    }

    /// The name of a file in the folder.
    fn real<'f>(&'f self, file: &'f str) -> &'f str {
        if file == WEIGHTS { &self.file } else { file }
    }
}

impl ByteSource for GgufModel<'_> {
    fn name(&self) -> String {
        self.source.path(&self.file)
    }

    fn has(&self, file: &str) -> bool {
        // other weights in the folder belong to another model
        let beside = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
        file == WEIGHTS
            || self.made.contains_key(file)
            || (!self.made.contains_key("config.json") && beside.contains(&file) && self.source.has(file))
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        match self.made.get(file) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes.as_slice()))),
            None => self.source.open(self.real(file)),
        }
    }

    fn open_to_last(&self, file: &str) -> Result<Option<Box<dyn Lasting>>> {
        self.source.open_to_last(self.real(file))
    }

    fn path(&self, file: &str) -> String {
        if self.made.contains_key(file) {
            format!("{} ({file} in its metadata)", self.name())
        } else {
            self.source.path(self.real(file))
        }
    }
}

/// A T5's config.json from llama.cpp's keys.
fn t5_config(header: &GgufHeader) -> std::result::Result<Vec<u8>, String> {
    let metadata = &header.metadata;
    let architecture = metadata.get("general.architecture").and_then(Value::as_str).unwrap_or("not named");
    if architecture != "t5" {
        return Err(format!("a GGUF file whose architecture is {architecture}, not t5"));
    }
    let number = |key: &str| metadata.get(&format!("t5.{key}")).filter(|value| value.is_number());
    let needed = |key: &str| number(key).cloned().ok_or_else(|| format!("its metadata has no t5.{key}"));
    let rows = |name: &str| header.described().find(|d| d.name == name).map(|d| d.shape[0]);
    let token = |key: &str, usual: u32| {
        metadata.get(&format!("tokenizer.ggml.{key}_token_id")).cloned().unwrap_or(json!(usual))
    };
    let gated = header.described().any(|d| d.name.ends_with("wi_0.weight"));
    let blocks = needed("block_count")?;
    let config = json!({
        "model_type": "t5",
        "d_model": needed("embedding_length")?,
        "d_ff": needed("feed_forward_length")?,
        "d_kv": needed("attention.key_length")?,
        "num_heads": needed("attention.head_count")?,
        "num_layers": blocks,
        "num_decoder_layers": number("decoder_block_count").cloned().unwrap_or(blocks.clone()),
        "relative_attention_num_buckets": needed("attention.relative_buckets_count")?,
        "layer_norm_epsilon": number("attention.layer_norm_rms_epsilon").cloned().unwrap_or(json!(1e-6)),
        "feed_forward_proj": if gated { "gated-gelu" } else { "relu" },
        "tie_word_embeddings": rows("lm_head.weight").is_none(),
        "vocab_size": rows("shared.weight").ok_or("it has no tensor token_embd.weight")?,
        "decoder_start_token_id": number("decoder_start_token_id").cloned().unwrap_or(json!(0)),
        "eos_token_id": token("eos", 1),
        "pad_token_id": token("padding", 0),
    });
    Ok(format!("{config:#}\n").into_bytes())
}

/// The tokenizer.json of a SentencePiece Unigram model from llama.cpp's keys; none if they are missing.
fn unigram(metadata: &Map<String, Value>) -> Option<Vec<u8>> {
    let array = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}")).and_then(Value::as_array);
    let (tokens, scores) = (array("tokens")?, array("scores")?);
    let kinds = array("token_type");
    let special =
        |id: &usize| kinds.and_then(|kinds| kinds.get(*id)?.as_i64()).is_some_and(|kind| [2, 3, 4].contains(&kind));
    let added = (0..tokens.len()).filter(special).map(|id| {
        json!({"id": id, "content": tokens[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    });
    let bytes = array("precompiled_charsmap")
        .map(|map| map.iter().filter_map(|b| Some(b.as_i64()? as u8)).collect::<Vec<u8>>());
    let mut normalizers: Vec<Value> = bytes
        .iter()
        .map(|bytes| json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(bytes)}))
        .collect();
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
    let end = metadata.get("tokenizer.ggml.eos_token_id").and_then(Value::as_u64).unwrap_or(1);
    let name = tokens.get(end as usize)?;
    let sequence = json!({"Sequence": {"id": "A", "type_id": 0}});
    let last = json!({"SpecialToken": {"id": name, "type_id": 0}});
    let unknown = metadata.get("tokenizer.ggml.unknown_token_id").and_then(Value::as_u64).unwrap_or(2);
    let json = json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing", "single": [sequence, last], "pair": [sequence, last],
            "special_tokens": {name.as_str()?: {"id": name, "ids": [end], "tokens": [name]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": tokens.iter().zip(scores).collect::<Vec<_>>()},
    });
    Some(json.to_string().into_bytes())
}
