//! Models know token ids; strings belong to `text`.

pub mod config;
pub mod fresh;
pub mod generate;
pub mod policy;
pub mod reward;
pub mod roberta;
pub mod t5;
