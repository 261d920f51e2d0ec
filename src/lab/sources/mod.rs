//! What a command works with, found once: models and data before they are loaded. Opening a source reads its headers; the
//! memory forecast ([`forecast`]), loading, `info` and `doctor` all use what was read then. Which folder an argument names is
//! found by the caller.

pub mod adapter;
pub mod data;
pub mod forecast;
pub mod policy;
pub mod reward;
pub mod saved;
mod tables;
pub mod tokenizer;
