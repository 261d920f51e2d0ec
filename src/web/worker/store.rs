//! The models that this browser keeps, in its private file system (OPFS): `models/KEY/model.gguf`, and `record.json`, which is
//! written last. A folder without a readable record is partial: it counts as not there. With the plan of a download
//! (`store_download`) it can be continued; others are removed.

use super::files::{Files, said};
use super::lock::lock;
use super::port::ModelFile;
use crate::error::{Error, Result};
use crate::io::checkpoint::gguf_model::WEIGHTS;
use crate::protocol::KeptModel;
use js_sys::{AsyncIterator, Promise, Reflect, Uint8Array};
use std::collections::BTreeMap;
use std::io::{self, Write};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemRemoveOptions, FileSystemSyncAccessHandle, StorageEstimate, StorageManager,
};

const MODELS: &str = "models";
const RECORD: &str = "record.json";
/// What is not in the record, which is written once: when the model was last loaded, in seconds since 1970, and what its number
/// type costs in accuracy.
pub const USED: &str = "used";
pub const ACCURACY: &str = "accuracy";

/// The browser's storage of models.
pub struct Models(pub StorageManager);

impl Models {
    /// The folder of all models.
    pub async fn root(&self) -> Result<FileSystemDirectoryHandle> {
        if !Reflect::has(&self.0, &"getDirectory".into()).unwrap_or(false) {
            return Err(Error::input("this browser cannot keep files for a page", "use a newer browser"));
        }
        let root: FileSystemDirectoryHandle = waited(self.0.get_directory()).await?.unchecked_into();
        folder(&root, MODELS, true).await
    }

    /// Every model with a record, and partial downloads.
    pub async fn all(&self) -> Result<Vec<KeptModel>> {
        Ok(self.whole_and_partial().await?.0)
    }

    /// Every model with a record or a download, and the folders with neither.
    async fn whole_and_partial(&self) -> Result<(Vec<KeptModel>, Vec<String>)> {
        let root = self.root().await?;
        let names: AsyncIterator = root.keys();
        let (mut models, mut partial) = (Vec::new(), Vec::new());
        loop {
            let next = waited(names.next().map_err(failed)?).await?;
            if Reflect::get(&next, &"done".into()).is_ok_and(|done| done.is_truthy()) {
                return Ok((models, partial));
            }
            let Some(key) = Reflect::get(&next, &"value".into()).ok().and_then(|name| name.as_string()) else {
                continue;
            };
            match record(&root, &key).await {
                Ok(model) => models.push(model),
                Err(_) => match self.plan(&key).await {
                    Some(plan) => models.push(plan.model),
                    None => partial.push(key),
                },
            }
        }
    }

    /// The folder of a model.
    pub async fn open(&self, key: &str, name: &str) -> Result<Files> {
        let folder = folder(&self.root().await?, key, false).await?;
        let file = blob(&folder, WEIGHTS).await?;
        Ok(Files::new(name, BTreeMap::from([(WEIGHTS.to_string(), file)])))
    }

    /// A model's folder with an empty file to write. A download in it stays.
    pub async fn create(&self, key: &str) -> Result<NewModel> {
        self.tidy().await?;
        self.clear(key).await?;
        let folder = folder(&self.root().await?, key, true).await?;
        let (file, record) = (writable(&folder, WEIGHTS).await?, writable(&folder, RECORD).await?);
        Ok(NewModel { file, record })
    }

    /// Removes a model's file and record, if they are there.
    pub async fn clear(&self, key: &str) -> Result<()> {
        let Ok(folder) = folder(&self.root().await?, key, false).await else { return Ok(()) };
        for name in [RECORD, WEIGHTS, USED] {
            if file(&folder, name, false).await.is_ok() {
                remove_entry(&folder, name).await?;
            }
        }
        Ok(())
    }

    /// Removes a model's folder, if it is there, and partial ones.
    pub async fn remove(&self, key: &str) -> Result<()> {
        self.tidy().await?;
        let root = self.root().await?;
        if folder(&root, key, false).await.is_err() {
            return Ok(());
        }
        remove_entry(&root, key).await
    }

    /// Removes the folders that have neither a record nor a download, and that no tab is writing.
    async fn tidy(&self) -> Result<()> {
        for partial in self.whole_and_partial().await?.1 {
            if let Some(_lock) = lock(&partial).await? {
                drop(remove_entry(&self.root().await?, &partial).await); // the next time tries again
            }
        }
        Ok(())
    }

    /// Writes a short file beside a model.
    pub async fn note(&self, key: &str, file: &str, text: &str) -> Result<()> {
        let folder = folder(&self.root().await?, key, false).await?;
        let note = writable(&folder, file).await?;
        let written = note.truncate_with_f64(0.0).and_then(|()| note.write_with_u8_array(text.as_bytes()));
        note.close();
        written.map(drop).map_err(failed)
    }

    /// Bytes that the storage has left, after partial models are removed.
    pub async fn free(&self) -> Option<u64> {
        drop(self.tidy().await);
        let estimate: StorageEstimate = waited(self.0.estimate().ok()?).await.ok()?.unchecked_into();
        Some((estimate.get_quota()? - estimate.get_usage()?).max(0.0) as u64)
    }
}

async fn record(root: &FileSystemDirectoryHandle, key: &str) -> Result<KeptModel> {
    let folder = folder(root, key, false).await?;
    let text = text(&folder, RECORD).await?;
    let mut model: KeptModel = serde_json::from_str(&text).map_err(|e| Error::file(key, e, "remove the model"))?;
    let used = self::text(&folder, USED).await.ok().and_then(|text| text.parse().ok());
    model.used = used.unwrap_or(model.used);
    model.accuracy = self::text(&folder, ACCURACY).await.unwrap_or_default();
    Ok(model)
}

/// A model that is being written: its two files are open until the record is whole, so that no other tab removes the folder.
pub struct NewModel {
    file: FileSystemSyncAccessHandle,
    record: FileSystemSyncAccessHandle,
}

impl Write for NewModel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_with_u8_array(bytes).map_err(refused)?;
        if written < 1.0 && !bytes.is_empty() {
            return Err(io::Error::other("the browser's storage is full"));
        }
        Ok(written as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(refused)
    }
}

impl ModelFile for NewModel {
    fn finish(&mut self, record: &KeptModel) -> Result<()> {
        let json = serde_json::to_vec(record).map_err(Error::bug)?;
        let whole = |written: f64| written as usize == json.len();
        self.file.flush().map_err(failed)?;
        let size = self.file.get_size().map_err(failed)?;
        if size as u64 != record.bytes || !whole(self.record.write_with_u8_array(&json).map_err(failed)?) {
            return Err(Error::input("the browser's storage is full", "remove models that you do not need"));
        }
        self.record.flush().map_err(failed)
    }
}

impl Drop for NewModel {
    fn drop(&mut self) {
        self.file.close();
        self.record.close();
    }
}

/// Removes a file, or a folder with all that is in it.
pub async fn remove_entry(parent: &FileSystemDirectoryHandle, name: &str) -> Result<()> {
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    waited(parent.remove_entry_with_options(name, &options)).await.map(drop)
}

pub async fn folder(parent: &FileSystemDirectoryHandle, name: &str, create: bool) -> Result<FileSystemDirectoryHandle> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(create);
    Ok(waited(parent.get_directory_handle_with_options(name, &options)).await?.unchecked_into())
}

async fn file(folder: &FileSystemDirectoryHandle, name: &str, create: bool) -> Result<FileSystemFileHandle> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    Ok(waited(folder.get_file_handle_with_options(name, &options)).await?.unchecked_into())
}

pub async fn blob(folder: &FileSystemDirectoryHandle, name: &str) -> Result<Blob> {
    Ok(waited(file(folder, name, false).await?.get_file()).await?.unchecked_into())
}

pub async fn text(folder: &FileSystemDirectoryHandle, name: &str) -> Result<String> {
    let bytes = Uint8Array::new(&waited(blob(folder, name).await?.array_buffer()).await?).to_vec();
    String::from_utf8(bytes).map_err(|e| Error::file(name, e, "remove the model"))
}

/// A file that only this worker can write until it is closed.
pub async fn writable(folder: &FileSystemDirectoryHandle, name: &str) -> Result<FileSystemSyncAccessHandle> {
    let opened = waited(file(folder, name, true).await?.create_sync_access_handle()).await;
    let handle =
        opened.map_err(|e| Error::input(e.what(), "another tab may be writing this model: wait until it has ended"))?;
    Ok(handle.unchecked_into())
}

pub async fn waited(promise: Promise) -> Result<JsValue> {
    JsFuture::from(promise).await.map_err(failed)
}

pub fn failed(error: JsValue) -> Error {
    let hint = "free some storage or leave private browsing, then try again";
    Error::input(format!("this browser's storage of models: {}", said(&error)), hint)
}

fn refused(error: JsValue) -> io::Error {
    let name = Reflect::get(&error, &"name".into()).ok().and_then(|name| name.as_string());
    match name.as_deref() {
        Some("QuotaExceededError") => io::Error::other("the browser's storage is full"),
        _ => io::Error::other(said(&error)),
    }
}
