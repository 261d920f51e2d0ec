//! Finds models and datasets by name (native only): a local folder, or a Hugging Face hub id with its cache. Decides which
//! files are needed and where they are; `transfer` downloads them.
//!
//! Source of the cache's layout: huggingface_hub, "Understand caching".
#![allow(clippy::disallowed_methods)]

pub mod settings;

pub use self::settings::Hub;
use super::ByteSource;
use super::checkpoint::weights;
use super::disk::{self, Folder};
pub use super::hub_id::RepoKind;
use super::hub_id::{ENDPOINT, HubId};
use super::transfer::{Fault, Transfer, Watch};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The files that are needed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The first existing file of each group; none is an error. With an index (`*.index.json`), its shards are downloaded too.
    pub one_of: &'a [&'a [&'a str]],
    /// Downloaded if they exist.
    pub optional: &'a [&'a str],
}

/// A model: configuration and weights, and its tokenizer if there is one.
pub const MODEL: Wanted<'static> = Wanted {
    one_of: &[&["config.json"], &weights::WEIGHT_FILES],
    optional: &[
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "spiece.model",
        "vocab.json",
        "merges.txt",
        "generation_config.json",
    ],
};

/// A PEFT adapter, and the value head if a run or TRL saved one beside it.
pub const ADAPTER: Wanted<'static> = Wanted {
    one_of: &[&["adapter_config.json"], &["adapter_model.safetensors", "adapter_model.bin"]],
    optional: &["value_head.safetensors", "pytorch_model.bin"],
};

/// Receives the progress of downloads. An error stops the download; the next one continues from there.
pub trait Progress {
    /// The download of a file of `bytes` starts, or continues after a fault, with `done` bytes already present.
    fn start(&mut self, file: &str, done: u64, bytes: u64) -> Result<()>;
    /// This many more bytes were received.
    fn advance(&mut self, bytes: u64) -> Result<()>;
    /// The file is complete.
    fn finish(&mut self);
}

/// The hub's answer about a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// Reads the environment variables of huggingface_hub; see [`settings`].
    pub fn from_env() -> Result<Self> {
        settings::from(&|name| std::env::var(name).ok())
    }

    /// The folder with the `wanted` files of `source`: a local folder, or `owner/name[@revision]` on the hub. Files of a
    /// revision that are in the cache are not downloaded again.
    pub fn resolve(
        &self,
        source: &str,
        kind: RepoKind,
        wanted: Wanted<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Folder> {
        let path = local(source);
        if path.exists() {
            let folder = Folder::open(path)?;
            return match missing(&folder, wanted)? {
                None => Ok(folder),
                Some(what) => Err(Error::file(source, format!("no {what} in this folder"), "check the path")),
            };
        }
        let Some(id) = HubId::parse(source, kind, self.endpoint.as_deref()) else {
            return Err(Error::input(
                format!("{source:?} is neither an existing folder nor a hub id"),
                "give an existing folder, or owner/name or owner/name@revision (google/flan-t5-small)",
            ));
        };
        let cached = self.cached(&id);
        let lacks = match &cached {
            Some(folder) => missing(folder, wanted)?,
            None => Some("revision".to_string()),
        };
        match (cached, lacks) {
            (Some(folder), None) => Ok(folder),
            (_, Some(what)) if self.offline => Err(Error::file(
                self.cache.join(id.folder()).display(),
                format!(
                    "{source}: no {what} in the cache, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set (and there is no folder \
                                         {source})"
                ),
                "unset it for one run, copy the files into the cache, or give a local folder",
            )),
            _ => self.fetch(&id, wanted, progress),
        }
    }

    /// The snapshot of the id's revision: a commit, or a branch or tag found in `refs/`.
    fn cached(&self, id: &HubId) -> Option<Folder> {
        let repo = self.cache.join(id.folder());
        let commit = std::fs::read_to_string(repo.join("refs").join(&id.revision));
        let commit = commit.map_or_else(|_| id.revision.clone(), |text| text.trim().to_string());
        Folder::open(repo.join("snapshots").join(commit)).ok()
    }

    fn fetch(&self, id: &HubId, wanted: Wanted<'_>, progress: &mut dyn Progress) -> Result<Folder> {
        let repo = Remote {
            id,
            endpoint: self.endpoint.as_deref().unwrap_or(ENDPOINT),
            transfer: Transfer::new(self.token.clone(), self.timeout),
            cached: self.cache.join(id.folder()),
        };
        let revision = repo.revision()?;
        let there: Vec<&str> = revision.siblings.iter().map(|s| s.rfilename.as_str()).collect();
        let snapshot = repo.cached.join("snapshots").join(&revision.sha);
        for file in chosen(&there, wanted, &id.source)? {
            repo.get(&revision.sha, file, progress)?;
            if file.ends_with(".index.json") {
                let map = weights::weight_map(&Folder::open(&snapshot)?, file)?;
                weights::shards(&map).iter().try_for_each(|shard| repo.get(&revision.sha, shard, progress))?;
            }
        }
        let noted = repo.cached.join("refs").join(&id.revision);
        disk::create_folder(noted.parent().unwrap_or(&noted))?;
        disk::write_atomic(&noted, revision.sha.as_bytes())?;
        Folder::open(snapshot)
    }
}

/// A repository on the hub and its place in the cache.
struct Remote<'a> {
    id: &'a HubId,
    endpoint: &'a str,
    transfer: Transfer,
    cached: PathBuf,
}

impl Remote<'_> {
    fn revision(&self) -> Result<Revision> {
        let HubId { kind, name, revision, .. } = self.id;
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/{}/{name}/revision/{revision}", self.endpoint, kind.folder());
        let text = self.transfer.text(&url).map_err(|fault| self.failed(None, fault))?;
        let wrong = |what: String| self.failed(None, Fault::Answer(what));
        let revision: Revision = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("the server's answer is not a list of files: {e}")))?;
        if revision.sha.is_empty() || !revision.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong(format!("the server names the revision {:?}, which is not a commit", revision.sha)));
        }
        Ok(revision)
    }

    /// Adds a file to the snapshot of a commit; all files are from this commit, even if another one is pushed.
    fn get(&self, sha: &str, file: &str, progress: &mut dyn Progress) -> Result<()> {
        let place = self.cached.join("snapshots").join(sha).join(file);
        if place.exists() {
            return Ok(());
        }
        let failed = |fault| self.failed(Some(file), fault);
        let url = format!("{}/{}/resolve/{sha}/{file}", self.endpoint, self.id.path());
        let described = self.transfer.describe(&url).map_err(failed)?;
        let blob = self.cached.join("blobs").join(&described.etag);
        disk::create_folder(&self.cached.join("blobs"))?;
        if !blob.exists() || !described.is(&blob)? {
            disk::remove(&blob)?;
            let mut told = Told { progress: &mut *progress, file, bytes: described.bytes };
            self.transfer.fetch(&url, &described, &blob, &mut told).map_err(failed)?;
            progress.finish();
        }
        disk::create_folder(place.parent().unwrap_or(&place))?;
        disk::remove(&place)?; // a broken link
        // a hard link, or a copy on disks without hard links
        let linked = std::fs::hard_link(&blob, &place).or_else(|_| std::fs::copy(&blob, &place).map(drop));
        linked.map_err(|e| Error::file(place.display(), e, "check that the cache folder is writable"))
    }

    /// The error for a fault.
    fn failed(&self, file: Option<&str>, fault: Fault) -> Error {
        let hint = match &fault {
            Fault::Status(401 | 403 | 404) => {
                "check the name and the revision; if the repository is private or gated, set HF_TOKEN"
            }
            Fault::Status(429 | 500..) => "the hub answered with an error: try again later, or give a local folder",
            Fault::Status(_) | Fault::Answer(_) => {
                "try again; if it fails again, check the server (HF_ENDPOINT) and the proxy, or give a local folder"
            }
            Fault::Network(_) => {
                "check the network (HF_ENDPOINT, proxy) and try again (the download then continues); or give a local folder"
            }
            Fault::Ours(_) => "",
        };
        let of = file.map_or(String::new(), |file| format!("{file} "));
        match fault {
            Fault::Ours(error) => error,
            fault => Error::file(
                &self.id.source,
                format!("{of}cannot be downloaded from the hub: {fault} (and there is no folder with this name)"),
                hint,
            ),
        }
    }
}

/// The files to download from a repository that has the files `there`.
fn chosen<'a>(there: &[&str], wanted: Wanted<'a>, source: &str) -> Result<Vec<&'a str>> {
    let mut files = Vec::new();
    for group in wanted.one_of {
        let Some(file) = group.iter().find(|file| there.contains(file)) else {
            return Err(Error::file(
                source,
                format!("no {} on the hub", group.join(" or ")),
                "check the name and the revision",
            ));
        };
        files.push(*file);
    }
    files.extend(wanted.optional.iter().filter(|file| there.contains(file)));
    Ok(files)
}

/// The first needed file, or shard of a needed index, that is missing in `folder`.
fn missing(folder: &Folder, wanted: Wanted<'_>) -> Result<Option<String>> {
    for group in wanted.one_of {
        let Some(file) = group.iter().find(|file| folder.has(file)) else { return Ok(Some(group.join(" or "))) };
        if file.ends_with(".index.json") {
            let shards = weights::shards(&weights::weight_map(folder, file)?);
            if let Some(shard) = shards.into_iter().find(|shard| !folder.has(shard)) {
                return Ok(Some(shard));
            }
        }
    }
    Ok(None)
}

/// `source` as a local path; `~` is the user's home folder.
pub fn local(source: &str) -> PathBuf {
    settings::with_home(Path::new(source), std::env::home_dir())
}

/// Whether `source` has the form of a hub id, or of an address of a page on the hub.
pub fn is_id(source: &str, kind: RepoKind) -> bool {
    let endpoint = Hub::from_env().ok().and_then(|hub| hub.endpoint);
    HubId::parse(source, kind, endpoint.as_deref()).is_some()
}

/// Passes the progress from `transfer` to [`Progress`].
struct Told<'a> {
    progress: &'a mut dyn Progress,
    file: &'a str,
    bytes: u64,
}

impl Watch for Told<'_> {
    fn start(&mut self, done: u64) -> Result<()> {
        self.progress.start(self.file, done, self.bytes)
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.progress.advance(bytes)
    }
}
