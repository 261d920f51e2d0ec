//! Models and data before they are loaded. Opening a source reads its headers once, for the memory forecast ([`forecast`]),
//! loading, `info` and `doctor`. The caller finds the folder that an argument names.

pub mod adapter;
pub mod data;
pub mod forecast;
pub mod policy;
pub mod reward;
pub mod saved;
mod tables;
pub mod tokenizer;
