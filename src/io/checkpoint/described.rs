//! What the checkpoint formats share: what a header says of a tensor, and who receives the tensors that are read. The formats
//! are `safetensors` and `torch`; which files a model has is decided in `weights`.

use super::dtype::Dtype;
use crate::error::{Error, Result};
use candle_core::Tensor;

/// What a checkpoint says of one of its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub name: String,
    pub shape: Vec<usize>,
    /// As it is stored.
    pub dtype: Dtype,
}

/// Takes a checkpoint's tensors by name, one after another.
pub type Taker<'a> = dyn FnMut(String, Tensor) -> Result<()> + 'a;

/// A clone made without git-lfs holds small text files where the weights should be.
pub(super) fn refuse_lfs_pointer(first_bytes: &[u8], path: &str) -> Result<()> {
    if first_bytes.starts_with(b"version ") {
        return Err(Error::file(path, "a git-lfs pointer, not the weights", "run `git lfs pull` in that folder"));
    }
    Ok(())
}
