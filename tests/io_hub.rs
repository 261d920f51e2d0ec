//! Model arguments: local folders and the hub's cache, without a network.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use detox_lab::io::ByteSource;
use detox_lab::io::disk::Folder;
use detox_lab::io::hub::{ADAPTER, Hub, Kind, MODEL, Progress, Wanted};
use std::fs;
use std::path::{Path, PathBuf};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache that never touches the network, and a progress that must not be told of anything.
struct NoNetwork;

impl Progress for NoNetwork {
    fn start(&mut self, file: &str, _: u64) {
        panic!("{file} is fetched");
    }
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
}

fn hub(cache: &Path) -> Hub {
    // were it asked, this endpoint would refuse the connection
    Hub { cache: cache.to_path_buf(), endpoint: Some("http://127.0.0.1:9".to_string()), token: None, offline: true }
}

/// A snapshot as huggingface_hub lays it out: refs, blobs, links.
fn snapshot(cache: &Path, repo: &str, files: &[&str]) -> PathBuf {
    let repo = cache.join(repo);
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::create_dir_all(repo.join("blobs")).unwrap();
    fs::write(repo.join("refs/main"), format!("{COMMIT}\n")).unwrap();
    for (i, file) in files.iter().enumerate() {
        let blob = repo.join("blobs").join(format!("blob{i}"));
        fs::write(&blob, format!("content of {file}")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(format!("../../blobs/blob{i}"), snapshot.join(file)).unwrap();
        #[cfg(not(unix))]
        fs::copy(&blob, snapshot.join(file)).unwrap();
    }
    snapshot
}

fn resolve(hub: &Hub, source: &str, wanted: Wanted<'_>) -> Result<Folder, String> {
    hub.resolve(source, Kind::Model, wanted, &mut NoNetwork).map_err(|e| e.to_string())
}

#[test]
fn a_local_folder_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let message = resolve(&hub(folder.path()), source, MODEL).unwrap_err();
    assert!(message.contains("no config.json in this folder"), "{message}");
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let message = resolve(&hub(folder.path()), source, MODEL).unwrap_err();
    assert!(message.contains("no model.safetensors or model.safetensors.index.json or"), "{message}");
    fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    assert_eq!(resolve(&hub(folder.path()), source, MODEL).unwrap().root(), folder.path());
}

#[test]
fn a_cached_model_needs_no_network() {
    let cache = tempfile::tempdir().unwrap();
    let at = snapshot(cache.path(), "models--google--flan-t5-small", &["config.json", "model.safetensors"]);
    let mut hub = hub(cache.path());
    for offline in [true, false] {
        hub.offline = offline;
        for source in ["google/flan-t5-small", &format!("google/flan-t5-small@{COMMIT}"), "google/flan-t5-small@main"] {
            let folder = resolve(&hub, source, MODEL).unwrap();
            assert_eq!(folder.root(), at, "{source}");
            assert_eq!(folder.read("config.json").unwrap(), b"content of config.json");
        }
    }
}

#[test]
fn a_cached_dataset_is_another_folder() {
    let cache = tempfile::tempdir().unwrap();
    let at = snapshot(cache.path(), "datasets--knkarthick--dialogsum", &["train.csv", "test.csv"]);
    let wanted = Wanted { one_of: &[&["train.csv"]], optional: &["validation.csv"] };
    let folder = hub(cache.path()).resolve("knkarthick/dialogsum", Kind::Dataset, wanted, &mut NoNetwork).unwrap();
    assert_eq!(folder.root(), at);
    assert!(resolve(&hub(cache.path()), "knkarthick/dialogsum", wanted).is_err(), "no such model");
}

#[test]
fn offline_says_which_file_is_missing() {
    let cache = tempfile::tempdir().unwrap();
    snapshot(cache.path(), "models--owner--name", &["adapter_config.json"]);
    let message = resolve(&hub(cache.path()), "owner/name", ADAPTER).unwrap_err();
    assert!(message.contains("no adapter_model.safetensors or adapter_model.bin in the cache"), "{message}");
    assert!(message.contains("HF_HUB_OFFLINE") && message.contains("models--owner--name"), "{message}");
    for source in ["owner/name@v2", "owner/other"] {
        let message = resolve(&hub(cache.path()), source, ADAPTER).unwrap_err();
        assert!(message.contains(source) && message.contains("no revision in the cache"), "{message}");
    }
}

#[test]
fn shards_are_wanted_with_their_index() {
    let cache = tempfile::tempdir().unwrap();
    let index = "model.safetensors.index.json";
    let at = snapshot(cache.path(), "models--owner--name", &["config.json", "a.safetensors"]);
    fs::write(at.join(index), r#"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#).unwrap();
    let message = resolve(&hub(cache.path()), "owner/name", MODEL).unwrap_err();
    assert!(message.contains("no b.safetensors in the cache"), "{message}");
    fs::write(at.join("b.safetensors"), "").unwrap();
    resolve(&hub(cache.path()), "owner/name", MODEL).unwrap();
}

#[test]
fn an_unreachable_hub_is_a_message() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(cache.path());
    hub.offline = false;
    let message = resolve(&hub, "owner/name", MODEL).unwrap_err();
    assert!(message.starts_with("owner/name: cannot be fetched from the hub"), "{message}");
    assert!(message.contains("no folder of this name") && message.contains("check the network"), "{message}");
}

#[test]
fn what_is_neither_folder_nor_id_lists_both() {
    let cache = tempfile::tempdir().unwrap();
    for source in ["nowhere", "/no/such/folder", "./a/b", "../x", "a/b/c", "a/", "/b", "a b/c", "a/b@", "a/b@../x", ""]
    {
        let message = resolve(&hub(cache.path()), source, MODEL).unwrap_err();
        assert!(message.contains("neither a folder here nor a hub id"), "{source}: {message}");
        assert!(message.contains("existing folder, or owner/name"), "{message}");
    }
}
