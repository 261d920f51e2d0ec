//! The browser door: the page (`app`, with its `chapters` and `parts`), what it holds (`state`, `address`, `recorded`),
//! its way to the engine (`client`), and the engine's side of that way (`worker`). The page knows `protocol` alone;
//! only `worker` touches the lab.

pub mod address;
pub mod app;
pub mod chapters;
pub mod client;
pub mod parts;
pub mod recorded;
pub mod state;
pub mod worker;
