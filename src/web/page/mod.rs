//! The page: its chapters and their parts, its state (`state`, `draft`, `address`, `recorded`), what it displays (`content`),
//! and its connection to the worker (`engine`, `client`, `requests`, `channel`). It uses `settings` and `protocol`, not the engine.

pub mod address;
pub mod app;
pub mod browser;
pub mod channel;
pub mod chapters;
pub mod client;
pub mod content;
pub mod controls;
pub mod draft;
pub mod engine;
pub mod importer;
pub mod json;
pub mod lanes;
pub mod leash;
pub mod notices;
pub mod now;
pub mod parts;
pub mod rail;
pub mod reading;
pub mod recorded;
pub mod requests;
pub mod scroll;
pub mod state;
pub mod working;
