//! Requests to other servers from the worker: with a range, in pieces, and as a folder of which only those parts are downloaded
//! that are read. A single range needs no CORS preflight; further headers would, and are not sent.

use super::files::said;
use super::port::{Head, Piece};
use super::remote::{Fault, Remote, RemoteFile};
use crate::error::{Error, Result};
use crate::io::{ByteSource, ReadSeek};
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use std::cell::RefCell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, DedicatedWorkerGlobalScope, ReadableStreamDefaultReader, RequestCache, RequestInit, Response,
    XmlHttpRequest, XmlHttpRequestResponseType,
};

/// Milliseconds without data after which the caller is told.
const PATIENCE: i32 = 200;
/// Milliseconds after which a server that has not answered counts as gone, for requests for which the worker waits.
const TIMEOUT: u32 = 30_000;
/// Files up to this size are read whole.
const SMALL: u64 = 3 << 20;
/// Bytes of a large file that are asked for at first; twice as many for each part that follows directly.
const FIRST: u64 = 64 << 10;
const MOST: u64 = 4 << 20;

type Outcome<T> = std::result::Result<T, Fault>;

fn range_text((from, to): (u64, Option<u64>)) -> String {
    format!("bytes={from}-{}", to.map(|to| to.to_string()).unwrap_or_default())
}

/// Asks for `url`, and passes the answer on in pieces. Dropped or ended by an error, the request is aborted.
pub async fn request(
    scope: &DedicatedWorkerGlobalScope,
    url: &str,
    range: Option<(u64, Option<u64>)>,
    heard: &mut dyn FnMut(&Piece<'_>) -> Outcome<()>,
) -> Outcome<()> {
    let lost = |error: JsValue| Fault::Network(format!("no connection ({})", said(&error)));
    let abort = Abort(AbortController::new().map_err(lost)?);
    let init = RequestInit::new();
    init.set_signal(Some(&abort.0.signal()));
    init.set_cache(RequestCache::NoStore);
    for (key, value) in [("credentials", "omit"), ("referrerPolicy", "no-referrer")] {
        Reflect::set(&init, &key.into(), &value.into()).map_err(lost)?;
    }
    if let Some(range) = range {
        let headers = Object::new();
        Reflect::set(&headers, &"Range".into(), &range_text(range).into()).map_err(lost)?;
        init.set_headers(&headers);
    }
    let response = scope.fetch_with_str_and_init(url, &init);
    let response: Response = waited(scope, &response, heard).await?.map_err(lost)?.unchecked_into();
    let header = |name: &str| response.headers().get(name).ok().flatten();
    let status = response.status();
    if status != 200 && status != 206 {
        let wait = header("retry-after").and_then(|text| text.trim().parse().ok());
        return Err(Fault::Status(status, wait));
    }
    let (from, total) = match header("content-range").as_deref().and_then(content_range) {
        Some((from, total)) => (Some(from), total),
        None if status == 200 => (None, header("content-length").and_then(|text| text.parse().ok())),
        None => (None, None),
    };
    heard(&Piece::Head(Head { status, from, total }))?;
    let Some(stream) = response.body() else { return Ok(()) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let broken = |error: JsValue| Fault::Network(format!("the connection broke ({})", said(&error)));
    let mut bytes = Vec::new();
    loop {
        let chunk = waited(scope, &reader.read(), heard).await?.map_err(broken)?;
        if Reflect::get(&chunk, &"done".into()).is_ok_and(|done| done.is_truthy()) {
            return Ok(());
        }
        let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).map_err(broken)?.unchecked_into();
        bytes.resize(chunk.length() as usize, 0);
        chunk.copy_to(&mut bytes);
        heard(&Piece::Bytes(&bytes))?;
    }
}

/// First byte and the file's length in `bytes FROM-TO/LENGTH`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// Aborts its request when it is dropped; nothing happens if that has ended.
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The result of a promise. While it is pending, the caller is told regularly and may stop.
async fn waited(
    scope: &DedicatedWorkerGlobalScope,
    promise: &Promise,
    heard: &mut dyn FnMut(&Piece<'_>) -> Outcome<()>,
) -> Outcome<std::result::Result<JsValue, JsValue>> {
    let mut silence = 0;
    loop {
        let pause = timeout(scope, PATIENCE);
        match JsFuture::from(Promise::race(&Array::of2(promise, &pause))).await {
            Ok(nothing) if nothing.is_undefined() => {
                silence += PATIENCE;
                heard(&Piece::Silence(f64::from(silence) / 1000.0))?;
            }
            end => return Ok(end),
        }
    }
}

/// A promise that is fulfilled after some milliseconds.
pub fn timeout(scope: &DedicatedWorkerGlobalScope, milliseconds: i32) -> Promise {
    Promise::new(&mut |resolve, _| {
        drop(scope.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds));
    })
}

/// A model's folder on a server.
pub struct RemoteFolder {
    name: String,
    files: Vec<(RemoteFile, RefCell<Known>)>,
}

/// What is known of a file: its parts by position, and the address that the server redirected to.
#[derive(Default)]
struct Known {
    parts: Vec<(u64, Vec<u8>)>,
    redirected: Option<String>,
}

impl RemoteFolder {
    pub fn new(remote: &Remote) -> Self {
        let files = remote.files.iter().map(|file| (file.clone(), RefCell::default())).collect();
        Self { name: remote.name.clone(), files }
    }
}

impl ByteSource for RemoteFolder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn has(&self, file: &str) -> bool {
        self.files.iter().any(|(known, _)| known.name == file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        match self.files.iter().find(|(known, _)| known.name == file) {
            Some((file, known)) => Ok(Box::new(BufReader::new(Reader { file, known, at: 0 }))),
            None => Err(Error::file(self.path(file), "no such file", "choose another revision or model")),
        }
    }
}

/// A file's bytes from any position.
struct Reader<'a> {
    file: &'a RemoteFile,
    known: &'a RefCell<Known>,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.file.bytes || into.is_empty() {
            return Ok(0);
        }
        let mut known = self.known.borrow_mut();
        let has = |(start, bytes): &(u64, Vec<u8>)| (*start..*start + bytes.len() as u64).contains(&self.at);
        let found = match known.parts.iter().position(has) {
            Some(found) => found,
            None => {
                let before = known.parts.iter().find(|(start, bytes)| start + bytes.len() as u64 == self.at);
                let size = before.map_or(FIRST, |(_, bytes)| (2 * bytes.len() as u64).min(MOST));
                let all = self.file.bytes <= SMALL;
                let from = if all { 0 } else { self.at };
                let end = if all { self.file.bytes } else { (from + size).min(self.file.bytes) };
                let bytes = ask(self.file, &mut known.redirected, from, end)?;
                known.parts.push((from, bytes));
                known.parts.len() - 1
            }
        };
        let (start, bytes) = &known.parts[found];
        let part = &bytes[(self.at - start) as usize..];
        let n = part.len().min(into.len());
        into[..n].copy_from_slice(&part[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.file.bytes, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = base.checked_add_signed(by).ok_or_else(|| io::Error::other("a position before the file"))?;
        Ok(self.at)
    }
}

/// The bytes from `from` to before `end`, by a request for which the worker waits: reading headers is not asynchronous. The address
/// that the hub redirects to is asked directly from then on, as long as it is valid.
fn ask(file: &RemoteFile, redirected: &mut Option<String>, from: u64, end: u64) -> io::Result<Vec<u8>> {
    let before = redirected.take();
    let mut last = String::new();
    for url in before.iter().chain([&file.url, &file.url]) {
        let failed = |error: JsValue| io::Error::other(said(&error));
        let request = XmlHttpRequest::new().map_err(failed)?;
        request.open_with_async("GET", url, false).map_err(failed)?;
        request.set_response_type(XmlHttpRequestResponseType::Arraybuffer);
        request.set_timeout(TIMEOUT);
        request.set_request_header("Range", &range_text((from, Some(end - 1)))).map_err(failed)?;
        if request.send().is_err() {
            last = "no answer; check the network, and on a server of your own CORS (docs/page.md)".into();
            continue;
        }
        let status = request.status().unwrap_or(0);
        let bytes = match request.response() {
            // A server without ranges has sent the whole file.
            Ok(bytes) if status == 200 => Uint8Array::new(&bytes).subarray(from as u32, end as u32).to_vec(),
            Ok(bytes) if status == 206 => Uint8Array::new(&bytes).to_vec(),
            _ => {
                last = Fault::Status(status, None).what();
                continue;
            }
        };
        if bytes.len() as u64 != end - from {
            return Err(io::Error::other("the server's file is shorter than it should be"));
        }
        *redirected = Some(request.response_url()).filter(|url| !url.is_empty());
        return Ok(bytes);
    }
    Err(io::Error::other(last))
}
