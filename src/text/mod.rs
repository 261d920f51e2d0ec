//! Strings: dialogues, prompts, tokenizers, ROUGE. Nothing here uses a model.

mod charsmap;
mod clean_up;
pub mod dialogue;
pub mod labelled;
pub mod prompt;
pub mod rouge;
pub mod rows;
pub mod stream;
pub mod texts;
pub mod tokenizer;
mod tokenizer_check;
