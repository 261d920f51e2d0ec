//! The engine in the page's web worker: takes requests one after the other, computes with the lab, and answers each exactly
//! once. It is plain Rust: the browser is a [`Port`] (`browser`), and a test is another one. Messages are `protocol`'s.

pub mod browser;
mod convert;
pub mod inbox;
pub mod kept_run;
mod reporter;
mod run;
mod session;

pub use session::work;

use crate::error::Result;
use crate::protocol::Reply;
use kept_run::Changes;
use std::collections::BTreeMap;
use std::future::Future;

/// Told how many bytes have come since it was told last.
pub type Got<'a, P> = &'a mut dyn FnMut(&mut P, u64) -> Result<()>;

/// What the worker needs from the environment it runs in.
pub trait Port: Sized {
    /// Sends a reply to the page, with bytes beside it where it has some.
    fn reply(&mut self, reply: &Reply, bytes: Option<&[u8]>);

    /// Seconds on a clock that never goes back.
    fn seconds(&self) -> f64;

    /// Seconds since 1970.
    fn unix_seconds(&self) -> f64;

    /// Lets waiting messages arrive.
    fn breathe(&mut self) -> impl Future<Output = ()>;

    /// The bytes of files that ship with the page, such as `models/policy/config.json`, in the paths' order. They may travel
    /// side by side; `got` is told of every bunch of bytes as it comes, and of none while none come; an error from it ends
    /// all of them.
    fn fetch(&mut self, paths: &[String], got: Got<'_, Self>) -> impl Future<Output = Result<Vec<Vec<u8>>>>;

    /// The run that was kept; no files: none was.
    fn kept(&mut self) -> impl Future<Output = Result<BTreeMap<String, Vec<u8>>>>;

    /// Keeps a run's changes, or the whole run where what is kept is not what they change, under a new stamp
    /// ([`Changes::apply`]): all of it or, with an error, none.
    fn keep(
        &mut self,
        changes: Changes,
        whole: &BTreeMap<String, Vec<u8>>,
        stamp: &[u8],
    ) -> impl Future<Output = Result<()>>;
}
