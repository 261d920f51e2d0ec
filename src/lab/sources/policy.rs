//! A policy before it is loaded: its configuration, the headers of its tensors, its tokenizer; and loading it.
//!
//! In transformers 4, `tie_word_embeddings` says whether the embeddings are the output head, and whether hidden states are
//! scaled before it. transformers 5 writes `tie_word_embeddings: true` for every T5, stores a separate head in
//! `lm_head.weight`, and says in `scale_decoder_outputs` whether hidden states are scaled. So the weights decide which head is
//! used. [`crate::lab::head`] saves heads.

use super::tables::Tables;
use super::tokenizer::{NoTokenizer, tokenizer};
use crate::encoding;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::checkpoint::weights::{Checkpoint, Described};
use crate::lab::head::{EMBEDDINGS, HEAD};
use crate::lab::models::{Actor, Precision};
use crate::model::config::T5Config;
use crate::model::policy::{Policy, ValueHead};
use crate::model::t5::T5;
use crate::nn::params::Params;
use crate::nn::rng::{Purpose, Rng};
use crate::text::tokenizer::Tokenizer;
use candle_core::{Tensor, Var};
use serde_json::Value;
use std::collections::HashMap;

const CONFIG: &str = "config.json";

/// A policy's folder, after reading its headers.
pub struct PolicySource<'a> {
    /// `config.json`, unchanged.
    pub json: Value,
    /// The configuration, with the output head that the weights contain.
    pub config: T5Config,
    checkpoint: Checkpoint<'a>,
    /// Tables that are used only for look-ups, not as the output matrix.
    tables: Tables,
    /// None until it is used.
    tokenizer: Option<Option<Tokenizer>>,
}

impl<'a> PolicySource<'a> {
    /// Reads the headers of the policy in a folder.
    ///
    /// # Errors
    /// A `config.json` that is not a T5's; weights that cannot be read.
    pub fn open(source: Box<dyn ByteSource + 'a>) -> Result<Self> {
        let bytes = source.read(CONFIG)?;
        let path = source.path(CONFIG);
        let config = T5Config::from_json(&path, &bytes)?;
        let json = serde_json::from_slice(&encoding::json(&bytes))
            .map_err(|e| Error::file(path, e, "download or write the file again"))?;
        let checkpoint = Checkpoint::open(source)?;
        let own = !config.tie_word_embeddings || has_own_head(&checkpoint)?;
        let config = config.with_head(own);
        let tables = Tables::open(&checkpoint, if config.tie_word_embeddings { &[] } else { &EMBEDDINGS })?;
        Ok(Self { json, config, checkpoint, tables, tokenizer: None })
    }

    /// The folder.
    pub fn source(&self) -> &dyn ByteSource {
        self.checkpoint.source()
    }

    /// The weights' headers.
    pub fn checkpoint(&self) -> &Checkpoint<'a> {
        &self.checkpoint
    }

    /// The headers of the model's tensors.
    pub fn tensors(&self) -> Vec<Described> {
        self.checkpoint.described().iter().filter(|d| is_used(&self.config, &d.name)).cloned().collect()
    }

    /// As [`PolicySource::tensors`], but only of those in memory while the weights are frozen.
    pub fn tensors_in_memory(&self) -> Vec<Described> {
        self.tables.beside(&self.checkpoint, &|name| is_used(&self.config, name))
    }

    /// The tokenizer, or an error that says how to get one.
    ///
    /// # Errors
    /// No tokenizer, or one that cannot be used.
    pub fn tokenizer(&mut self) -> Result<&Tokenizer> {
        let none = self.no_tokenizer();
        self.find_tokenizer()?.ok_or_else(|| none.error())
    }

    /// The tokenizer, if the folder has one.
    ///
    /// # Errors
    /// One that cannot be used.
    pub fn find_tokenizer(&mut self) -> Result<Option<&Tokenizer>> {
        if self.tokenizer.is_none() {
            self.tokenizer = Some(tokenizer(self.checkpoint.source())?);
        }
        Ok(self.tokenizer.as_ref().and_then(Option::as_ref))
    }

    fn no_tokenizer(&self) -> NoTokenizer {
        NoTokenizer::of(self.source(), "google/flan-t5-base")
    }

    /// The model's tensors in f32.
    pub fn load_tensors(&self) -> Result<HashMap<String, Tensor>> {
        self.checkpoint.load(&|name| is_used(&self.config, name))
    }

    /// The base model with frozen weights (matrices in `precision`), a new value head (seeded) and no adapter.
    ///
    /// # Errors
    /// Names file and tensor; also a weight that the number type cannot represent.
    pub fn load(mut self, precision: Precision, seed: u64) -> Result<Actor> {
        self.find_tokenizer()?;
        let (none, name) = (self.no_tokenizer(), self.source().name());
        let Self { config, checkpoint, tables, tokenizer, .. } = self;
        let weights = tables.weights(&checkpoint, precision, &|name| is_used(&config, name))?;
        actor(config, &Params::held(weights), tokenizer.flatten(), none, seed).map_err(|e| e.in_file(&name))
    }

    /// The base model with every parameter trainable, and the parameters by checkpoint name.
    ///
    /// # Errors
    /// Names file and tensor.
    pub fn load_trainable(mut self, seed: u64) -> Result<(Actor, Vec<(String, Var)>)> {
        self.find_tokenizer()?;
        let (none, name) = (self.no_tokenizer(), self.source().name());
        let params = Params::trainable(self.load_tensors()?);
        let actor = actor(self.config, &params, self.tokenizer.flatten(), none, seed).map_err(|e| e.in_file(&name))?;
        Ok((actor, params.vars()))
    }
}

/// A policy with these parameters and a new value head (seeded).
///
/// # Errors
/// Parameters that do not fit the configuration.
pub fn actor(
    config: T5Config,
    params: &Params,
    tokenizer: Option<Tokenizer>,
    no_tokenizer: NoTokenizer,
    seed: u64,
) -> Result<Actor> {
    let t5 = T5::load(config, params)?;
    let head = ValueHead::fresh(t5.config.d_model, &mut Rng::new(seed, Purpose::Init, 0, 0))?;
    Ok(Actor { policy: Policy::new(t5, head), tokenizer, no_tokenizer })
}

impl Actor {
    /// The policy in a folder, in f32; see [`PolicySource::load`].
    pub fn load(source: &dyn ByteSource, seed: u64) -> Result<Self> {
        Self::load_as(source, Precision::F32, seed)
    }

    /// The policy in a folder; see [`PolicySource::load`].
    pub fn load_as(source: &dyn ByteSource, precision: Precision, seed: u64) -> Result<Self> {
        PolicySource::open(Box::new(source))?.load(precision, seed)
    }

    /// The policy in a folder; see [`PolicySource::load_trainable`].
    pub fn trainable(source: &dyn ByteSource, seed: u64) -> Result<(Self, Vec<(String, Var)>)> {
        PolicySource::open(Box::new(source))?.load_trainable(seed)
    }
}

/// Whether there is an output head that is not a copy of the embeddings.
fn has_own_head(checkpoint: &Checkpoint<'_>) -> Result<bool> {
    let there = |name: &str| checkpoint.described().iter().any(|d| d.name == name);
    match EMBEDDINGS.into_iter().find(|name| there(name)) {
        Some(embeddings) if there(HEAD) => Ok(!checkpoint.same(HEAD, embeddings)?),
        _ => Ok(false),
    }
}

/// Whether this tensor of the checkpoint is part of the model. A copy of the embeddings under the head's name is not.
fn is_used(config: &T5Config, name: &str) -> bool {
    !(config.tie_word_embeddings && name == HEAD)
}
