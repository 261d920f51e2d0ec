//! Model arguments: local folders, the hub's cache, and a hub that runs inside the test; no network.

use crate::support::hub::*;
use detox_lab::io::ByteSource;
use detox_lab::io::disk::Folder;
use detox_lab::io::hub::{ADAPTER, Hub, MODEL, Progress, RepoKind, Wanted, settings};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A hub without network, and a progress that must not be called.
struct NoNetwork;

impl Progress for NoNetwork {
    fn start(&mut self, file: &str, _: u64, _: u64) -> detox_lab::Result<()> {
        panic!("{file} is downloaded");
    }
    fn advance(&mut self, _: u64) -> detox_lab::Result<()> {
        Ok(())
    }
    fn finish(&mut self) {}
}

fn hub(cache: &Path) -> Hub {
    // this endpoint refuses connections
    Hub {
        cache: cache.to_path_buf(),
        endpoint: Some("http://127.0.0.1:9".to_string()),
        token: None,
        offline: true,
        timeout: Duration::from_secs(5),
    }
}

/// A snapshot in huggingface_hub's layout: refs, blobs, links.
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
    hub.resolve(source, RepoKind::Model, wanted, &mut NoNetwork).map_err(|e| e.to_string())
}

#[test]
fn a_local_folder_is_used_directly() {
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
fn a_cached_dataset_has_another_folder() {
    let cache = tempfile::tempdir().unwrap();
    let at = snapshot(cache.path(), "datasets--knkarthick--dialogsum", &["train.csv", "test.csv"]);
    let wanted = Wanted { one_of: &[&["train.csv"]], optional: &["validation.csv"] };
    let folder = hub(cache.path()).resolve("knkarthick/dialogsum", RepoKind::Dataset, wanted, &mut NoNetwork).unwrap();
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
fn shards_are_needed_with_their_index() {
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
fn an_unreachable_hub_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = hub(cache.path());
    hub.offline = false;
    let message = resolve(&hub, "owner/name", MODEL).unwrap_err();
    assert!(message.starts_with("owner/name: cannot be downloaded from the hub: "), "{message}");
    assert!(message.contains("no folder with this name") && message.contains("check the network"), "{message}");
}

#[test]
fn an_argument_that_is_neither_folder_nor_id_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    for source in ["nowhere", "/no/such/folder", "./a/b", "../x", "a/b/c", "a/", "/b", "a b/c", "a/b@", "a/b@../x", ""]
    {
        let message = resolve(&hub(cache.path()), source, MODEL).unwrap_err();
        assert!(message.contains("neither an existing folder nor a hub id"), "{source}: {message}");
        assert!(message.contains("existing folder, or owner/name"), "{message}");
    }
}

#[test]
fn addresses_of_pages_are_ids() {
    let cache = tempfile::tempdir().unwrap();
    let at = snapshot(cache.path(), "models--google--flan-t5-small", &["config.json", "model.safetensors"]);
    let old = snapshot(cache.path(), "models--t5-small", &["config.json", "model.safetensors"]);
    let hub = hub(cache.path());
    for source in [
        " google/flan-t5-small ",
        "google/flan-t5-small/",
        "https://huggingface.co/google/flan-t5-small",
        "https://huggingface.co/google/flan-t5-small/",
        "http://huggingface.co/google/flan-t5-small?library=transformers",
        "huggingface.co/google/flan-t5-small/tree/main",
        "https://hf.co/google/flan-t5-small",
        "hf://google/flan-t5-small",
        "http://127.0.0.1:9/google/flan-t5-small", // HF_ENDPOINT
        &format!("https://huggingface.co/google/flan-t5-small/blob/{COMMIT}/config.json"),
    ] {
        assert_eq!(resolve(&hub, source, MODEL).map(|f| f.root().to_path_buf()), Ok(at.clone()), "{source}");
    }
    assert_eq!(resolve(&hub, "t5-small", MODEL).unwrap().root(), old);
    for source in ["https://example.com/google/flan-t5-small", "https://huggingface.co/datasets/google/flan-t5-small"] {
        let message = resolve(&hub, source, MODEL).unwrap_err();
        assert!(message.contains("neither an existing folder nor a hub id"), "{source}: {message}");
    }
    let at = snapshot(cache.path(), "datasets--knkarthick--dialogsum", &["train.csv"]);
    let wanted = Wanted { one_of: &[&["train.csv"]], optional: &[] };
    let source = "https://huggingface.co/datasets/knkarthick/dialogsum";
    assert_eq!(hub.resolve(source, RepoKind::Dataset, wanted, &mut NoNetwork).unwrap().root(), at);
}

#[test]
fn the_environment_is_read_as_in_huggingface_hub() {
    let tokens = tempfile::tempdir().unwrap();
    let file = tokens.path().join("other");
    fs::write(&file, "saved\n").unwrap();
    let file = file.to_str().unwrap();
    let read = |vars: &[(&str, &str)]| {
        let vars: BTreeMap<&str, &str> = [("HOME", "/home/me")].iter().chain(vars).copied().collect();
        settings::from(&|name| vars.get(name).map(|value| value.to_string())).unwrap()
    };
    type Vars = &'static [(&'static str, &'static str)];
    let caches: [(Vars, &str); 9] = [
        (&[], "/home/me/.cache/huggingface/hub"),
        (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
        (&[("XDG_CACHE_HOME", "~/c")], "/home/me/c/huggingface/hub"),
        (&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")], "/home/me/hf/hub"),
        (&[("HF_HOME", "~")], "/home/me/hub"),
        (&[("HF_HUB_CACHE", "~/x"), ("HF_HOME", "/hf")], "/home/me/x"),
        (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old"),
        (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
        (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/hf")], "/hf/hub"),
    ];
    for (vars, cache) in caches {
        assert_eq!(read(vars).cache, Path::new(cache), "{vars:?}");
    }
    let token = |vars: &[(&str, &str)]| read(vars).token.unwrap_or_default();
    assert_eq!(token(&[]), "");
    assert_eq!(token(&[("HF_TOKEN", " new\n"), ("HUGGING_FACE_HUB_TOKEN", "old")]), "new");
    assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN_PATH", file)]), "old");
    assert_eq!(token(&[("HF_TOKEN_PATH", file)]), "saved");
    assert_eq!(token(&[("HF_TOKEN", ""), ("HF_TOKEN_PATH", file)]), "saved");
    for value in ["1", "true", "TRUE", "Yes", "on"] {
        assert!(read(&[("HF_HUB_OFFLINE", value)]).offline, "{value}");
        assert!(read(&[("TRANSFORMERS_OFFLINE", value)]).offline, "{value}");
    }
    for value in ["0", "false", "no", "off", ""] {
        assert!(!read(&[("HF_HUB_OFFLINE", value), ("TRANSFORMERS_OFFLINE", value)]).offline, "{value}");
    }
    assert_eq!(read(&[("HF_ENDPOINT", "https://mirror.example/")]).endpoint.as_deref(), Some("https://mirror.example"));
    assert_eq!(read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "2.5")]).timeout, Duration::from_secs_f64(2.5));
    assert!(settings::from(&|_| None).unwrap_err().to_string().contains("set HF_HOME"));
    assert_eq!(settings::with_home(Path::new("~/m"), Some("/home/me".into())), Path::new("/home/me/m"));
    assert_eq!(settings::with_home(Path::new("a~/m"), Some("/home/me".into())), Path::new("a~/m"));
}

/// A hub on this machine with one model, `owner/name`, which needs the token `secret`.
fn local_hub(files: BTreeMap<&'static str, Vec<u8>>) -> Server {
    Server::start(move |request, stream| {
        let names: Vec<&str> = files.keys().copied().collect();
        let file =
            request.path.strip_prefix(&format!("/owner/name/resolve/{COMMIT}/")).and_then(|name| files.get(name));
        if request.token.as_deref() != Some("Bearer secret") {
            send(stream, "401 Unauthorized", &[], 0, b"");
        } else if is_listing(request) {
            let listing = listing(&names);
            send(stream, "200 OK", &[], listing.len(), listing.as_bytes());
        } else if let Some(content) = file {
            send_file(request, stream, content, usize::MAX);
        } else {
            send(stream, "404 Not Found", &[], 0, b"");
        }
    })
}

#[test]
fn a_model_is_downloaded_once_with_its_shards() {
    let cache = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#;
    let files = BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("a.safetensors", vec![1; 300_000]),
        ("b.safetensors", vec![2; 10]),
        ("merges.txt", b"a b".to_vec()),
        ("README.md", b"not wanted".to_vec()),
    ]);
    let mut hub = hub(cache.path());
    let server = local_hub(files.clone());
    (hub.endpoint, hub.token, hub.offline) = (Some(server.address.clone()), Some("secret".to_string()), false);

    let mut told = Told::default();
    let folder = hub.resolve("owner/name", RepoKind::Model, MODEL, &mut told).unwrap();
    assert_eq!(folder.root(), cache.path().join("models--owner--name/snapshots").join(COMMIT));
    for (name, content) in files.iter().filter(|(name, _)| **name != "README.md") {
        assert_eq!(&folder.read(name).unwrap(), content, "{name}");
        assert_eq!(told.bytes[*name], content.len() as u64, "{name}");
    }
    assert_eq!((told.bytes.len(), told.finished), (5, 5));
    assert!(!folder.has("README.md"));
    assert_eq!(fs::read_to_string(cache.path().join("models--owner--name/refs/main")).unwrap(), COMMIT);

    // from now on the cache is enough, and only a missing file is downloaded again
    resolve(&hub, "owner/name", MODEL).unwrap();
    fs::remove_file(folder.root().join("b.safetensors")).unwrap();
    fs::remove_dir_all(cache.path().join("models--owner--name/blobs")).unwrap();
    let mut told = Told::default();
    hub.resolve("owner/name", RepoKind::Model, MODEL, &mut told).unwrap();
    assert_eq!(told.bytes.keys().collect::<Vec<_>>(), ["b.safetensors"]);

    let message = resolve(&hub, "owner/name", ADAPTER).unwrap_err();
    assert!(message.contains("owner/name: no adapter_config.json on the hub"), "{message}");
    hub.token = None;
    for source in ["owner/name@v2", "owner/other"] {
        let message = resolve(&hub, source, MODEL).unwrap_err();
        assert!(message.contains(source) && message.contains("set HF_TOKEN"), "{message}");
    }
}
