//! Downloads a file over HTTP to disk (native only): resumes interrupted downloads, checks the length and hash that the hub
//! states, and only then gives the file its name. `hub` chooses the files.
//!
//! Source of the headers: huggingface_hub, file_download.py. Etags are the sha256 of LFS files, and git's blob id of others.
#![allow(clippy::disallowed_methods)]

use super::disk;
use crate::error::{Error, Result};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Consecutive attempts without new data before a download fails.
const TRIES: u32 = 4;
/// Pause before the next attempt, times the square of the number of failures.
const PAUSE: Duration = Duration::from_millis(250);
const REDIRECTS: usize = 8;
/// Maximum size of an answer about a repository.
const MAX_TEXT: u64 = 64 << 20;

/// Why a download failed.
#[derive(Debug)]
pub enum Fault {
    /// The status of the server's answer.
    Status(u16),
    /// No connection, an interrupted one, or a silent one.
    Network(String),
    /// An invalid answer.
    Answer(String),
    /// Not a network fault: a disk error, or a stop on request.
    Ours(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "the server answered with status {code}"),
            Self::Network(what) | Self::Answer(what) => f.write_str(what),
            Self::Ours(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    /// Whether another attempt may succeed.
    fn passes(&self) -> bool {
        match self {
            Self::Status(code) => *code == 408 || *code == 429 || *code >= 500,
            Self::Network(_) | Self::Answer(_) => true,
            Self::Ours(_) => false,
        }
    }
}

type Outcome<T> = std::result::Result<T, Fault>;

/// The hub's description of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Contains only letters, digits, `.`, `-` and `_`.
    pub etag: String,
    pub bytes: u64,
}

impl RemoteFile {
    /// Whether the file at `path` is this one. If the etag is not a hash, only the length is compared.
    pub fn is(&self, path: &Path) -> Result<bool> {
        let failed = |e: io::Error| Error::file(path.display(), e, "check the disk and the permissions");
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != self.bytes {
            return Ok(false);
        }
        let hex = self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        let found = match self.etag.len() {
            64 if hex => hash::<Sha256>(&[], &mut file),
            40 if hex => hash::<Sha1>(format!("blob {}\0", self.bytes).as_bytes(), &mut file),
            _ => return Ok(true),
        };
        Ok(found.map_err(failed)? == self.etag.to_lowercase())
    }
}

fn hash<D: Digest + Write>(before: &[u8], file: &mut File) -> io::Result<String> {
    let mut digest = D::new_with_prefix(before);
    io::copy(file, &mut digest)?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Receives the progress of a download and may stop it.
pub trait Watch {
    /// The download starts, or starts again, with `done` bytes already present.
    fn start(&mut self, done: u64) -> Result<()>;
    fn advance(&mut self, bytes: u64) -> Result<()>;
}

/// HTTP client: the credentials and timeouts for hub requests.
pub struct Transfer {
    agent: Agent,
    token: Option<String>,
    timeout: Duration,
}

impl Transfer {
    /// `timeout`: how long a connection may be silent. The token is sent only to the host of a request, not to hosts that it
    /// redirects to.
    pub fn new(token: Option<String>, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("detox-lab/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), token, timeout }
    }

    /// The text at `url`.
    pub fn text(&self, url: &str) -> Outcome<String> {
        retry(|| {
            let (mut answer, _) = self.get(url, None)?;
            let mut text = String::new();
            let read = answer.body_mut().as_reader().take(MAX_TEXT).read_to_string(&mut text);
            read.map(|_| text).map_err(|e| self.cut(&e))
        })
    }

    /// The server's description of the file at `url`.
    pub fn describe(&self, url: &str) -> Outcome<RemoteFile> {
        retry(|| {
            let (answer, etag) = self.get(url, Some("bytes=0-0"))?;
            let bytes = total(&answer).ok_or_else(|| Fault::Answer("the server does not state the length".into()))?;
            let etag = etag.trim_start_matches("W/").replace('"', "");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if etag.is_empty() || etag.starts_with('.') || !etag.bytes().all(plain) {
                return Err(Fault::Answer(format!("the server's etag {etag:?} is invalid")));
            }
            Ok(RemoteFile { etag, bytes })
        })
    }

    /// Downloads the file at `url` to `path`: first into `path.part`, so that a later call can continue.
    pub fn fetch(&self, url: &str, described: &RemoteFile, path: &Path, watch: &mut dyn Watch) -> Outcome<()> {
        let part = path.with_file_name(format!("{}.part", described.etag));
        let failed = |e: io::Error| Error::file(part.display(), e, "check free space and permissions of the cache");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part);
        let mut file = open.map_err(failed)?;
        if file.try_lock().is_err() {
            let hint = "wait until it has finished, or stop it";
            return Err(Error::file(part.display(), "another process is downloading the same file", hint).into());
        }
        if path.exists() {
            return Ok(()); // the other process has just finished
        }
        let mut anew = false;
        loop {
            self.fill(url, described.bytes, &mut file, &part, watch)?;
            file.sync_all().map_err(failed)?;
            if described.is(&part)? {
                break;
            }
            file.set_len(0).map_err(failed)?;
            if std::mem::replace(&mut anew, true) {
                let _ = fs::remove_file(&part); // only the wrong content is reported
                let what = format!("the content does not match the server's etag ({}), twice", described.etag);
                return Err(Fault::Answer(what));
            }
        }
        Ok(disk::rename(&part, path)?)
    }

    /// Downloads until `file` has its full length.
    fn fill(&self, url: &str, bytes: u64, file: &mut File, part: &Path, watch: &mut dyn Watch) -> Outcome<()> {
        let failed = |e: io::Error| Error::file(part.display(), e, "check free space and permissions of the cache");
        let length = |file: &File| file.metadata().map(|m| m.len()).map_err(failed);
        if length(file)? > bytes {
            file.set_len(0).map_err(failed)?;
        }
        let mut failures = 0;
        while length(file)? < bytes {
            let had = length(file)?;
            let Err(fault) = self.more(url, bytes, file, part, watch) else { continue };
            failures = if length(file)? > had { 0 } else { failures + 1 };
            if !fault.passes() || failures >= TRIES {
                return Err(fault);
            }
            std::thread::sleep(PAUSE * failures.pow(2));
        }
        Ok(())
    }

    /// One request for the missing bytes.
    fn more(&self, url: &str, bytes: u64, file: &mut File, part: &Path, watch: &mut dyn Watch) -> Outcome<()> {
        let failed = |e: io::Error| Error::file(part.display(), e, "check free space and permissions of the cache");
        let have = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let (mut answer, _) = self.get(url, Some(&format!("bytes={have}-")))?;
        let from = if answer.status() == 206 { range(&answer).map(|(from, _)| from) } else { Some(0) };
        if total(&answer).is_some_and(|total| total != bytes) {
            return Err(Fault::Answer(format!("the file had {bytes} bytes, and now has another length")));
        }
        match from {
            Some(from) if from == have => {}
            Some(0) => {
                // the server does not support ranges
                file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
            }
            _ => {
                return Err(Fault::Answer(format!("the server was asked from byte {have}, but sent others")));
            }
        }
        let mut at = file.stream_position().map_err(failed)?;
        watch.start(at)?;
        let mut reader = answer.body_mut().as_reader();
        let mut block = vec![0; 1 << 16];
        loop {
            let read = reader.read(&mut block).map_err(|e| self.cut(&e))?;
            if read == 0 {
                break;
            }
            at += read as u64;
            if at > bytes {
                file.set_len(0).map_err(failed)?;
                return Err(Fault::Answer(format!("the server sent more than the {bytes} bytes it stated")));
            }
            file.write_all(&block[..read]).map_err(failed)?;
            watch.advance(read as u64)?;
        }
        if at < bytes {
            return Err(Fault::Network(format!("the connection ended after {at} of {bytes} bytes")));
        }
        Ok(())
    }

    /// The answer after all redirects, and the first etag.
    fn get(&self, url: &str, range: Option<&str>) -> Outcome<(Response<Body>, String)> {
        let mut at = url.to_string();
        let mut linked = None;
        let mut etag = String::new();
        for _ in 0..REDIRECTS {
            let mut request = self.agent.get(&at);
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            let home = origin(&at) == origin(url);
            if let Some(token) = self.token.as_ref().filter(|_| home) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let answer = request.call().map_err(|e| self.failed(&e))?;
            let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
            linked = linked.or_else(|| header("x-linked-etag"));
            if let Some(named) = header("etag").filter(|_| home || etag.is_empty()) {
                etag = named;
            }
            match answer.status().as_u16() {
                200 | 206 => return Ok((answer, linked.unwrap_or(etag))),
                301 | 302 | 303 | 307 | 308 => {
                    let to = header("location").unwrap_or_default();
                    at = redirected(&at, &to).ok_or_else(|| Fault::Answer(format!("redirected to {to:?}")))?;
                }
                // an empty file has no byte 0
                416 if range == Some("bytes=0-0") && header("content-range").as_deref() == Some("bytes */0") => {
                    return Ok((answer, linked.unwrap_or(etag)));
                }
                code => return Err(Fault::Status(code)),
            }
        }
        Err(Fault::Answer(format!("more than {REDIRECTS} redirects")))
    }

    fn failed(&self, error: &ureq::Error) -> Fault {
        Fault::Network(match error {
            ureq::Error::Timeout(_) => self.silence(),
            other => other.to_string(),
        })
    }

    /// The fault of an error while reading an answer.
    fn cut(&self, error: &io::Error) -> Fault {
        let slow = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<ureq::Error>());
        let slow = slow || matches!(inner, Some(ureq::Error::Timeout(_)));
        Fault::Network(if slow { self.silence() } else { format!("the connection broke: {error}") })
    }

    fn silence(&self) -> String {
        format!("the server was silent for {} s", self.timeout.as_secs_f64())
    }
}

/// Tries again after temporary faults.
fn retry<T>(mut once: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let mut failures = 0;
    loop {
        failures += 1;
        match once() {
            Err(fault) if fault.passes() && failures < TRIES => std::thread::sleep(PAUSE * failures.pow(2)),
            other => return other,
        }
    }
}

/// First byte of a partial answer, and the file's length.
fn range(answer: &Response<Body>) -> Option<(u64, u64)> {
    let text = answer.headers().get("content-range")?.to_str().ok()?;
    let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let from = part.split_once('-').map_or(Some(0), |(from, _)| from.parse().ok())?;
    Some((from, total.parse().ok()?))
}

/// The file's length, as stated by an answer.
fn total(answer: &Response<Body>) -> Option<u64> {
    match answer.status().as_u16() {
        200 => answer.headers().get("content-length")?.to_str().ok()?.parse().ok(),
        _ => range(answer).map(|(_, total)| total),
    }
}

/// `https://host:port` of a URL.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    Some(&url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end)])
}

/// The target of a redirect from `at`; none if it must not be followed, such as from https to http.
fn redirected(at: &str, to: &str) -> Option<String> {
    let scheme = at.split("://").next()?;
    let to = match to {
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{}{to}", origin(at)?),
        _ => to.to_string(),
    };
    (to.starts_with("https://") || scheme == "http" && to.starts_with("http://")).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_but_not_from_https_to_http() {
        let at = "https://hub.example/owner/name/resolve/main/a.bin?x=1";
        let to = |to: &str| redirected(at, to);
        assert_eq!(to("/api/cache/a.bin").as_deref(), Some("https://hub.example/api/cache/a.bin"));
        assert_eq!(to("//cdn.example/a").as_deref(), Some("https://cdn.example/a"));
        assert_eq!(to("https://cdn.example/a").as_deref(), Some("https://cdn.example/a"));
        for nowhere in ["http://cdn.example/a", "ftp://cdn.example/a", "a.bin", ""] {
            assert_eq!(to(nowhere), None, "{nowhere}");
        }
        assert_eq!(
            redirected("http://127.0.0.1:80/a", "http://127.0.0.1:81/b").as_deref(),
            Some("http://127.0.0.1:81/b")
        );
        assert_eq!(origin("http://127.0.0.1:80"), Some("http://127.0.0.1:80"));
        assert_ne!(origin("http://127.0.0.1:80/a"), origin("http://127.0.0.1:81/a"));
    }
}
