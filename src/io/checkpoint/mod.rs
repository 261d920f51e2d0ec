//! Checkpoints: the tensors of a model by name. `weights` finds the files; `safetensors` and `torch` are the formats.

pub mod described;
pub mod dtype;
pub mod gguf;
pub mod gguf_model;
pub mod names;
pub mod pickle;
pub mod pieces;
pub mod safetensors;
pub mod table;
pub mod torch;
pub mod weights;
