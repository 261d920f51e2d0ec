//! Types shared by the checkpoint formats `safetensors` and `torch`: the description of a tensor, and the function that
//! receives tensors.

use super::dtype::Dtype;
use crate::error::{Error, Result};
use candle_core::Tensor;

/// A tensor's description in a checkpoint's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub name: String,
    pub shape: Vec<usize>,
    /// The stored number type.
    pub dtype: Dtype,
}

/// Receives a checkpoint's tensors by name, one after another.
pub type Taker<'a> = dyn FnMut(String, Tensor) -> Result<()> + 'a;

/// Refuses the small text files that a clone without git-lfs has instead of weights.
pub(super) fn refuse_lfs_pointer(first_bytes: &[u8], path: &str) -> Result<()> {
    if first_bytes.starts_with(b"version ") {
        return Err(Error::file(path, "a git-lfs pointer instead of weights", "run `git lfs pull` in that folder"));
    }
    Ok(())
}
