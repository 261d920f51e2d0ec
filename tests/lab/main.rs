//! The lab as a library: data, rollouts, statistics, tables, supervised training and resuming.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod dialogue;
mod peers;
mod rollout;
mod statistics;
mod supervised;
mod table;
