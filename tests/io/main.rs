//! Reading and writing files: checkpoints, adapters, zips, folders on disk, and the Hugging Face hub.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod adapter;
mod disk;
mod gguf;
mod hub;
mod hub_faults;
mod table;
mod torch;
mod weights;
mod zip;
