//! Files and the tensors in them, by name: disk, hub, checkpoints, PEFT folders. Nothing here uses a model.

pub mod adapter;
pub mod adapter_config;
pub mod checkpoint;
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

/// A file's bytes that can be read from any position, so that large files are never held whole.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A file that stays open for as long as something of it may be wanted.
pub trait Lasting: Debug + Send + Sync {
    /// Fills each of the parts from its first byte on.
    ///
    /// # Errors
    /// Names the file, which cannot be read or is not what it was when it was opened.
    fn read_parts(&self, parts: &mut dyn Iterator<Item = (u64, &mut [u8])>) -> Result<()>;
}

/// A model or adapter folder, read by file name. Natively a folder on disk, in the browser fetched bytes.
pub trait ByteSource {
    /// What a person would call this folder; it opens every message about its files.
    fn name(&self) -> String;

    /// Is there a file of this name?
    fn has(&self, file: &str) -> bool;

    /// Opens `file` at its first byte; an error names the file.
    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>>;

    /// Opens `file` to stay open; none where a folder's files are in memory anyway.
    fn open_to_last(&self, _file: &str) -> Result<Option<Box<dyn Lasting>>> {
        Ok(None)
    }

    /// `file` as it stands in messages.
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
        serde_json::from_slice(&encoding::json(&self.read(file)?))
            .map_err(|e| Error::file(self.path(file), format!("not valid JSON: {e}"), "fetch or write the file again"))
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

/// Files by name in memory: what the browser fetched, and what tests make up.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub name: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// A folder called `name` of these files.
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

/// Is `name` a plain relative path with `/` between its parts, safe to write below a folder of our choice?
pub fn is_safe_name(name: &str) -> bool {
    let part_ok = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(part_ok) && !name.contains(['\\', ':', '\0'])
}
