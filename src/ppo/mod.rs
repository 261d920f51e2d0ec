//! Proximal policy optimization: numbers in, statistics out.

pub mod batch;
pub mod config;
pub mod gae;
pub mod kl;
pub mod loss;
pub mod merge;
pub mod presets;
pub mod rewards;
pub mod rooms;
pub mod state;
pub mod stats;
pub mod step;
pub mod trl;
