//! The program `detox-lab`, as a user runs it, and the models that ship with it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod commands;
mod doctor;
mod finetune;
mod precision;
mod reward;
mod run;
mod shipped;
mod snapshots;
mod tokenizer;
