//! A model on a hub or on another server: what a person typed, the addresses to ask, and which files are needed. Plain Rust;
//! `download` asks.

use crate::error::{Error, Result};
use crate::io::checkpoint::weights::WEIGHT_FILES;
use crate::io::hub_id::{ENDPOINT, HubId, RepoKind};
use crate::protocol::KeptModel;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Files that are always needed; the weights come besides.
const CONFIG: &str = "config.json";
/// The tokenizer: one file, or the first two of the others, with their settings.
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_PARTS: [&str; 2] = ["vocab.json", "merges.txt"];

/// A hash that the hub lists for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    Sha256(String),
    /// Git's id of a small file: sha1 of its length and content.
    Blob(String),
    /// Not known: only the size is checked.
    None,
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    pub name: String,
    pub url: String,
    pub bytes: u64,
    pub hash: Hash,
}

/// A model's files on a server. It is stored beside a partial download, so that this continues with the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    pub name: String,
    /// Of the hub: the commit.
    pub revision: Option<String>,
    pub files: Vec<RemoteFile>,
}

impl Remote {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A partial download: what will be kept, and its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub model: KeptModel,
    pub remote: Remote,
}

/// Where a model is.
pub enum Place {
    Hub(HubId),
    /// The address of a folder, without a slash at its end.
    Address(String),
}

impl Place {
    /// Understands a hub id, an address of the hub, or that of a folder on another server.
    ///
    /// # Errors
    /// Neither.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(id) = HubId::parse(text, RepoKind::Model, None) {
            return Ok(Self::Hub(id));
        }
        let address = text.trim_end_matches('/');
        let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !address.contains(|c: char| c.is_whitespace() || "?#\\".contains(c)) => {
                Ok(Self::Address(address.into()))
            }
            _ => Err(Error::input(
                format!("{text:?} is neither a hub id nor the address of a folder"),
                "write owner/name, owner/name@revision, or https://server/folder",
            )),
        }
    }

    /// The model's name in lists and in a run's `config.json`.
    pub fn name(&self) -> String {
        match self {
            Self::Hub(id) if id.revision == "main" => id.name.clone(),
            Self::Hub(id) => format!("{}@{}", id.name, id.revision),
            Self::Address(address) => address.split('/').next_back().unwrap_or_default().into(),
        }
    }

    /// The address of a file; `revision` is used by the hub.
    pub fn url(&self, revision: &str, file: &str) -> String {
        match self {
            Self::Hub(id) => format!("{ENDPOINT}/{}/resolve/{revision}/{file}", id.path()),
            Self::Address(address) => format!("{address}/{file}"),
        }
    }
}

/// The address that names the commit of the id's revision.
pub fn revision_url(id: &HubId) -> String {
    format!("{ENDPOINT}/api/models/{}/revision/{}", id.name, id.revision.replace('/', "%2F"))
}

/// The address of the list of a commit's files.
pub fn tree_url(id: &HubId, commit: &str) -> String {
    format!("{ENDPOINT}/api/models/{}/tree/{commit}?recursive=true", id.name)
}

/// The commit in the hub's answer.
pub fn commit(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let sha = answer["sha"].as_str()?;
    (!sha.is_empty() && sha.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| sha.into())
}

/// The files in the hub's list that are in no subfolder.
pub fn tree(answer: &[u8], place: &Place, commit: &str) -> Option<Vec<RemoteFile>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let file = |entry: &Value| {
        let name = entry["path"].as_str().filter(|path| entry["type"] == "file" && !path.contains('/'))?;
        let text = |value: &Value| value.as_str().map(str::to_lowercase);
        let hash = match (text(&entry["lfs"]["oid"]), text(&entry["oid"])) {
            (Some(sha256), _) => Hash::Sha256(sha256),
            (None, Some(blob)) => Hash::Blob(blob),
            _ => Hash::None,
        };
        Some(RemoteFile { name: name.into(), url: place.url(commit, name), bytes: entry["size"].as_u64()?, hash })
    };
    Some(answer.as_array()?.iter().filter_map(file).collect())
}

/// The files that are needed of those that are there: configuration, tokenizer, and weights or their index, which is last.
///
/// # Errors
/// Names what is missing.
pub fn needed(there: &[RemoteFile], source: &str) -> Result<Vec<RemoteFile>> {
    let find = |name: &str| there.iter().find(|file| file.name == name).cloned();
    let gguf = || {
        let mut all: Vec<&RemoteFile> = there.iter().filter(|file| file.name.ends_with(".gguf")).collect();
        all.sort_by_key(|file| !file.name.to_lowercase().contains("q8_0"));
        all.first().copied().cloned()
    };
    let hint = "check the name and the revision, or choose the model's files";
    let weights = WEIGHT_FILES.iter().find_map(|name| find(name)).or_else(gguf);
    let weights = weights.ok_or_else(|| {
        let what = format!("none of {} and no GGUF file is there", WEIGHT_FILES.join(", "));
        Error::file(source, what, hint)
    })?;
    let config = find(CONFIG);
    if config.is_none() && !weights.name.ends_with(".gguf") {
        return Err(Error::file(source, "there is no config.json", hint));
    }
    let tokenizer: Vec<RemoteFile> = match find(TOKENIZER) {
        Some(file) => vec![file],
        None => TOKENIZER_PARTS.iter().chain(&["tokenizer_config.json"]).filter_map(|name| find(name)).collect(),
    };
    Ok(config.into_iter().chain(tokenizer).chain([weights]).collect())
}

/// Names to ask for where a server has no list, in the order of [`needed`].
pub fn candidates() -> [&'static [&'static str]; 3] {
    const PARTS: &[&str] = &[TOKENIZER, TOKENIZER_PARTS[0], TOKENIZER_PARTS[1]];
    [&[CONFIG], PARTS, &WEIGHT_FILES]
}

/// Why a server gave no file.
#[derive(Debug)]
pub enum Fault {
    /// The status of its answer, and the seconds that it asks to wait.
    Status(u16, Option<f64>),
    /// No connection, or one that broke.
    Network(String),
    /// An answer that cannot be used.
    Answer(String),
    /// Not the server's fault: storage, or a stop.
    Ours(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    /// Whether another attempt may succeed.
    pub fn passes(&self) -> bool {
        match self {
            Self::Status(code, _) => *code == 408 || *code == 429 || *code >= 500,
            Self::Network(_) | Self::Answer(_) => true,
            Self::Ours(_) => false,
        }
    }

    /// Seconds to wait before attempt `failures` + 1.
    pub fn wait(&self, failures: u32) -> f64 {
        let own = f64::from(failures * failures);
        match self {
            Self::Status(_, Some(asked)) => asked.clamp(own, 300.0),
            // The hub counts 5 minutes; a page cannot always read its headers.
            Self::Status(429, None) => 10.0 * own,
            _ => own,
        }
    }

    /// What happened, in words.
    pub fn what(&self) -> String {
        match self {
            Self::Status(401 | 403, _) => {
                "the server refuses it without an account: it is private, gated or not there".into()
            }
            Self::Status(404, _) => "the server does not have it (status 404)".into(),
            Self::Status(429, _) => "the server says that this address has asked too often (status 429)".into(),
            Self::Status(code @ 500.., _) => format!("the server has an error of its own (status {code})"),
            Self::Status(code, _) => format!("the server answered with status {code}"),
            Self::Network(what) | Self::Answer(what) => what.clone(),
            Self::Ours(error) => error.what(),
        }
    }

    /// The error to show; `of` is what was asked for.
    pub fn error(self, of: &str) -> Error {
        let hint = match &self {
            Self::Ours(_) => "",
            Self::Status(401 | 403, _) => {
                "check the name; of a gated model accept its terms on the hub, download the files with your account and choose them here"
            }
            Self::Status(404, _) => "check the name and the revision",
            Self::Status(429 | 500.., _) => "try again in some minutes; what was downloaded stays here",
            Self::Network(_) => {
                "check the network and continue: what was downloaded stays here. Of a server of your own, check that it allows other \
                 pages to read it (CORS, docs/page.md)"
            }
            Self::Status(..) | Self::Answer(_) => {
                "try again; if it fails again, download the files and choose them here"
            }
        };
        match self {
            Self::Ours(error) => error,
            fault => Error::file(of, fault.what(), hint),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        let file = |name: &&str| RemoteFile { name: name.to_string(), url: String::new(), bytes: 1, hash: Hash::None };
        names.iter().map(file).collect()
    }

    fn chosen(names: &[&str]) -> String {
        match needed(&files(names), "model") {
            Ok(files) => files.into_iter().map(|file| file.name).collect::<Vec<_>>().join(" "),
            Err(error) => error.what(),
        }
    }

    #[test]
    fn ids_and_addresses_are_understood() {
        let hub = |text: &str| match Place::parse(text).unwrap() {
            Place::Hub(id) => format!("{} {}", id.name, id.revision),
            Place::Address(address) => panic!("{address}"),
        };
        assert_eq!(hub(" google/flan-t5-small "), "google/flan-t5-small main");
        assert_eq!(hub("google/flan-t5-small@0fc9ddf"), "google/flan-t5-small 0fc9ddf");
        assert_eq!(hub("https://huggingface.co/google/flan-t5-small/tree/main"), "google/flan-t5-small main");
        let place = Place::parse("https://school.example/models/small/").unwrap();
        assert_eq!(place.url("", "config.json"), "https://school.example/models/small/config.json");
        assert_eq!(place.name(), "small");
        for wrong in ["", "a folder", "small", "https://", "ftp://a.example/b", "https://a.example/b?c=d"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_chosen_as_natively() {
        let all =
            ["README.md", "config.json", "tokenizer.json", "vocab.json", "pytorch_model.bin", "model.safetensors"];
        assert_eq!(chosen(&all), "config.json tokenizer.json model.safetensors");
        assert_eq!(
            chosen(&["config.json", "merges.txt", "vocab.json", "pytorch_model.bin"]),
            "config.json vocab.json merges.txt pytorch_model.bin"
        );
        assert_eq!(chosen(&["a-f16.gguf", "a-Q8_0.gguf"]), "a-Q8_0.gguf");
        assert!(chosen(&["config.json", "tokenizer.json"]).contains("no GGUF file"));
        assert!(chosen(&["model.safetensors"]).contains("no config.json"));
    }

    #[test]
    fn the_hubs_answers_are_read() {
        assert_eq!(commit(br#"{"sha": "abc1", "siblings": []}"#).as_deref(), Some("abc1"));
        assert_eq!(commit(br#"{"sha": "../x"}"#), None);
        let place = Place::parse("google/flan-t5-small").unwrap();
        let list = br#"[{"type": "directory", "path": "onnx", "size": 0, "oid": "1"},
            {"type": "file", "path": "onnx/model.safetensors", "size": 5, "oid": "2"},
            {"type": "file", "path": "config.json", "size": 7, "oid": "AB"},
            {"type": "file", "path": "model.safetensors", "size": 9, "oid": "3", "lfs": {"oid": "cd", "size": 9}}]"#;
        let files = tree(list, &place, "abc1").unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].hash, Hash::Blob("ab".into()));
        assert_eq!(files[1].hash, Hash::Sha256("cd".into()));
        assert_eq!(files[1].url, "https://huggingface.co/google/flan-t5-small/resolve/abc1/model.safetensors");
    }

    #[test]
    fn waits_grow_and_follow_the_server() {
        let lost = Fault::Network(String::new());
        assert_eq!([1, 2, 3].map(|n| lost.wait(n)), [1.0, 4.0, 9.0]);
        assert_eq!(Fault::Status(429, Some(30.0)).wait(1), 30.0);
        assert_eq!(Fault::Status(429, Some(1e9)).wait(1), 300.0);
        assert!(!Fault::Status(404, None).passes() && Fault::Status(503, None).passes());
    }
}
