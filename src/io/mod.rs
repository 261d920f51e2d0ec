//! Files and the tensors in them, by name: disk, hub, checkpoints, PEFT folders. Nothing here uses a model.

pub mod adapter;
pub mod adapter_config;
pub mod checkpoint;
pub mod hub_id;
pub mod pretrained;
pub mod tensorboard;
pub mod value_head;
pub mod zip;

#[cfg(feature = "cli")]
pub mod claim;
#[cfg(feature = "cli")]
pub mod disk;
#[cfg(feature = "cli")]
pub mod hub;
#[cfg(feature = "cli")]
pub mod transfer;

use crate::encoding;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Cursor, Read, Seek};

/// A file's bytes, readable from any position, so that large files need not be in memory.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A file that stays open while parts of it may be needed.
pub trait Lasting: Debug + Send + Sync {
    /// Fills each part from its position on.
    ///
    /// # Errors
    /// A file that cannot be read or has changed since it was opened; names it.
    fn read_parts(&self, parts: &mut dyn Iterator<Item = (u64, &mut [u8])>) -> Result<()>;
}

/// A model or adapter folder, read by file name: natively a folder on disk, in the browser downloaded bytes.
pub trait ByteSource {
    /// The folder's name, at the start of messages about its files.
    fn name(&self) -> String;

    /// Whether there is a file with this name.
    fn has(&self, file: &str) -> bool;

    /// Opens `file` at its first byte; an error names the file.
    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>>;

    /// Opens `file` to be kept open; none if the folder's files are in memory.
    fn open_to_last(&self, _file: &str) -> Result<Option<Box<dyn Lasting>>> {
        Ok(None)
    }

    /// The path of `file`, for messages.
    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.name())
    }

    /// All bytes of `file`; for small files.
    fn read(&self, file: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open(file)?.read_to_end(&mut bytes);
        read.map_err(|e| Error::file(self.path(file), e, "check the disk and the file's permissions"))?;
        Ok(bytes)
    }

    /// `file` as JSON.
    fn read_json(&self, file: &str) -> Result<serde_json::Value> {
        serde_json::from_slice(&encoding::json(&self.read(file)?)).map_err(|e| {
            Error::file(self.path(file), format!("not valid JSON: {e}"), "download or write the file again")
        })
    }
}

impl<T: ByteSource + ?Sized> ByteSource for &T {
    fn name(&self) -> String {
        (**self).name()
    }

    fn has(&self, file: &str) -> bool {
        (**self).has(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        (**self).open(file)
    }

    fn open_to_last(&self, file: &str) -> Result<Option<Box<dyn Lasting>>> {
        (**self).open_to_last(file)
    }

    fn path(&self, file: &str) -> String {
        (**self).path(file)
    }
}

/// Files by name in memory: downloaded by the browser, or made by tests.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub name: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// A folder with this name and these files.
    pub fn new(name: impl Into<String>, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { name: name.into(), files }
    }
}

impl ByteSource for Memory {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        match self.files.get(file) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes.as_slice()))),
            None => Err(Error::file(self.path(file), "no such file", "check that the folder is complete")),
        }
    }
}

/// Whether `name` is a plain relative path with `/` between its parts, which is safe to write inside a folder.
pub fn is_safe_name(name: &str) -> bool {
    let part_ok = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(part_ok) && !name.contains(['\\', ':', '\0'])
}
