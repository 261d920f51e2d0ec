//! The engine in the page's web worker: takes requests one after the other, computes with the lab, and answers each exactly
//! once. It is plain Rust: it sees the browser as a [`Port`], and tests use another one. Messages are `protocol`'s.

mod accuracy;
pub mod browser;
mod convert;
mod data;
mod files;
pub mod inbox;
pub mod kept_run;
mod port;
mod real;
mod reporter;
mod run;
mod session;
mod store;

pub use port::{Got, ModelFile, Port};
pub use session::work;
