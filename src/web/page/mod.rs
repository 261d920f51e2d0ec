//! The page: its chapters and their parts, what it holds (`state`, `draft`, `address`, `recorded`) and displays (`content`),
//! and its way to the worker (`engine`, `client`, `requests`). It knows `settings` and `protocol`, and nothing of the engine.

pub mod address;
pub mod app;
pub mod browser;
pub mod chapters;
pub mod client;
pub mod content;
pub mod controls;
pub mod draft;
pub mod engine;
pub mod notices;
pub mod parts;
pub mod rail;
pub mod recorded;
pub mod requests;
pub mod scroll;
pub mod state;
pub mod working;
