//! A hub on this machine, whose answers and faults a test chooses.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use detox_lab::error::Result;
use detox_lab::io::hub::Progress;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// First requested byte, and whether only one byte was requested.
    pub from: usize,
    pub probe: bool,
    pub token: Option<String>,
}

/// A server and the requests so far.
pub struct Server {
    pub address: String,
    pub asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Passes every connection to `answer`, which writes any bytes; then the connection is closed.
    pub fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let list = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map(|stream| stream.unwrap()) {
                let (list, answer) = (list.clone(), answer.clone());
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream) {
                        list.lock().unwrap().push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// The first bytes of all requests for a file's content.
    pub fn contents(&self, file: &str) -> Vec<usize> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|r| r.path.ends_with(file) && !r.probe).map(|r| r.from).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_string();
    let headers: Vec<String> = lines.map_while(|line| line.ok()).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let named = |h: &&String| h.to_lowercase().starts_with(&format!("{name}: "));
        headers.iter().find(named).map(|h| h[name.len() + 2..].to_string())
    };
    let range = header("range").unwrap_or("bytes=0-".into());
    let from = range.trim_start_matches("bytes=").split('-').next()?.parse().ok()?;
    Some(Request { path, from, probe: range == "bytes=0-0", token: header("authorization") })
}

/// Sends a complete answer; a closed connection is not an error.
pub fn send(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], length: usize, body: &[u8]) {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
}

/// The list of files of `owner/name`.
pub fn listing(files: &[&str]) -> String {
    let siblings: Vec<_> = files.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
    serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string()
}

pub fn is_listing(request: &Request) -> bool {
    request.path == "/api/models/owner/name/revision/main"
}

/// The hub's name for a large file's content.
pub fn etag(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a file as a correct server does, from the requested byte on, but at most `most` bytes.
pub fn send_file(request: &Request, stream: &mut TcpStream, content: &[u8], most: usize) {
    let to = if request.probe { request.from + 1 } else { content.len() };
    let range = format!("bytes {}-{}/{}", request.from, to - 1, content.len());
    let headers =
        [("ETag", format!("\"{}\"", etag(content))), ("X-Repo-Commit", COMMIT.into()), ("Content-Range", range)];
    let part = &content[request.from..to];
    send(stream, "206 Partial Content", &headers, part.len(), &part[..part.len().min(most)]);
}

/// Downloaded bytes by file.
#[derive(Default)]
pub struct Told {
    pub now: String,
    pub bytes: BTreeMap<String, u64>,
    pub finished: usize,
}

impl Progress for Told {
    fn start(&mut self, file: &str, done: u64, _: u64) -> Result<()> {
        self.now = file.to_string();
        self.bytes.insert(file.to_string(), done);
        Ok(())
    }
    fn advance(&mut self, bytes: u64) -> Result<()> {
        *self.bytes.get_mut(&self.now).unwrap() += bytes;
        Ok(())
    }
    fn finish(&mut self) {
        self.finished += 1;
    }
}
