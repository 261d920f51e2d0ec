//! The commands of `detox-lab`: one file for each, with its arguments and what it does.

pub mod compare;
pub mod doctor;
pub mod evaluate;
pub mod finetune;
pub mod info;
pub mod logprobs;
pub mod merge;
pub mod quantize;
pub mod replay;
pub mod score;
pub mod summarize;
pub mod train;
pub mod train_reward;
pub mod train_tokenizer;
