//! The value head's file: TRL's names `v_head.summary.weight` (1, D) and `v_head.summary.bias` (1), alone in
//! `value_head.safetensors`, or among the tensors of a checkpoint that TRL saved, in one file or in shards.

use super::ByteSource;
use super::checkpoint::names::unwrapped;
use super::checkpoint::{safetensors, weights};
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// The file we write.
pub const VALUE_HEAD_FILE: &str = "value_head.safetensors";
const WEIGHT: &str = "v_head.summary.weight";
const BIAS: &str = "v_head.summary.bias";

/// A linear layer from the last hidden state (…, D) to one value.
#[derive(Debug, Clone)]
pub struct SavedHead {
    /// (1, D), f32
    pub weight: Tensor,
    /// (1), f32
    pub bias: Tensor,
}

impl SavedHead {
    /// Reads the head from `file`: `value_head.safetensors`, TRL's `pytorch_model.bin` or `model.safetensors`, or the index of
    /// its shards. Loads only the head's tensors.
    pub fn read(source: &dyn ByteSource, file: &str) -> Result<Self> {
        Self::read_from(source, file)?.ok_or_else(|| {
            Error::file(
                source.path(file),
                format!("no value head: {WEIGHT} and {BIAS} are missing"),
                "use the value_head.safetensors of a run, or the pytorch_model.bin that TRL saved",
            )
        })
    }

    /// The head in the folder of a run, an adapter or TRL, if there is one.
    pub fn find(source: &dyn ByteSource) -> Result<Option<Self>> {
        for file in [VALUE_HEAD_FILE].into_iter().chain(weights::WEIGHT_FILES) {
            if source.has(file)
                && let Some(head) = Self::read_from(source, file)?
            {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn read_from(source: &dyn ByteSource, file: &str) -> Result<Option<Self>> {
        let wanted = |name: &str| [WEIGHT, BIAS].contains(&&*unwrapped(name));
        let files = if file.ends_with(".index.json") {
            let mut map = weights::weight_map(source, file)?;
            map.retain(|name, _| wanted(name));
            weights::shards(&map)
        } else {
            vec![file.to_string()]
        };
        let mut tensors = BTreeMap::new();
        for file in files {
            let stored = weights::load_file(source, &file, &wanted)?.into_iter();
            tensors.extend(stored.map(|(name, tensor)| (unwrapped(&name).into_owned(), tensor)));
        }
        let wrong = |what: String| Error::file(source.path(file), what, "give a head of shapes (1, model width), (1)");
        let (weight, bias) = match (tensors.remove(WEIGHT), tensors.remove(BIAS)) {
            (Some(weight), Some(bias)) => (weight, bias),
            (None, None) => return Ok(None),
            _ => return Err(wrong(format!("one of {WEIGHT} and {BIAS} is missing"))),
        };
        if !matches!(weight.dims(), [1, width] if *width > 0) || bias.dims() != [1] {
            return Err(wrong(format!("{WEIGHT} {:?} and {BIAS} {:?} are no value head", weight.dims(), bias.dims())));
        }
        Ok(Some(Self { weight, bias }))
    }

    /// The bytes of `value_head.safetensors`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = [(WEIGHT, &self.weight), (BIAS, &self.bias)];
        safetensors::to_bytes(&tensors.map(|(name, tensor)| (name.to_string(), tensor.clone())).into())
    }
}
