//! detox-lab: reinforcement learning from a reward model, to look at and to run.
//!
//! One PPO step, room by room:
//! dialogue → prompt → tokens → generate → reward → log-probs, reference, value → per-token rewards → advantages →
//! loss, backward → optimizer → stats → chart.

pub mod encoding;
pub mod error;
pub mod pace;

pub mod finetuning;
pub mod io;
pub mod kernels;
pub mod lab;
pub mod model;
pub mod nn;
pub mod ppo;
pub mod settings;
pub mod text;

pub mod protocol;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "web")]
pub mod web;

pub use error::{Error, Result};
