//! detox-lab: shows and runs reinforcement learning from a reward model.
//!
//! The stages of a PPO step: dialogue → prompt → tokens → generate → reward → log-probs, reference, value → per-token rewards →
//! advantages → loss, backward → optimizer → stats → chart.

pub mod encoding;
pub mod error;
pub mod pace;

pub mod protocol;
pub mod settings;

#[cfg(feature = "engine")]
pub mod finetuning;
#[cfg(feature = "engine")]
pub mod io;
#[cfg(feature = "kernels")]
pub mod kernels;
#[cfg(feature = "engine")]
pub mod lab;
#[cfg(feature = "engine")]
pub mod model;
#[cfg(feature = "engine")]
pub mod nn;
#[cfg(feature = "engine")]
pub mod ppo;
#[cfg(feature = "engine")]
pub mod text;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "page", feature = "worker"))]
pub mod web;

pub use error::{Error, Result};
