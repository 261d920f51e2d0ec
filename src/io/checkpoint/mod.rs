//! Checkpoints: the tensors of a model by name. Which files hold them is decided in `weights`, the formats are `safetensors` and
//! `torch`.

pub mod described;
pub mod dtype;
pub mod gguf;
pub mod gguf_model;
pub mod names;
pub mod pickle;
pub mod safetensors;
pub mod table;
pub mod torch;
pub mod weights;
