//! Compares our numbers with those of other implementations: layers, models, tokenizers and ROUGE with transformers, torch,
//! `rouge_score` and plain arithmetic.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

#[path = "../support/mod.rs"]
mod support;

mod candle_transformers;
mod norm;
mod precision;
mod roberta;
mod rouge;
mod supervised;
mod t5;
mod tape;
mod tokenizer;
