//! Models and datasets by name (native only): a local folder, or a Hugging Face hub id with its cache. Only fetches;
//! what the files hold is for `weights`, `adapter` and the callers.
//!
//! Source of the cache's layout: huggingface_hub, "Understand caching".
#![allow(clippy::disallowed_methods)]

use super::disk::Folder;
use super::{ByteSource, weights};
use crate::error::{Error, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use std::path::{Path, PathBuf};

/// Which files are needed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of each group the first that exists; none is an error. Of an index (`*.index.json`) the shards come too.
    pub one_of: &'a [&'a [&'a str]],
    /// Fetched where they exist.
    pub optional: &'a [&'a str],
}

/// A model: configuration and weights; its tokenizer where it comes along.
pub const MODEL: Wanted<'static> = Wanted {
    one_of: &[&["config.json"], &weights::WEIGHT_FILES],
    optional: &[
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
        "merges.txt",
        "generation_config.json",
    ],
};

/// A PEFT adapter, with the value head that a run or TRL saved beside it.
pub const ADAPTER: Wanted<'static> = Wanted {
    one_of: &[&["adapter_config.json"], &["adapter_model.safetensors", "adapter_model.bin"]],
    optional: &["value_head.safetensors", "pytorch_model.bin"],
};

/// What a hub id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Model,
    Dataset,
}

/// Told of every file that is fetched over the network.
pub trait Progress {
    /// A file of `bytes` begins; told again with the same file when a transfer starts anew.
    fn start(&mut self, file: &str, bytes: u64);
    /// So many bytes more are there.
    fn advance(&mut self, bytes: u64);
    /// The file is complete.
    fn finish(&mut self);
}

/// Where the hub and its cache are.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The folder with `models--owner--name/…`.
    pub cache: PathBuf,
    pub endpoint: Option<String>,
    pub token: Option<String>,
    /// Use the cache only.
    pub offline: bool,
}

impl Hub {
    /// From HF_HUB_CACHE or HF_HOME, HF_ENDPOINT, HF_TOKEN (or the saved token), HF_HUB_OFFLINE.
    pub fn from_env() -> Result<Self> {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = || {
            let base = var("XDG_CACHE_HOME").map(PathBuf::from);
            let base = base.or_else(|| Some(PathBuf::from(var("HOME").or_else(|| var("USERPROFILE"))?).join(".cache")));
            base.map(|b| b.join("huggingface"))
        };
        let home = var("HF_HOME").map(PathBuf::from).or_else(home);
        let cache = var("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join("hub")));
        let Some(cache) = cache else {
            return Err(Error::input("no folder for the hub's cache: HOME is not set", "set HF_HOME to a folder"));
        };
        let saved = || std::fs::read_to_string(home?.join("token")).ok();
        let token = var("HF_TOKEN").or_else(saved).map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
        let offline =
            var("HF_HUB_OFFLINE").is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_lowercase().as_str()));
        let endpoint = var("HF_ENDPOINT").map(|e| e.trim_end_matches('/').to_string());
        Ok(Self { cache, endpoint, token, offline })
    }

    /// The folder with the `wanted` files of `source`: a local folder, or `owner/name[@revision]` on the hub. What the
    /// cache has of a revision is not asked for again.
    pub fn resolve(&self, source: &str, kind: Kind, wanted: Wanted<'_>, progress: &mut dyn Progress) -> Result<Folder> {
        let path = Path::new(source);
        if path.exists() {
            let folder = Folder::open(path)?;
            return match missing(&folder, wanted)? {
                None => Ok(folder),
                Some(what) => Err(Error::file(source, format!("no {what} in this folder"), "check the path")),
            };
        }
        let Some(id) = Id::parse(source, kind) else {
            return Err(Error::input(
                format!("{source:?} is neither a folder here nor a hub id"),
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
                format!("{source}: no {what} in the cache, and HF_HUB_OFFLINE is set (no folder {source} here either)"),
                "unset HF_HUB_OFFLINE once, copy the files there, or give a local folder",
            )),
            _ => self.fetch(&id, wanted, progress),
        }
    }

    /// The snapshot of the id's revision: a branch or tag by `refs/`, or a commit itself.
    fn cached(&self, id: &Id) -> Option<Folder> {
        let repo = self.cache.join(id.folder());
        let commit = std::fs::read_to_string(repo.join("refs").join(&id.revision));
        let commit = commit.map_or_else(|_| id.revision.clone(), |text| text.trim().to_string());
        Folder::open(repo.join("snapshots").join(commit)).ok()
    }

    fn fetch(&self, id: &Id, wanted: Wanted<'_>, progress: &mut dyn Progress) -> Result<Folder> {
        let failed = |e: ApiError| network_error(id, &e);
        let cache = Cache::new(self.cache.clone());
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_token(self.token.clone()).with_retries(3);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().map_err(failed)?;
        let info = api.repo(id.repo(&id.revision)).info().map_err(failed)?;
        let there: Vec<&str> = info.siblings.iter().map(|s| s.rfilename.as_str()).collect();
        let snapshot = cache.repo(id.repo(&info.sha)).pointer_path(&info.sha);
        // all files from one commit, whatever is pushed meanwhile
        let repo = api.repo(id.repo(&info.sha));
        let mut get = |file: &str| match snapshot.join(file).exists() {
            true => Ok(()),
            false => repo.download_with_progress(file, Bar(progress)).map(|_| ()).map_err(failed),
        };
        for file in chosen(&there, wanted, &id.source)? {
            get(file)?;
            if file.ends_with(".index.json") {
                let map = weights::weight_map(&Folder::open(&snapshot)?, file)?;
                weights::shards(&map).iter().try_for_each(|shard| get(shard))?;
            }
        }
        let noted = cache.repo(id.repo(&id.revision)).create_ref(&info.sha);
        noted.map_err(|e| Error::file(self.cache.display(), e, "check that the cache folder is writable"))?;
        Folder::open(snapshot)
    }
}

/// The files to fetch from a repository that has `there`.
fn chosen<'a>(there: &[&str], wanted: Wanted<'a>, source: &str) -> Result<Vec<&'a str>> {
    let mut files = Vec::new();
    for group in wanted.one_of {
        let Some(file) = group.iter().find(|file| there.contains(file)) else {
            return Err(Error::file(
                source,
                format!("no {} on the hub", group.join(" or ")),
                "check the name and revision",
            ));
        };
        files.push(*file);
    }
    files.extend(wanted.optional.iter().filter(|file| there.contains(file)));
    Ok(files)
}

/// The first wanted file, or shard of a wanted index, that `folder` lacks.
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

/// A parsed hub id.
struct Id {
    source: String,
    name: String,
    revision: String,
    kind: Kind,
}

impl Id {
    /// `owner/name` or `owner/name@revision`.
    fn parse(source: &str, kind: Kind) -> Option<Self> {
        let (name, revision) = source.split_once('@').unwrap_or((source, "main"));
        let (owner, repo) = name.split_once('/')?;
        let part_ok = |part: &str| {
            let chars_ok = part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            chars_ok && !part.is_empty() && !part.starts_with(['.', '-'])
        };
        let revision_ok = super::is_safe_name(revision) && !revision.contains(char::is_whitespace);
        (part_ok(owner) && part_ok(repo) && revision_ok).then(|| Self {
            source: source.to_string(),
            name: name.to_string(),
            revision: revision.to_string(),
            kind,
        })
    }

    fn repo(&self, revision: &str) -> Repo {
        let kind = if self.kind == Kind::Model { RepoType::Model } else { RepoType::Dataset };
        Repo::with_revision(self.name.clone(), kind, revision.to_string())
    }

    /// Its folder in the cache.
    fn folder(&self) -> String {
        self.repo(&self.revision).folder_name()
    }
}

fn network_error(id: &Id, error: &ApiError) -> Error {
    let text = error.to_string();
    let status = |code: &str| text.contains(&format!("status: {code}"));
    let hint = if status("401") || status("403") || status("404") {
        "check name and revision; if the repository is private or gated, set HF_TOKEN"
    } else if matches!(error, ApiError::LockAcquisition(_)) {
        "another process is fetching the same file: wait for it"
    } else {
        "check the network (HF_ENDPOINT, proxy), try again, or give a local folder"
    };
    Error::file(
        &id.source,
        format!("cannot be fetched from the hub: {text} (no folder of this name here either)"),
        hint,
    )
}

/// Our progress in hf-hub's form.
struct Bar<'a>(&'a mut dyn Progress);

impl hf_hub::api::Progress for Bar<'_> {
    fn init(&mut self, size: usize, file: &str) {
        self.0.start(file, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}
