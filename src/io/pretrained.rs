//! temp
use crate::error::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    F32,
    F16,
}
pub const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
pub fn files(
    config: &serde_json::Value,
    tensors: &BTreeMap<String, Tensor>,
    precision: Precision,
    extra: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = extra.clone();
    let t: BTreeMap<String, Tensor> = tensors
        .iter()
        .map(|(n, t)| {
            Ok((n.clone(), if precision == Precision::F16 { t.to_dtype(candle_core::DType::F16)? } else { t.clone() }))
        })
        .collect::<Result<_>>()?;
    out.insert("model.safetensors".into(), super::safetensors::to_bytes(&t)?);
    out.insert("config.json".into(), serde_json::to_vec_pretty(config).map_err(|e| Error::input(e, "report this"))?);
    Ok(out)
}
pub fn tokenizer_files(source: &dyn super::ByteSource) -> Result<BTreeMap<String, Vec<u8>>> {
    let there = TOKENIZER_FILES.into_iter().filter(|file| source.has(file));
    there.map(|file| Ok((file.to_string(), source.read(file)?))).collect()
}
