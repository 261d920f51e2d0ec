//! What runs in a browser tab: the page, and the web worker that computes. They share `settings` and `protocol` only, and are
//! two programs.

#[cfg(feature = "page")]
pub mod page;
#[cfg(feature = "worker")]
pub mod worker;
