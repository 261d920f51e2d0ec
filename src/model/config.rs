//! A T5 checkpoint's `config.json`, as far as the arithmetic depends on it.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// T5's shape and constants, under transformers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct T5Config {
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_kv: usize,
    pub d_ff: usize,
    /// Encoder blocks.
    pub num_layers: usize,
    /// Decoder blocks; absent means as many as the encoder has.
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
    /// What fresh weights' deviations are multiplied by.
    #[serde(default = "one")]
    pub initializer_factor: f64,
    #[serde(default = "feed_forward")]
    pub feed_forward_proj: String,
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
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

/// The feed-forward layer's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// `wo relu(wi x)`: T5 v1.0.
    Relu,
    /// `wo (gelu_new(wi_0 x) · wi_1 x)`: T5 v1.1 and FLAN-T5.
    GatedGelu,
}

impl T5Config {
    /// Reads a `config.json`; `file` is its name for errors.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let hint = "give the folder of a T5 or FLAN-T5 model (its config.json has d_model, d_kv, num_heads …)";
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|e| Error::file(file, e, hint))?;
        if let Some(kind) = value.get("model_type").and_then(|v| v.as_str())
            && !["t5", "mt5"].contains(&kind)
        {
            return Err(Error::file(file, format!("model_type is {kind}, not t5"), hint));
        }
        let config: Self = serde_json::from_value(value).map_err(|e| Error::file(file, e, hint))?;
        config.feed_forward().map_err(|e| Error::file(file, e, hint))?;
        let sizes = [config.vocab_size, config.d_model, config.d_kv, config.d_ff, config.num_layers, config.num_heads];
        let most = 1 << 24;
        let bad = |n: usize| n == 0 || n > most;
        if sizes.into_iter().any(bad) || bad(config.decoder_layers()) || config.relative_attention_num_buckets < 4 {
            return Err(Error::file(file, "a size is zero or absurd", hint));
        }
        Ok(config)
    }

    /// Decoder blocks.
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// Width of q, k and v: heads · d_kv, which need not be d_model.
    pub fn inner(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// Which feed-forward layer `feed_forward_proj` names.
    pub fn feed_forward(&self) -> Result<FeedForward> {
        match self.feed_forward_proj.as_str() {
            "relu" => Ok(FeedForward::Relu),
            "gated-gelu" => Ok(FeedForward::GatedGelu),
            other => Err(Error::input(
                format!("feed_forward_proj is {other}"),
                "T5's relu and FLAN-T5's gated-gelu are supported",
            )),
        }
    }
}
