//! RoBERTa for sequence classification, as in transformers, for scoring and for training (every operation has a backward).
//!
//! Rows of different lengths are *packed*, not padded: a batch is one (N, D) matrix of its N tokens, and only attention works
//! row by row. So there is no work for padding and no mask, and a row's logits do not depend on other rows.

use crate::error::{Error, Result};
use crate::nn::attention::{Plan, Segment, attention};
use crate::nn::dropout::{dropout, mask};
use crate::nn::linear::Linear;
use crate::nn::norm::layer_norm;
use crate::nn::ops::{beside, gelu, plus, rows, tanh};
use crate::nn::params::Params;
use crate::nn::rng::Rng;
use crate::nn::weight::Weight;
use candle_core::Tensor;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The needed keys of a Hugging Face `config.json`; other keys are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct RobertaConfig {
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
    pub hidden_act: String,
    /// Standard deviation of new weights.
    #[serde(default = "fiftieth")]
    pub initializer_range: f64,
    #[serde(default = "pad")]
    pub pad_token_id: u32,
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f32,
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f32,
    /// The head's dropout; `hidden_dropout_prob` if missing.
    #[serde(default)]
    pub classifier_dropout: Option<f32>,
    #[serde(default)]
    pub position_embedding_type: Option<String>,
    /// Label by output column. transformers omits the key for two unnamed labels.
    #[serde(default = "unnamed")]
    pub id2label: BTreeMap<usize, String>,
}

fn pad() -> u32 {
    1
}

fn fiftieth() -> f64 {
    0.02
}

fn tenth() -> f32 {
    0.1
}

fn unnamed() -> BTreeMap<usize, String> {
    (0..2).map(|i| (i, format!("LABEL_{i}"))).collect()
}

impl RobertaConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// Invalid JSON, a missing key, another architecture, or numbers that contradict each other.
    pub fn from_json(text: &str) -> Result<Self> {
        let hint = "give the folder of a RoBERTa sequence classifier that transformers saved";
        let config: Self = serde_json::from_str(text)
            .map_err(|e| Error::input(format!("the reward model's config.json is not usable: {e}"), hint))?;
        match config.fault() {
            Some(what) => Err(Error::input(format!("the reward model's config.json: {what}"), hint)),
            None => Ok(config),
        }
    }

    fn fault(&self) -> Option<String> {
        let kind = self.position_embedding_type.as_deref().unwrap_or("absolute");
        if self.model_type != "roberta" {
            Some(format!("model_type is {:?}, expected \"roberta\"", self.model_type))
        } else if self.hidden_act != "gelu" {
            Some(format!("hidden_act is {:?}, expected \"gelu\" (the exact one, by erf)", self.hidden_act))
        } else if kind != "absolute" {
            Some(format!("position_embedding_type is {kind:?}, expected \"absolute\""))
        } else if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            Some(format!("hidden_size {} cannot be split into {} heads", self.hidden_size, self.num_attention_heads))
        } else if self.num_hidden_layers == 0 || self.hidden_size == 0 || self.type_vocab_size == 0 {
            Some("num_hidden_layers, hidden_size and type_vocab_size must be at least 1".into())
        } else if self.max_position_embeddings <= self.pad_token_id as usize + 1 {
            Some(format!("max_position_embeddings {} leaves no position", self.max_position_embeddings))
        } else if let Some((name, size)) = self.too_large() {
            Some(format!("{name} is {size}, which is too large for a RoBERTa"))
        } else if self.id2label.is_empty() || self.id2label.keys().copied().ne(0..self.id2label.len()) {
            Some(format!("id2label must number its labels from 0, got {:?}", self.id2label))
        } else {
            None
        }
    }

    /// The first size that is too large; below these limits, sums and products of sizes fit into 64 bits.
    fn too_large(&self) -> Option<(&'static str, usize)> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ("type_vocab_size", self.type_vocab_size, 1 << 10),
        ];
        sizes.into_iter().find(|(_, size, most)| size > most).map(|(name, size, _)| (name, size))
    }

    /// Maximum number of tokens of a row, special tokens included (512 for roberta-base): positions start after the pad id.
    pub fn limit(&self) -> usize {
        self.max_position_embeddings - self.pad_token_id as usize - 1
    }

    /// Number of parameters of embeddings, layers and head.
    pub fn parameter_count(&self) -> usize {
        let (d, inner, labels) = (self.hidden_size, self.intermediate_size, self.id2label.len());
        let linear = |input: usize, output: usize| input * output + output;
        let norm = 2 * d;
        let embeddings = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size) * d + norm;
        let layer = 4 * linear(d, d) + norm + linear(d, inner) + linear(inner, d) + norm;
        embeddings + self.num_hidden_layers * layer + linear(d, d) + linear(d, labels)
    }
}

/// The position of each id of a row. Pad ids, also inside the text, have the pad's position and are not counted (transformers'
/// `create_position_ids_from_input_ids`; docs/ppo.md 1.5).
pub fn position_ids(ids: &[u32], pad: u32) -> Vec<u32> {
    let mut position = pad;
    let next = |&id: &u32| {
        if id == pad {
            return pad;
        }
        position += 1;
        position
    };
    ids.iter().map(next).collect()
}

/// The hidden states of a batch.
pub struct Hidden {
    /// (N, D), the rows' tokens one after another; after the last layer (B, D), each row's first token.
    states: Tensor,
    /// Tokens of each row; their sum is N.
    lengths: Vec<usize>,
}

/// RoBERTa with its classification head.
pub struct Roberta {
    config: RobertaConfig,
    words: Weight,
    positions: Weight,
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    dense: Linear,
    out_proj: Linear,
}

impl Roberta {
    /// Takes the tensors by transformers' names (`roberta.embeddings.…`, `classifier.…`); others, such as a `position_ids`
    /// buffer, a pooler or a language-model head, are not used.
    ///
    /// # Errors
    /// A missing tensor, or one with a wrong shape.
    pub fn load(p: &Params, config: RobertaConfig) -> Result<Self> {
        let d = config.hidden_size;
        let e = p.at("roberta").at("embeddings");
        let layers = p.at("roberta").at("encoder").at("layer");
        let head = p.at("classifier");
        Ok(Self {
            words: e.at("word_embeddings").weight("weight", &[config.vocab_size, d])?,
            positions: e.at("position_embeddings").weight("weight", &[config.max_position_embeddings, d])?,
            types: e.at("token_type_embeddings").get("weight", &[config.type_vocab_size, d])?,
            norm: LayerNorm::load(&e, &config)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&layers.at(i), &config))
                .collect::<Result<_>>()?,
            dense: Linear::load(&head.at("dense"), d, d, true)?,
            out_proj: Linear::load(&head.at("out_proj"), d, config.id2label.len(), true)?,
            config,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &RobertaConfig {
        &self.config
    }

    /// Checks that row number `index` has 1 to [`RobertaConfig::limit`] ids, all in the vocabulary.
    ///
    /// # Errors
    /// Names the row and what is wrong.
    pub fn check(&self, index: usize, ids: &[u32]) -> Result<()> {
        let (limit, vocab) = (self.config.limit(), self.config.vocab_size);
        if ids.is_empty() {
            return Err(Error::input(format!("row {} has no ids", index + 1), "leave empty rows out before scoring"));
        }
        if ids.len() > limit {
            return Err(Error::input(
                format!("row {} has {} ids, but the model reads at most {limit}", index + 1, ids.len()),
                "truncate the row, or score a shorter text",
            ));
        }
        match ids.iter().find(|&&id| id as usize >= vocab) {
            None => Ok(()),
            Some(id) => Err(Error::input(
                format!("row {} has id {id}, but the vocabulary ends at {}", index + 1, vocab - 1),
                "use the tokenizer that belongs to the reward model",
            )),
        }
    }

    /// Logits (B, labels) of rows of ids (with special tokens). `rng` is for dropout in training; without it there is no
    /// dropout.
    ///
    /// # Errors
    /// No rows, or a row that [`Roberta::check`] refuses.
    pub fn logits(&self, rows: &[&[u32]], mut rng: Option<&mut Rng>) -> Result<Tensor> {
        let mut hidden = self.embed(rows, &mut rng)?;
        for index in 0..self.depth() {
            hidden = self.layer(index, &hidden, &mut rng)?;
        }
        self.head(&hidden, &mut rng)
    }

    /// The number of calls of [`Roberta::layer`] between [`Roberta::embed`] and [`Roberta::head`], which are the parts of
    /// [`Roberta::logits`], for callers that pause between them.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Word + position + type 0 embeddings, then the norm: the packed batch (N, D).
    ///
    /// # Errors
    /// As [`Roberta::logits`].
    pub fn embed(&self, texts: &[&[u32]], rng: &mut Option<&mut Rng>) -> Result<Hidden> {
        if texts.is_empty() {
            return Err(Error::input("the batch has no rows", "give at least one row of ids"));
        }
        let pad = self.config.pad_token_id;
        for (index, row) in texts.iter().enumerate() {
            self.check(index, row)?;
        }
        let ids = texts.concat(); // (N)
        let positions: Vec<u32> = texts.iter().flat_map(|row| position_ids(row, pad)).collect(); // (N)
        let x = plus(&lookup(&self.words, &ids, pad)?, lookup(&self.positions, &positions, pad)?)?; // (N, D)
        let x = plus(&x, rows(&self.types, &vec![0; ids.len()], None)?)?; // (N, D)
        let states = drop(self.norm.forward(&x)?, self.config.hidden_dropout_prob, rng)?;
        Ok(Hidden { states, lengths: texts.iter().map(|row| row.len()).collect() })
    }

    /// Layer `index` of [`Roberta::depth`]. The last one keeps only each row's first token, which the head reads: (N, D) in,
    /// (B, D) out.
    ///
    /// # Errors
    /// Only failed tensor operations.
    pub fn layer(&self, index: usize, hidden: &Hidden, rng: &mut Option<&mut Rng>) -> Result<Hidden> {
        let last = index + 1 == self.depth();
        self.layers[index].forward(hidden, last, &self.config, rng)
    }

    /// `out_proj(tanh(dense(h0)))`: logits (B, labels) from the last layer's (B, D).
    ///
    /// # Errors
    /// Only failed tensor operations.
    pub fn head(&self, hidden: &Hidden, rng: &mut Option<&mut Rng>) -> Result<Tensor> {
        let p = self.config.classifier_dropout.unwrap_or(self.config.hidden_dropout_prob);
        let x = drop(hidden.states.clone(), p, rng)?; // (B, D)
        let x = drop(tanh(&self.dense.forward(&x)?)?, p, rng)?; // (B, D)
        self.out_proj.forward(&x) // (B, labels)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    out_norm: LayerNorm,
}

impl Layer {
    fn load(p: &Params, config: &RobertaConfig) -> Result<Self> {
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let attention = p.at("attention");
        let linear = |p: Params, input, output| Linear::load(&p, input, output, true);
        Ok(Self {
            query: linear(attention.at("self").at("query"), d, d)?,
            key: linear(attention.at("self").at("key"), d, d)?,
            value: linear(attention.at("self").at("value"), d, d)?,
            attention_out: linear(attention.at("output").at("dense"), d, d)?,
            attention_norm: LayerNorm::load(&attention.at("output"), config)?,
            up: linear(p.at("intermediate").at("dense"), d, inner)?,
            down: linear(p.at("output").at("dense"), inner, d)?,
            out_norm: LayerNorm::load(&p.at("output"), config)?,
        })
    }

    fn forward(
        &self,
        hidden: &Hidden,
        last: bool,
        config: &RobertaConfig,
        rng: &mut Option<&mut Rng>,
    ) -> Result<Hidden> {
        let Hidden { states, lengths } = hidden; // (N, D)
        let hidden_drop = config.hidden_dropout_prob;
        let firsts = if last { Some(first_tokens(hidden)?) } else { None };
        let keep = firsts.as_ref().unwrap_or(states); // (M, D), M = N or B
        let kept = if last { vec![1; lengths.len()] } else { lengths.clone() };

        let kv = beside(&self.key.forward(states)?, &self.value.forward(states)?)?; // (N, 2D)
        let plan = Plan {
            segments: segments(&kept, lengths),
            heads: config.num_attention_heads,
            scale: ((config.hidden_size / config.num_attention_heads) as f32).powf(-0.5),
            causal: false,
            buckets: None,
            drop: rng.as_mut().map(|rng| mask(config.attention_probs_dropout_prob, rng)),
        };
        let x = attention(&self.query.forward(keep)?, &kv, None, plan)?; // (M, D)
        let x = drop(self.attention_out.forward(&x)?, hidden_drop, rng)?;
        let x = self.attention_norm.forward(&plus(keep, x)?)?; // (M, D)
        let y = gelu(&self.up.forward(&x)?)?; // (M, I)
        let y = drop(self.down.forward(&y)?, hidden_drop, rng)?; // (M, D)
        Ok(Hidden { states: self.out_norm.forward(&plus(&x, y)?)?, lengths: kept })
    }
}

/// Each row attends to itself: `queries[i]` query tokens, `keys[i]` key and value tokens.
fn segments(queries: &[usize], keys: &[usize]) -> Vec<Segment> {
    let (mut query, mut key) = (0, 0);
    let mut next = |(&queries, &keys): (&usize, &usize)| {
        let segment = Segment { query, queries, key, keys, offset: 0 };
        (query, key) = (query + queries, key + keys);
        segment
    };
    queries.iter().zip(keys).map(&mut next).collect()
}

/// (B, D): each row's first token, `<s>`.
fn first_tokens(hidden: &Hidden) -> Result<Tensor> {
    let segments = segments(&hidden.lengths, &hidden.lengths);
    let starts: Vec<u32> = segments.iter().map(|segment| segment.query as u32).collect();
    rows(&hidden.states, &starts, None)
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    fn load(p: &Params, config: &RobertaConfig) -> Result<Self> {
        let p = p.at("LayerNorm");
        let shape = [config.hidden_size];
        Ok(Self { weight: p.get("weight", &shape)?, bias: p.get("bias", &shape)?, eps: config.layer_norm_eps })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Rows of `table` (V, D) for `ids` (N): (N, D). As with torch's `padding_idx`, the pad's row gets no gradient.
fn lookup(table: &Weight, ids: &[u32], pad: u32) -> Result<Tensor> {
    match table {
        Weight::F32(table) => rows(table, ids, Some(pad)),
        other => other.rows(ids),
    }
}

/// Dropout in training; without `rng`, the input.
fn drop(x: Tensor, p: f32, rng: &mut Option<&mut Rng>) -> Result<Tensor> {
    match rng {
        Some(rng) => dropout(&x, p, rng),
        None => Ok(x),
    }
}
