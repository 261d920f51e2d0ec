//! Files of this machine or of the browser's storage as a model's folder. They are read in parts by `FileReaderSync`, which only
//! workers have, so that no file is held whole.

use super::inbox::Folder;
use crate::error::{Error, Result};
use crate::io::{ByteSource, ReadSeek};
use crate::protocol::{Incoming, Role};
use js_sys::{Array, Reflect, Uint8Array};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, FileReaderSync};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Files by name.
pub struct Files {
    name: String,
    files: BTreeMap<String, Blob>,
}

impl Files {
    /// A folder called `name` of these files.
    pub fn new(name: &str, files: BTreeMap<String, Blob>) -> Self {
        Self { name: name.into(), files }
    }

    /// The models' folders from `[role, name, File]` as the page posts them; other forms are ignored. A model that is downloaded
    /// has an empty one.
    pub fn received(files: &Array, models: &[Incoming]) -> Vec<Folder> {
        let folder = |model: &Incoming| {
            let mut of = BTreeMap::new();
            for entry in files.iter().filter_map(|entry| entry.dyn_into::<Array>().ok()) {
                let (role, name) = (entry.get(0).as_string(), entry.get(1).as_string());
                if let (Some(role), Some(name), Ok(file)) = (role, name, entry.get(2).dyn_into::<Blob>())
                    && role == Self::role(model.role)
                {
                    of.insert(name, file);
                }
            }
            Folder { names: of.keys().cloned().collect(), source: Box::new(Self::new(&model.name, of)) }
        };
        models.iter().map(folder).collect()
    }

    fn role(role: Role) -> &'static str {
        match role {
            Role::Policy => "policy",
            Role::Reward => "reward",
        }
    }
}

impl ByteSource for Files {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        let Some(blob) = self.files.get(file) else {
            return Err(Error::file(
                self.path(file),
                "no such file",
                "choose all files of the model; for a folder tick “whole folders instead of files” first",
            ));
        };
        Ok(Box::new(BufReader::with_capacity(CHUNK, Parts { blob, at: 0 })))
    }
}

/// A file's bytes from any position.
struct Parts<'a> {
    blob: &'a Blob,
    at: u64,
}

impl Read for Parts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let end = self.at.saturating_add(into.len() as u64).min(self.blob.size() as u64);
        if end <= self.at || into.is_empty() {
            return Ok(0);
        }
        let failed = |error: JsValue| io::Error::other(said(&error));
        let part = self.blob.slice_with_f64_and_f64(self.at as f64, end as f64).map_err(failed)?;
        let bytes = FileReaderSync::new().and_then(|reader| reader.read_as_array_buffer(&part)).map_err(failed)?;
        let bytes = Uint8Array::new(&bytes);
        let n = bytes.length() as usize;
        bytes.copy_to(&mut into[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Parts<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.blob.size() as u64, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = base.checked_add_signed(by).ok_or_else(|| io::Error::other("a position before the file"))?;
        Ok(self.at)
    }
}

/// The message of a JavaScript error.
pub fn said(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|m| m.as_string());
    message.filter(|m| !m.is_empty()).unwrap_or_else(|| "no reason given".into())
}
