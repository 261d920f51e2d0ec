//! A policy with new weights.

use super::fresh;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::lab::models::Actor;
use crate::lab::sources::policy::actor;
use crate::lab::sources::tokenizer::{NoTokenizer, tokenizer};
use crate::model::config::T5Config;
use crate::nn::params::Params;
use candle_core::Var;
use serde_json::Value;

/// A policy with new weights (seeded; see [`fresh::mimetic`]), all trainable; also returns them by checkpoint name. `file`: the
/// file of `config`.
///
/// # Errors
/// An invalid configuration, or a vocabulary smaller than the tokenizer's.
pub fn fresh_policy(
    file: &str,
    config: &Value,
    tokenizer_folder: &dyn ByteSource,
    mimetic: bool,
    seed: u64,
) -> Result<(Actor, Vec<(String, Var)>)> {
    let config = T5Config::from_json(file, config.to_string().as_bytes())?;
    let tokenizer = tokenizer(tokenizer_folder)?;
    if let Some(pieces) = tokenizer.as_ref().map(|t| t.vocab_size()).filter(|pieces| *pieces > config.vocab_size) {
        let what = format!("vocab_size is {}, but the tokenizer has {pieces} tokens", config.vocab_size);
        return Err(Error::file(file, what, "set vocab_size to at least that number"));
    }
    let mut weights = fresh::t5(&config, seed)?;
    if mimetic {
        fresh::mimetic(&config, &mut weights)?;
    }
    let params = Params::trainable(weights);
    let none = NoTokenizer::of(tokenizer_folder, "google/flan-t5-base");
    Ok((actor(config, &params, tokenizer, none, seed)?, params.vars()))
}
