//! What the worker needs from the environment it runs in: messages, a clock, files, and storage for one run.

use super::kept_run::Changes;
use crate::error::Result;
use crate::protocol::Reply;
use std::collections::BTreeMap;
use std::future::Future;

/// Called with the number of bytes that have arrived since the last call.
pub type Got<'a, P> = &'a mut dyn FnMut(&mut P, u64) -> Result<()>;

/// What the worker needs from the environment it runs in.
pub trait Port: Sized {
    /// Sends a reply to the page, with bytes beside it where it has some.
    fn reply(&mut self, reply: &Reply, bytes: Option<&[u8]>);

    /// Seconds on a clock that never goes back.
    fn seconds(&self) -> f64;

    /// Seconds since 1970.
    fn unix_seconds(&self) -> f64;

    /// Lets the browser deliver waiting messages.
    fn breathe(&mut self) -> impl Future<Output = ()>;

    /// The bytes of files that ship with the page, such as `models/policy/config.json`, in the order of `paths`. `got` is
    /// called for every chunk, and with 0 while nothing arrives; an error from it ends the whole download.
    fn fetch(&mut self, paths: &[String], got: Got<'_, Self>) -> impl Future<Output = Result<Vec<Vec<u8>>>>;

    /// The files of the saved run; empty if there is none.
    fn kept(&mut self) -> impl Future<Output = Result<BTreeMap<String, Vec<u8>>>>;

    /// Saves a run's changes under a new stamp, or the whole run if what is saved is not the run that they change
    /// ([`Changes::apply`]). With an error nothing is changed.
    fn keep(
        &mut self,
        changes: Changes,
        whole: &BTreeMap<String, Vec<u8>>,
        stamp: &[u8],
    ) -> impl Future<Output = Result<()>>;
}
