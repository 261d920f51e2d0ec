//! The browser door: the page (`app`, with its `chapters` and `parts`), what it holds (`state`, `draft`, `address`,
//! `recorded`) and shows (`shown`), its way to the engine (`engine`, `client`, `requests`), and the engine's side of that
//! way (`worker`). The page knows `protocol` alone; only `worker` touches the lab.

pub mod address;
pub mod app;
pub mod browser;
pub mod chapters;
pub mod client;
pub mod controls;
pub mod draft;
pub mod engine;
pub mod notices;
pub mod parts;
pub mod place;
pub mod rail;
pub mod recorded;
pub mod requests;
pub mod shown;
pub mod state;
pub mod worker;
