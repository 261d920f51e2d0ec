//! The models. They use token ids; strings are in `text`.

pub mod config;
pub mod generate;
pub mod policy;
pub mod reward;
pub mod roberta;
pub mod t5;

/// Whether a frozen tensor of a checkpoint may be stored in fewer bits than f32: embeddings and the matrices of linear layers.
/// Norms, biases, positions and relative biases are small and stay f32.
pub fn may_be_compact(name: &str, dims: &[usize]) -> bool {
    let small = ["relative_attention_bias", "position_embeddings", "token_type_embeddings"];
    dims.len() == 2 && name.ends_with(".weight") && !small.iter().any(|part| name.contains(part))
}
