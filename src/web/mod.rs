//! What runs in a browser tab: the page, and the web worker that computes. They are two programs and share only `settings`
//! and `protocol`.

#[cfg(feature = "page")]
pub mod page;
#[cfg(feature = "worker")]
pub mod worker;
