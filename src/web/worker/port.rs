//! What the worker needs from the environment it runs in: messages, a clock, files, and storage for one run.

use super::kept_run::Changes;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::protocol::{KeptModel, Reply};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;

/// Called with the number of bytes that have arrived since the last call.
pub type Got<'a, P> = &'a mut dyn FnMut(&mut P, u64) -> Result<()>;

/// A model's file that is being written. Dropped before it is finished, it is partial and counts as not there.
pub trait ModelFile: Write {
    /// Makes the model whole: writes its record, after all of the file.
    ///
    /// # Errors
    /// The storage is full or refuses.
    fn finish(&mut self, record: &KeptModel) -> Result<()>;
}

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

    /// The models that this browser keeps, without partial ones. A place without such storage leaves this and what follows out.
    fn models(&mut self) -> impl Future<Output = Result<Vec<KeptModel>>> {
        async { Ok(Vec::new()) }
    }

    /// The folder of a kept model, in which its file is `model.gguf`; `name` is for messages.
    fn model(&mut self, _key: &str, _name: &str) -> impl Future<Output = Result<Box<dyn ByteSource>>> {
        async { Err(no_storage()) }
    }

    /// Begins to write a model's file; a kept model of the same key is removed.
    fn new_model(&mut self, _key: &str) -> impl Future<Output = Result<Box<dyn ModelFile>>> {
        async { Err(no_storage()) }
    }

    /// Notes that a model was loaded now.
    fn model_used(&mut self, _key: &str) -> impl Future<Output = ()> {
        async {}
    }

    /// Notes what a model's number type costs in accuracy.
    fn model_accuracy(&mut self, _key: &str, _words: &str) -> impl Future<Output = ()> {
        async {}
    }

    /// Removes a model, whole or partial, if it is there.
    fn remove_model(&mut self, _key: &str) -> impl Future<Output = Result<()>> {
        async { Err(no_storage()) }
    }

    /// Bytes that the storage has left, where the browser tells.
    fn free(&mut self) -> impl Future<Output = Option<u64>> {
        async { None }
    }

    /// Bytes of memory that this worker has taken, where that is known.
    fn memory(&self) -> Option<u64> {
        None
    }
}

fn no_storage() -> Error {
    Error::input("there is no storage for models here", "use a newer browser, and no private window")
}
