//! The lab's chapters as functions, which the command line and the browser's worker call.

pub mod evaluate;
pub mod events;
mod exchange;
pub mod head;
pub mod memory;
pub mod models;
pub mod quantize;
pub mod replay;
pub mod responses;
pub mod rollout;
pub mod run;
pub mod same_policy;
pub mod shipped;
pub mod sources;
pub mod statistics;
pub mod table;
pub mod train;
pub mod what_if;
