//! T5 / FLAN-T5, as in transformers' `T5ForConditionalGeneration` (docs/ppo.md 1.1), for training and generation: hidden states
//! of all positions of sequences packed without padding, with a LoRA adapter, and decoding with caches through the same layers.

use super::config::{FeedForward, T5Config};
use crate::error::{Error, Result};
use crate::nn::attention::{Buckets, Plan, Segment, attention};
use crate::nn::dropout::{dropout, mask};
use crate::nn::linear::Linear;
use crate::nn::lora::LoraSet;
use crate::nn::norm::rms_norm;
use crate::nn::ops;
use crate::nn::params::Params;
use crate::nn::rng::Rng;
use crate::nn::storage::slice;
use crate::nn::weight::Weight;
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use std::cell::RefCell;

/// Options of a pass.
#[derive(Default, Clone, Copy)]
pub struct Pass<'a> {
    /// The adapter; none: the base model alone.
    pub lora: Option<&'a LoraSet>,
    /// Random stream for dropout; none: no dropout.
    pub dropout: Option<&'a RefCell<Rng>>,
}

/// Packed sequences, one after another.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Hidden states (N, D).
    pub hidden: Tensor,
    /// First row and number of rows of each sequence.
    pub spans: Vec<(usize, usize)>,
}

/// A linear layer, and its number among the layers that can have an adapter.
struct Proj {
    linear: Linear,
    layer: usize,
}

impl Proj {
    /// (N, in) → (N, out)
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let y = self.linear.forward(x)?;
        let Some((lora, set)) = pass.lora.and_then(|set| set.of(self.layer).map(|lora| (lora, set))) else {
            return Ok(y);
        };
        ops::plus(&lora.forward(x, pass.dropout.map(|rng| (set.dropout, rng)))?, y)
    }
}

/// Names and numbers the linear layers while they are loaded.
struct Loader {
    modules: Vec<(String, usize, usize)>,
}

impl Loader {
    fn proj(&mut self, p: Params, in_dim: usize, out_dim: usize) -> Result<Proj> {
        let linear = Linear::load(&p, in_dim, out_dim, false)?;
        self.modules.push((p.path().to_string(), in_dim, out_dim));
        Ok(Proj { linear, layer: self.modules.len() - 1 })
    }
}

struct AttentionLayer {
    norm: Tensor,
    q: Proj,
    k: Proj,
    v: Proj,
    o: Proj,
}

impl AttentionLayer {
    fn load(p: &Params, name: &str, c: &T5Config, l: &mut Loader) -> Result<Self> {
        let (d, inner, at) = (c.d_model, c.inner(), p.at(name));
        Ok(Self {
            norm: p.at("layer_norm").get("weight", &[d])?,
            q: l.proj(at.at("q"), d, inner)?,
            k: l.proj(at.at("k"), d, inner)?,
            v: l.proj(at.at("v"), d, inner)?,
            o: l.proj(at.at("o"), inner, d)?,
        })
    }

    /// Keys and values side by side: (N, D) → (N, 2·inner).
    fn keys_values(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        ops::beside(&self.k.forward(x, pass)?, &self.v.forward(x, pass)?)
    }
}

struct FeedForwardLayer {
    norm: Tensor,
    wi: Vec<Proj>,
    wo: Proj,
}

impl FeedForwardLayer {
    fn load(p: &Params, c: &T5Config, l: &mut Loader) -> Result<Self> {
        let at = p.at("DenseReluDense");
        let names: &[&str] = if c.feed_forward()? == FeedForward::GatedGelu { &["wi_0", "wi_1"] } else { &["wi"] };
        Ok(Self {
            norm: p.at("layer_norm").get("weight", &[c.d_model])?,
            wi: names.iter().map(|n| l.proj(at.at(n), c.d_model, c.d_ff)).collect::<Result<_>>()?,
            wo: l.proj(at.at("wo"), c.d_ff, c.d_model)?,
        })
    }
}

struct Block {
    own: AttentionLayer,
    cross: Option<AttentionLayer>,
    feed_forward: FeedForwardLayer,
}

struct Stack {
    blocks: Vec<Block>,
    /// Relative position biases (buckets, heads) of block 0, used by all blocks.
    biases: Tensor,
    norm: Tensor,
    decoder: bool,
}

impl Stack {
    fn load(p: &Params, c: &T5Config, decoder: bool, l: &mut Loader) -> Result<Self> {
        let layers = if decoder { c.decoder_layers() } else { c.num_layers };
        let mut blocks = Vec::with_capacity(layers);
        for i in 0..layers {
            let at = p.at("block").at(i).at("layer");
            let own = AttentionLayer::load(&at.at(0), "SelfAttention", c, l)?;
            let cross = if decoder { Some(AttentionLayer::load(&at.at(1), "EncDecAttention", c, l)?) } else { None };
            let feed_forward = FeedForwardLayer::load(&at.at(if decoder { 2 } else { 1 }), c, l)?;
            blocks.push(Block { own, cross, feed_forward });
        }
        let table = p.at("block").at(0).at("layer").at(0).at("SelfAttention").at("relative_attention_bias");
        Ok(Self {
            blocks,
            biases: table.get("weight", &[c.relative_attention_num_buckets, c.num_heads])?,
            norm: p.at("final_layer_norm").get("weight", &[c.d_model])?,
            decoder,
        })
    }
}

/// Keys and values of the tokens decoded so far, and of the encoder's output.
pub struct Cache {
    /// For each decoder block: (slots · capacity, 2·inner).
    own: Vec<Tensor>,
    /// For each decoder block: (N encoder tokens, 2·inner), computed once.
    cross: Vec<Tensor>,
    spans: Vec<(usize, usize)>,
    capacity: usize,
    /// Number of tokens fed so far.
    len: usize,
}

/// T5's weights.
pub struct T5 {
    pub config: T5Config,
    shared: Weight,
    encoder: Stack,
    decoder: Stack,
    /// (V, D): `lm_head`, or the shared embeddings.
    head: Weight,
    modules: Vec<(String, usize, usize)>,
}

impl T5 {
    /// Takes the weights from `p` by their checkpoint names; `lm_head` is the head if it exists.
    pub fn load(config: T5Config, p: &Params) -> Result<Self> {
        let own = !config.tie_word_embeddings || p.at("lm_head").has("weight");
        let config = config.with_head(own);
        let mut l = Loader { modules: Vec::new() };
        let size = [config.vocab_size, config.d_model];
        let table = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"].map(|n| p.at(n));
        let shared = table.iter().find(|t| t.has("weight")).unwrap_or(&table[0]).weight("weight", &size)?;
        let encoder = Stack::load(&p.at("encoder"), &config, false, &mut l)?;
        let decoder = Stack::load(&p.at("decoder"), &config, true, &mut l)?;
        let head = if config.tie_word_embeddings { shared.clone() } else { p.at("lm_head").weight("weight", &size)? };
        Ok(Self { config, shared, encoder, decoder, head, modules: l.modules })
    }

    /// The layers that can have an adapter: (name, in, out).
    pub fn modules(&self) -> &[(String, usize, usize)] {
        &self.modules
    }

    /// The output matrix (V, D).
    pub fn head(&self) -> &Weight {
        &self.head
    }

    /// Number of base weights; shared embeddings count once.
    pub fn parameters(&self) -> usize {
        let attention = |a: &AttentionLayer| a.norm.elem_count();
        let stack = |s: &Stack| {
            let norms = |b: &Block| {
                attention(&b.own) + b.cross.as_ref().map_or(0, attention) + b.feed_forward.norm.elem_count()
            };
            s.biases.elem_count() + s.norm.elem_count() + s.blocks.iter().map(norms).sum::<usize>()
        };
        let linear: usize = self.modules.iter().map(|(_, i, o)| i * o).sum();
        let head = if self.config.tie_word_embeddings { 0 } else { self.head.elem_count() };
        self.shared.elem_count() + head + linear + stack(&self.encoder) + stack(&self.decoder)
    }

    fn embed(&self, ids: &[u32], pass: Pass<'_>) -> Result<Tensor> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.config.vocab_size) {
            return Err(Error::input(
                format!("token id {id} is outside the model's vocabulary of {}", self.config.vocab_size),
                "use the tokenizer that belongs to this model",
            ));
        }
        self.dropped(self.shared.rows(ids)?, pass) // (N, D)
    }

    fn dropped(&self, x: Tensor, pass: Pass<'_>) -> Result<Tensor> {
        match pass.dropout {
            Some(rng) => dropout(&x, self.config.dropout_rate, &mut rng.borrow_mut()),
            None => Ok(x),
        }
    }

    fn normed(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        rms_norm(x, weight, self.config.layer_norm_epsilon)
    }

    /// x plus `layer`'s attention, softmax(q kᵀ + bias) v, projected: (N, D) → (N, D). `kv` gives keys and values from normed
    /// x; `own`: the stack with the biases and the mask, none in cross-attention.
    fn attend(
        &self,
        x: &Tensor,
        layer: &AttentionLayer,
        segments: &[Segment],
        own: Option<&Stack>,
        pass: Pass<'_>,
        kv: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let y = self.normed(x, &layer.norm)?;
        let kv = kv(&y)?;
        let decoder = own.is_some_and(|stack| stack.decoder);
        let plan = Plan {
            segments: segments.to_vec(),
            heads: self.config.num_heads,
            scale: 1.0, // T5 has no 1/√d
            causal: decoder,
            buckets: own.map(|_| Buckets {
                count: self.config.relative_attention_num_buckets,
                max_distance: self.config.relative_attention_max_distance,
                bidirectional: !decoder,
            }),
            drop: pass.dropout.map(|rng| mask(self.config.dropout_rate, &mut rng.borrow_mut())),
        };
        let q = layer.q.forward(&y, pass)?; // (N, inner)
        let out = attention(&q, &kv, own.map(|stack| &stack.biases), plan)?; // (N, inner)
        ops::plus(x, self.dropped(layer.o.forward(&out, pass)?, pass)?)
    }

    fn feed_forward(&self, layer: &FeedForwardLayer, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let x = self.normed(x, &layer.norm)?;
        let inner = match layer.wi.as_slice() {
            [wi] => ops::relu(&wi.forward(&x, pass)?)?,
            [gate, up, ..] => ops::gated_gelu(&gate.forward(&x, pass)?, &up.forward(&x, pass)?)?, // (N, d_ff)
            [] => {
                return Err(Error::input(
                    "a feed-forward layer has no weights",
                    "this is a bug in detox-lab: please open an issue with this message",
                ));
            }
        };
        self.dropped(layer.wo.forward(&self.dropped(inner, pass)?, pass)?, pass)
    }

    /// Encodes sequences of any lengths: packed hidden states (N, D) after the final norm.
    pub fn encode(&self, rows: &[&[u32]], pass: Pass<'_>) -> Result<Packed> {
        let (ids, spans) = pack(rows)?;
        let segment = |&(at, len): &(usize, usize)| Segment { query: at, queries: len, key: at, keys: len, offset: 0 };
        let segments: Vec<Segment> = spans.iter().map(segment).collect();
        let mut x = self.embed(&ids, pass)?;
        for Block { own, feed_forward, .. } in &self.encoder.blocks {
            x = self.attend(&x, own, &segments, Some(&self.encoder), pass, |y| own.keys_values(y, pass))?;
            x = ops::plus(&x, self.feed_forward(feed_forward, &x, pass)?)?;
        }
        let hidden = self.dropped(self.normed(&x, &self.encoder.norm)?, pass)?;
        Ok(Packed { hidden, spans })
    }

    /// Teacher-forced decoding: packed hidden states (N, D) of all decoder positions after the final norm. Tokens of row i
    /// after the first `valid[i]` are padding: they are not attended to, and their states have no meaning.
    pub fn decode(&self, rows: &[&[u32]], valid: &[usize], encoded: &Packed, pass: Pass<'_>) -> Result<Packed> {
        let (ids, spans) = pack(rows)?;
        let own: Vec<Segment> = (spans.iter().zip(valid))
            .map(|(&(at, len), &keys)| Segment { query: at, queries: len, key: at, keys: keys.min(len), offset: 0 })
            .collect();
        let cross: Vec<Segment> = (spans.iter().zip(&encoded.spans))
            .map(|(&(query, queries), &(key, keys))| Segment { query, queries, key, keys, offset: 0 })
            .collect();
        let mut x = self.embed(&ids, pass)?;
        for block in &self.decoder.blocks {
            x = self.attend(&x, &block.own, &own, Some(&self.decoder), pass, |y| block.own.keys_values(y, pass))?;
            if let Some(layer) = &block.cross {
                x = self.attend(&x, layer, &cross, None, pass, |_| layer.keys_values(&encoded.hidden, pass))?;
            }
            x = ops::plus(&x, self.feed_forward(&block.feed_forward, &x, pass)?)?;
        }
        Ok(Packed { hidden: self.dropped(self.normed(&x, &self.decoder.norm)?, pass)?, spans })
    }

    /// The output matrix's input: hidden states, scaled by d_model^-½ if the config says so (transformers
    /// `T5ForConditionalGeneration.forward`).
    pub fn head_input(&self, hidden: &Tensor) -> Result<Tensor> {
        if self.config.scales() { ops::scaled(hidden, self.config.head_scale() as f32) } else { Ok(hidden.clone()) }
    }

    /// An empty cache for decoding one token per row at a time, up to `capacity` tokens per row.
    pub fn cache(&self, encoded: &Packed, capacity: usize, pass: Pass<'_>) -> Result<Cache> {
        let (slots, width) = (encoded.spans.len(), 2 * self.config.inner());
        let (mut own, mut cross) = (Vec::new(), Vec::new());
        for block in &self.decoder.blocks {
            own.push(Tensor::zeros((slots * capacity, width), candle_core::DType::F32, encoded.hidden.device())?);
            if let Some(layer) = &block.cross {
                cross.push(layer.keys_values(&encoded.hidden, pass)?);
            }
        }
        Ok(Cache { own, cross, spans: encoded.spans.clone(), capacity, len: 0 })
    }

    /// Feeds one token to each of the rows `slots` (row numbers in the encoded batch): hidden states (slots, D).
    pub fn decode_next(&self, ids: &[u32], slots: &[usize], cache: &mut Cache, pass: Pass<'_>) -> Result<Tensor> {
        if cache.len == cache.capacity {
            return Err(Error::input("the decoding cache is full", "ask for a larger capacity"));
        }
        let at = |(query, &slot): (usize, &usize)| Segment {
            query,
            queries: 1,
            key: slot * cache.capacity,
            keys: cache.len + 1,
            offset: cache.len,
        };
        let own: Vec<Segment> = slots.iter().enumerate().map(at).collect();
        let over = |(query, &slot): (usize, &usize)| {
            let (key, keys) = cache.spans[slot];
            Segment { query, queries: 1, key, keys, offset: 0 }
        };
        let cross: Vec<Segment> = slots.iter().enumerate().map(over).collect();
        let write = WriteRows { rows: own.iter().map(|s| s.key + cache.len).collect() };
        let mut x = self.embed(ids, pass)?; // (slots, D)
        for (i, block) in self.decoder.blocks.iter().enumerate() {
            x = self.attend(&x, &block.own, &own, Some(&self.decoder), pass, |y| {
                cache.own[i].inplace_op2(&block.own.keys_values(y, pass)?, &write)?;
                Ok(cache.own[i].clone())
            })?;
            if let Some(layer) = &block.cross {
                x = self.attend(&x, layer, &cross, None, pass, |_| Ok(cache.cross[i].clone()))?;
            }
            x = ops::plus(&x, self.feed_forward(&block.feed_forward, &x, pass)?)?;
        }
        cache.len += 1;
        self.normed(&x, &self.decoder.norm)
    }
}

/// Concatenates rows; also returns the first position and the length of each.
#[allow(clippy::type_complexity)]
fn pack(rows: &[&[u32]]) -> Result<(Vec<u32>, Vec<(usize, usize)>)> {
    let mut spans = Vec::with_capacity(rows.len());
    let mut at = 0;
    for (i, row) in rows.iter().enumerate() {
        if row.is_empty() {
            return Err(Error::input(format!("row {} has no tokens", i + 1), "leave empty texts out"));
        }
        spans.push((at, row.len()));
        at += row.len();
    }
    Ok((rows.concat(), spans))
}

/// Writes row i of the source over row `rows[i]` of a cache.
struct WriteRows {
    rows: Vec<usize>,
}

impl InplaceOp2 for WriteRows {
    fn name(&self) -> &'static str {
        "write-rows"
    }

    fn cpu_fwd(&self, dst: &mut CpuStorage, l1: &Layout, src: &CpuStorage, l2: &Layout) -> candle_core::Result<()> {
        let (width, src) = (l1.dims()[1], slice(src, l2)?);
        let CpuStorage::F32(dst) = dst else { candle_core::bail!("a cache must be f32") };
        for (i, row) in self.rows.iter().enumerate() {
            dst[row * width..(row + 1) * width].copy_from_slice(&src[i * width..(i + 1) * width]);
        }
        Ok(())
    }
}
