//! The engine in the page's web worker: takes requests one after the other, computes with the lab, and answers each exactly
//! once. It is plain Rust: it sees the browser as a [`Port`], and tests use another one. Messages are `protocol`'s.

pub mod browser;
mod convert;
pub mod inbox;
pub mod kept_run;
mod port;
mod reporter;
mod run;
mod session;

pub use port::{Got, Port};
pub use session::work;
