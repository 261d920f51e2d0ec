//! The lab: its chapters as functions, the same behind both doors.

pub mod classification;
pub mod classifier;
pub mod evaluate;
pub mod events;
pub mod finetune;
pub mod head;
pub mod inspect;
pub mod memory;
pub mod models;
pub mod replay;
pub mod rollout;
pub mod run;
pub mod shipped;
pub mod statistics;
pub mod supervised;
pub mod table;
pub mod tokenizers;
pub mod train;
pub mod train_reward;
pub mod what_if;
