//! What the worker needs from the environment it runs in: messages, a clock, files, and storage for one run.

use super::kept_run::Changes;
use super::remote::{Fault, Plan, Remote};
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::protocol::{KeptModel, Reply};
use std::any::Any;
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

/// A downloaded file that may be partial. It is closed when it is dropped.
#[allow(clippy::len_without_is_empty)]
pub trait PartFile {
    /// Its length.
    fn len(&self) -> Result<u64>;
    /// Reads from a position on; 0 at the end.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize>;
    /// Adds all of `bytes` at the end, which is at `at`.
    fn append(&mut self, at: u64, bytes: &[u8]) -> Result<()>;
    /// Removes its content.
    fn clear(&mut self) -> Result<()>;
}

/// The start of a server's answer.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// 200 or 206.
    pub status: u16,
    /// The first byte that is sent, and the file's length, where the server lets a page read them.
    pub from: Option<u64>,
    pub total: Option<u64>,
}

/// A piece of a server's answer: its head, then bytes; and the seconds in which nothing came.
#[derive(Debug)]
pub enum Piece<'a> {
    Head(Head),
    Bytes(&'a [u8]),
    Silence(f64),
}

/// Called with every piece of an answer. An error from it ends the request.
pub type Heard<'a, P> = &'a mut dyn FnMut(&mut P, &Piece<'_>) -> std::result::Result<(), Fault>;

/// A lock on a model's folder, against other tabs; released when it is dropped.
pub type Lock = Box<dyn Any>;

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

    /// The models that this browser keeps, and partial downloads. A place without such storage leaves this and what follows out.
    fn models(&mut self) -> impl Future<Output = Result<Vec<KeptModel>>> {
        async { Ok(Vec::new()) }
    }

    /// The folder of a kept model, in which its file is `model.gguf`; `name` is for messages.
    fn model(&mut self, _key: &str, _name: &str) -> impl Future<Output = Result<Box<dyn ByteSource>>> {
        async { Err(no_storage()) }
    }

    /// Begins to write a model's file; a kept model of the same key is removed, but not a download.
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

    /// Removes a model's file and record, but not its download.
    fn clear_model(&mut self, key: &str) -> impl Future<Output = Result<()>> {
        self.remove_model(key)
    }

    /// Locks a model's folder; none if another tab or worker has it for more than a moment.
    fn lock(&mut self, _key: &str) -> impl Future<Output = Result<Option<Lock>>> {
        async { Ok(Some(Box::new(()) as Lock)) }
    }

    /// Waits.
    fn sleep(&mut self, _seconds: f64) -> impl Future<Output = ()> {
        async {}
    }

    /// Asks a server for a file, or for the bytes of a range (its end is included; none: to the file's end).
    fn request(
        &mut self,
        _url: &str,
        _range: Option<(u64, Option<u64>)>,
        _heard: Heard<'_, Self>,
    ) -> impl Future<Output = std::result::Result<(), Fault>> {
        async { Err(Fault::Network("no network here".into())) }
    }

    /// A model on a server as a folder, of which only those parts are downloaded that are read.
    fn remote(&mut self, _remote: &Remote) -> Result<Box<dyn ByteSource>> {
        Err(no_storage())
    }

    /// The plan of a partial download.
    fn plan(&mut self, _key: &str) -> impl Future<Output = Option<Plan>> {
        async { None }
    }

    /// Writes the plan of a download that begins.
    fn set_plan(&mut self, _plan: &Plan) -> impl Future<Output = Result<()>> {
        async { Err(no_storage()) }
    }

    /// A file of a download, to be continued.
    fn part(&mut self, _key: &str, _file: &str) -> impl Future<Output = Result<Box<dyn PartFile>>> {
        async { Err(no_storage()) }
    }

    /// The folder of a download, after all its files are here.
    fn downloaded(&mut self, _key: &str, _remote: &Remote) -> impl Future<Output = Result<Box<dyn ByteSource>>> {
        async { Err(no_storage()) }
    }

    /// Removes a download.
    fn end_download(&mut self, _key: &str) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
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
