//! PPO: its parts one by one, whole steps on small models, and TRL's recorded steps.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod golden;
mod math;
mod replay;
mod step;
