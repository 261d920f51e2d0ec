//! The keys of a T5 checkpoint's `config.json` that the arithmetic depends on.

use crate::encoding;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// T5's sizes and constants, with transformers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct T5Config {
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_kv: usize,
    pub d_ff: usize,
    /// Encoder blocks.
    pub num_layers: usize,
    /// Decoder blocks; if missing, as many as encoder blocks.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    pub num_heads: usize,
    #[serde(default = "buckets")]
    pub relative_attention_num_buckets: usize,
    #[serde(default = "max_distance")]
    pub relative_attention_max_distance: usize,
    #[serde(default = "dropout_rate")]
    pub dropout_rate: f32,
    #[serde(default = "epsilon")]
    pub layer_norm_epsilon: f32,
    /// Factor of the standard deviations of new weights.
    #[serde(default = "one")]
    pub initializer_factor: f64,
    #[serde(default = "feed_forward")]
    pub feed_forward_proj: String,
    /// Whether the embeddings are the output head.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Whether hidden states are scaled before the head. If missing (before transformers 5): if the embeddings are the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    #[serde(default)]
    pub pad_token_id: u32,
    #[serde(default = "eos")]
    pub eos_token_id: u32,
    #[serde(default)]
    pub decoder_start_token_id: u32,
}

fn buckets() -> usize {
    32
}
fn max_distance() -> usize {
    128
}
fn dropout_rate() -> f32 {
    0.1
}
fn epsilon() -> f32 {
    1e-6
}
fn one() -> f64 {
    1.0
}
fn feed_forward() -> String {
    "relu".into()
}
fn yes() -> bool {
    true
}
fn eos() -> u32 {
    1
}

/// Whether this `config.json` was written by transformers 5 or later.
fn of_transformers_5(config: &serde_json::Value) -> bool {
    let version = config.get("transformers_version").and_then(|v| v.as_str());
    version.and_then(|v| v.split('.').next()?.parse::<u32>().ok()).is_some_and(|major| major >= 5)
}

/// The kind of feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// `wo relu(wi x)`: T5 v1.0.
    Relu,
    /// `wo (gelu_new(wi_0 x) · wi_1 x)`: T5 v1.1 and FLAN-T5.
    GatedGelu,
}

impl T5Config {
    /// Reads a `config.json`; `file` is for messages.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let hint = "give the folder of a T5 or FLAN-T5 model (its config.json has d_model, d_kv, num_heads …)";
        let value: serde_json::Value =
            serde_json::from_slice(&encoding::json(json)).map_err(|e| Error::file(file, e, hint))?;
        let kind = value.get("model_type").and_then(|v| v.as_str()).unwrap_or("t5");
        if !["t5", "mt5"].contains(&kind) {
            return Err(Error::file(file, format!("model_type is {kind}, not t5"), hint));
        }
        let never_scales = kind == "mt5" && of_transformers_5(&value);
        let mut config: Self = serde_json::from_value(value).map_err(|e| Error::file(file, e, hint))?;
        if never_scales {
            config.scale_decoder_outputs = config.scale_decoder_outputs.or(Some(false));
        }
        config.feed_forward().map_err(|e| Error::file(file, e, hint))?;
        match config.fault() {
            Some(what) => Err(Error::file(file, what, hint)),
            None => Ok(config),
        }
    }

    /// The first number that is out of range.
    fn fault(&self) -> Option<String> {
        let buckets = self.relative_attention_num_buckets;
        let sizes = [
            ("vocab_size", self.vocab_size, 1, 1 << 24),
            ("d_model", self.d_model, 1, 1 << 18),
            ("d_kv", self.d_kv, 1, 1 << 12),
            ("d_ff", self.d_ff, 1, 1 << 20),
            ("num_layers", self.num_layers, 1, 1 << 10),
            ("num_decoder_layers", self.decoder_layers(), 1, 1 << 10),
            ("num_heads", self.num_heads, 1, 1 << 12),
            ("relative_attention_num_buckets", buckets, 4, 1 << 16),
            // the buckets after the exact ones are logarithmic up to this distance
            ("relative_attention_max_distance", self.relative_attention_max_distance, buckets / 2 + 1, 1 << 24),
        ];
        let wrong = sizes.into_iter().find(|(_, size, least, most)| !(least..=most).contains(&size));
        if let Some((name, size, least, most)) = wrong {
            return Some(format!("{name} is {size}, but must be from {least} to {most}"));
        }
        if !(0.0..1.0).contains(&self.dropout_rate) {
            return Some(format!("dropout_rate is {}, not from 0 to below 1", self.dropout_rate));
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon >= 0.0) {
            return Some(format!("layer_norm_epsilon is {}", self.layer_norm_epsilon));
        }
        None
    }

    /// A copy with a separate output head if `own`, else with the embeddings as the head.
    pub fn with_head(self, own: bool) -> Self {
        let scales = self.scales();
        let scale_decoder_outputs = (scales == own).then_some(scales);
        Self { tie_word_embeddings: !own, scale_decoder_outputs, ..self }
    }

    /// Whether hidden states are multiplied by [`Self::head_scale`] before the head.
    pub fn scales(&self) -> bool {
        self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings)
    }

    /// d_model^-½.
    pub fn head_scale(&self) -> f64 {
        (self.d_model as f64).powf(-0.5)
    }

    /// Decoder blocks.
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// Width of q, k and v: heads · d_kv, which may differ from d_model.
    pub fn inner(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// The feed-forward layer that `feed_forward_proj` names.
    pub fn feed_forward(&self) -> Result<FeedForward> {
        match self.feed_forward_proj.as_str() {
            "relu" => Ok(FeedForward::Relu),
            "gated-gelu" => Ok(FeedForward::GatedGelu),
            other => Err(Error::input(
                format!("feed_forward_proj is {other}"),
                "use a T5 with relu or a FLAN-T5 with gated-gelu",
            )),
        }
    }
}
