//! Reads the hub's settings from the environment variables of huggingface_hub and transformers, with the same rules
//! (huggingface_hub, `constants.py`).

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Default time that a connection may be silent; HF_HUB_DOWNLOAD_TIMEOUT changes it (in seconds).
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the hub and its cache are.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The folder with `models--owner--name/…`.
    pub cache: PathBuf,
    pub endpoint: Option<String>,
    pub token: Option<String>,
    /// Use the cache only.
    pub offline: bool,
    /// How long a connection may be silent.
    pub timeout: Duration,
}

/// The settings from the variables that `read` returns; empty variables do not count.
///
/// - the cache: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, or `hub` in HF_HOME, which is `huggingface` in XDG_CACHE_HOME or `~/.cache`
/// - the token: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the one saved in HF_TOKEN_PATH or `token` in HF_HOME
/// - HF_ENDPOINT, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT
///
/// # Errors
/// No folder for the cache, or a timeout that is not a number of seconds.
pub fn from(read: &dyn Fn(&str) -> Option<String>) -> Result<Hub> {
    let var = |name: &str| read(name).map(|value| value.trim().to_string()).filter(|value| !value.is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| var(name));
    let user = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
    let folder = |names: &[&str]| first(names).map(|path| with_home(Path::new(&path), user.clone()));
    let caches = || folder(&["XDG_CACHE_HOME"]).or_else(|| Some(user.as_ref()?.join(".cache")));
    let home = folder(&["HF_HOME"]).or_else(|| Some(caches()?.join("huggingface")));
    let cache = folder(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).or_else(|| Some(home.as_ref()?.join("hub")));
    let Some(cache) = cache else {
        return Err(Error::input("no folder for the hub's cache: HOME is not set", "set HF_HOME to a folder"));
    };
    let saved = || std::fs::read_to_string(folder(&["HF_TOKEN_PATH"]).or_else(|| Some(home?.join("token")))?).ok();
    let token = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(saved);
    let token = token.map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
    let is_set = |name: &str| var(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&&*v.to_lowercase()));
    let offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
    let endpoint = var("HF_ENDPOINT").map(|e| e.trim_end_matches('/').to_string());
    let timeout = match var("HF_HUB_DOWNLOAD_TIMEOUT") {
        None => TIMEOUT,
        Some(text) => match text.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok()) {
            Some(timeout) if !timeout.is_zero() => timeout,
            _ => {
                let what = format!("HF_HUB_DOWNLOAD_TIMEOUT is {text:?}");
                return Err(Error::input(what, "give a number of seconds, or unset it"));
            }
        },
    };
    Ok(Hub { cache, endpoint, token, offline, timeout })
}

/// Replaces `~` at the start of a path by the user's home folder. A shell does not do this inside quotes and after `--option=`.
pub fn with_home(path: &Path, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if !path.exists() => home.join(rest),
        _ => path.to_path_buf(),
    }
}
