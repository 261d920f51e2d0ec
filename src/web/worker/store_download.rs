//! Partial downloads in the browser's private file system: `models/KEY/download/FILE`, with `plan.json`, which is written first.

use super::files::{Files, said};
use super::port::PartFile;
use super::remote::{Plan, Remote};
use super::store::{Models, blob, failed, folder, remove_entry, text, writable};
use crate::error::{Error, Result};
use js_sys::Reflect;
use std::collections::BTreeMap;
use wasm_bindgen::prelude::*;
use web_sys::{FileSystemDirectoryHandle, FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

const DOWNLOAD: &str = "download";
const PLAN: &str = "plan.json";
const FULL: &str = "the browser's storage is full";
const FREE_STORAGE: &str = "remove models that you do not need, then continue: what was downloaded stays here";

impl Models {
    async fn download(&self, key: &str, create: bool) -> Result<FileSystemDirectoryHandle> {
        let model = folder(&self.root().await?, key, create).await?;
        folder(&model, DOWNLOAD, create).await
    }

    /// The plan of a partial download, with the bytes that are here.
    pub async fn plan(&self, key: &str) -> Option<Plan> {
        let download = self.download(key, false).await.ok()?;
        let mut plan: Plan = serde_json::from_str(&text(&download, PLAN).await.ok()?).ok()?;
        let mut here = 0;
        for file in &plan.remote.files {
            let size = blob(&download, &file.name).await.map_or(0.0, |blob| blob.size());
            here += (size as u64).min(file.bytes);
        }
        (plan.model.key, plan.model.downloaded) = (key.into(), Some(here));
        Some(plan)
    }

    /// Writes the plan of a download that begins.
    pub async fn set_plan(&self, plan: &Plan) -> Result<()> {
        self.end_download(&plan.model.key).await?;
        let download = self.download(&plan.model.key, true).await?;
        let json = serde_json::to_vec(plan).map_err(Error::bug)?;
        let mut file = Part(writable(&download, PLAN).await?);
        file.clear()?;
        file.append(0, &json)
    }

    /// A file of a download, to be continued.
    pub async fn part(&self, key: &str, name: &str) -> Result<Part> {
        Ok(Part(writable(&self.download(key, true).await?, name).await?))
    }

    /// The files of a download as a model's folder.
    pub async fn downloaded(&self, key: &str, remote: &Remote) -> Result<Files> {
        let download = self.download(key, false).await?;
        let mut files = BTreeMap::new();
        for file in &remote.files {
            files.insert(file.name.clone(), blob(&download, &file.name).await?);
        }
        Ok(Files::new(&remote.name, files))
    }

    /// Removes a download, if there is one.
    pub async fn end_download(&self, key: &str) -> Result<()> {
        let root = self.root().await?;
        let Ok(model) = folder(&root, key, false).await else { return Ok(()) };
        if folder(&model, DOWNLOAD, false).await.is_err() {
            return Ok(());
        }
        remove_entry(&model, DOWNLOAD).await
    }
}

/// A downloaded file, open for writing.
pub struct Part(FileSystemSyncAccessHandle);

fn at(position: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(position as f64);
    options
}

impl PartFile for Part {
    fn len(&self) -> Result<u64> {
        self.0.get_size().map(|size| size as u64).map_err(failed)
    }

    fn read(&mut self, position: u64, into: &mut [u8]) -> Result<usize> {
        let read = self.0.read_with_u8_array_and_options(into, &at(position));
        read.map(|n| n as usize).map_err(failed)
    }

    fn append(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        let written = self.0.write_with_u8_array_and_options(bytes, &at(position));
        match written {
            Ok(n) if n as usize == bytes.len() => Ok(()),
            Err(error) if !said(&error).to_lowercase().contains("quota") && !is_quota(&error) => Err(failed(error)),
            _ => Err(Error::input(FULL, FREE_STORAGE)),
        }
    }

    fn clear(&mut self) -> Result<()> {
        self.0.truncate_with_f64(0.0).map_err(failed)
    }
}

fn is_quota(error: &JsValue) -> bool {
    Reflect::get(error, &"name".into()).is_ok_and(|name| name == "QuotaExceededError")
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.close();
    }
}
