//! Text knows strings and ids; it knows no model.

pub mod dialogue;
pub mod labelled;
pub mod prompt;
pub mod rouge;
pub mod stream;
pub mod texts;
pub mod tokenizer;
pub mod train_tokenizer;
