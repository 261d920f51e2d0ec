//! Models know token ids; strings belong to `text`.

pub mod config;
pub mod generate;
pub mod policy;
pub mod reward;
pub mod roberta;
pub mod t5;

/// Whether a frozen tensor of a checkpoint may be held in fewer bits than f32: embeddings and the matrices of linear
/// layers. Norms, biases, positions and relative biases are small, and stay.
pub fn may_be_compact(name: &str, dims: &[usize]) -> bool {
    let small = ["relative_attention_bias", "position_embeddings", "token_type_embeddings"];
    dims.len() == 2 && name.ends_with(".weight") && !small.iter().any(|part| name.contains(part))
}
