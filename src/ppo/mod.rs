//! Proximal policy optimization: numbers in, statistics out.

pub mod batch;
pub mod gae;
pub mod kl;
pub mod loss;
mod passes;
pub mod peers;
pub mod rewards;
mod schedule;
pub mod stages;
pub mod state;
pub mod stats;
pub mod step;
