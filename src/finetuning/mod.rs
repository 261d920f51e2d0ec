//! Makes what the lab starts from: supervised training of policies, adapters and reward models, tokenizers, new weights.

pub mod classifier;
pub mod finetune;
pub mod fresh;
pub mod fresh_policy;
pub mod quality;
pub mod reward_model;
pub mod supervised;
pub mod tokenizer;
