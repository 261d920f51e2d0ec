//! The engine in the page's web worker: takes requests one after the other, computes with the lab, and answers each exactly
//! once. It is plain Rust: it sees the browser as a [`Port`], and tests use another one. Messages are `protocol`'s.

mod accuracy;
pub mod browser;
mod convert;
mod data;
mod download;
mod files;
pub mod inbox;
mod keep;
pub mod kept_run;
mod lock;
mod network;
mod own_data;
mod port;
mod real;
pub mod remote;
mod reporter;
mod run;
mod session;
mod store;
mod store_download;

pub use port::{Got, Head, Heard, Lock, ModelFile, PartFile, Piece, Port};
pub use session::work;
