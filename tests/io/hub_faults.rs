//! Faulty hubs: a download continues or says what is wrong, and never leaves a bad file in the cache.

use crate::support::hub::*;
use detox_lab::error::Error;
use detox_lab::io::ByteSource;
use detox_lab::io::hub::{Hub, MODEL, Progress, RepoKind};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FILES: [&str; 2] = ["config.json", "model.safetensors"];

/// The content of the large file.
fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i % 1000 * i / 7) as u8).collect()
}

/// A hub with a good list and a good small file; `answer` sends the large one, and gets the number of earlier requests for it.
fn server(answer: impl Fn(&Request, &mut TcpStream, usize) + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request, stream| {
        if is_listing(request) {
            let listing = listing(&FILES);
            send(stream, "200 OK", &[], listing.len(), listing.as_bytes());
        } else if request.path.ends_with("config.json") {
            send_file(request, stream, b"{}", 2);
        } else {
            let nth = if request.probe { count.load(Ordering::SeqCst) } else { count.fetch_add(1, Ordering::SeqCst) };
            answer(request, stream, nth);
        }
    })
}

struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn fetch(&self, server: &Server) -> Result<Vec<u8>, String> {
        self.fetch_telling(server, &mut Told::default()).map_err(|e| e.to_string())
    }

    fn fetch_telling(&self, server: &Server, told: &mut dyn Progress) -> Result<Vec<u8>, Error> {
        let hub = Hub {
            cache: self.0.path().into(),
            endpoint: Some(server.address.clone()),
            token: Some("secret".into()),
            offline: false,
            timeout: Duration::from_millis(400),
        };
        hub.resolve("owner/name", RepoKind::Model, MODEL, told)?.read("model.safetensors")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("models--owner--name").join(path)
    }

    /// Whether there is anything that could be taken for the file.
    fn holds_it(&self) -> bool {
        let link = self.at("snapshots").join(COMMIT).join("model.safetensors");
        let blobs = self.at("blobs").read_dir().into_iter().flatten().flatten().map(|e| e.path());
        let whole = |p: &Path| p.extension().is_none() && p.metadata().unwrap().len() > 2;
        link.symlink_metadata().is_ok() || blobs.into_iter().any(|p| whole(&p))
    }

    fn part(&self) -> u64 {
        self.at("blobs").join(format!("{}.part", etag(&content()))).metadata().map_or(0, |m| m.len())
    }
}

/// Checks an error: which file, what happened, what to try.
fn says(message: &str, what: &str, hint: &str) {
    assert!(message.contains("owner/name") || message.contains("blobs"), "{message}");
    assert!(message.contains(what) && message.contains("try: ") && message.contains(hint), "{message}");
}

#[test]
fn an_interrupted_download_continues_where_it_stopped() {
    let server = server(|r, s, nth| send_file(r, s, &content(), if nth < 2 { 100_000 } else { usize::MAX }));
    let (cache, mut told) = (Cache::new(), Told::default());
    assert_eq!(cache.fetch_telling(&server, &mut told).unwrap(), content());
    assert_eq!(server.contents("model.safetensors"), [0, 100_000, 200_000]);
    assert_eq!(told.bytes["model.safetensors"], 300_000);
    assert_eq!(cache.part(), 0);
}

#[test]
fn downloaded_bytes_are_kept_for_the_next_time() {
    let cache = Cache::new();
    let cut = server(|r, s, nth| send_file(r, s, &content(), if nth == 0 { 1234 } else { 0 }));
    let message = cache.fetch(&cut).unwrap_err();
    says(&message, "model.safetensors cannot be downloaded from the hub", "the download then continues");
    assert!(!cache.holds_it() && cache.part() == 1234);
    let good = server(|r, s, _| send_file(r, s, &content(), usize::MAX));
    assert_eq!(cache.fetch(&good).unwrap(), content());
    assert_eq!(good.contents("model.safetensors"), [1234]);
    assert_eq!(good.contents("config.json"), [0usize; 0], "it is already there");
}

#[test]
fn a_stop_on_request_keeps_the_downloaded_bytes() {
    struct Stop(u64);
    impl Progress for Stop {
        fn start(&mut self, _: &str, _: u64, _: u64) -> detox_lab::Result<()> {
            Ok(())
        }
        fn advance(&mut self, bytes: u64) -> detox_lab::Result<()> {
            self.0 += bytes;
            if self.0 > 100_000 { Err(Error::Stopped) } else { Ok(()) }
        }
        fn finish(&mut self) {}
    }
    let (cache, server) = (Cache::new(), server(|r, s, _| send_file(r, s, &content(), usize::MAX)));
    assert!(matches!(cache.fetch_telling(&server, &mut Stop(0)), Err(Error::Stopped)));
    assert!(!cache.holds_it() && cache.part() > 100_000);
    assert_eq!(cache.fetch(&server).unwrap(), content());
}

#[test]
fn a_silent_server_is_asked_again_or_reported() {
    let silence = || std::thread::sleep(Duration::from_secs(60));
    let dumb = Server::start(move |_, _| silence());
    says(&Cache::new().fetch(&dumb).unwrap_err(), "was silent for 0.4 s", "check the network");
    // once in the middle of a file
    let slow = server(move |r, s, nth| {
        if nth > 0 {
            return send_file(r, s, &content(), usize::MAX);
        }
        send_file(r, s, &content(), 50_000);
        silence();
    });
    let cache = Cache::new();
    assert_eq!(cache.fetch(&slow).unwrap(), content());
    assert_eq!(slow.contents("model.safetensors"), [0, 50_000]);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let server = server(|r, s, nth| {
        let all = content();
        let headers = [("ETag", format!("\"{}\"", etag(&all)))];
        let most = if nth == 0 && !r.probe { 70_000 } else { all.len() };
        send(s, "200 OK", &headers, all.len(), &all[..most]);
    });
    assert_eq!(Cache::new().fetch(&server).unwrap(), content());
    assert_eq!(server.contents("model.safetensors"), [0, 70_000]);
}

#[test]
fn a_wrong_length_is_refused() {
    // the file does not have the stated length
    let other = server(|r, s, _| {
        let all = if r.probe { content() } else { content()[..200_000].to_vec() };
        let range = format!("bytes {}-{}/{}", r.from, all.len() - 1, all.len());
        let headers = [("ETag", format!("\"{}\"", etag(&content()))), ("Content-Range", range)];
        send(s, "206 Partial Content", &headers, all.len() - r.from, &all[r.from..]);
    });
    let cache = Cache::new();
    says(&cache.fetch(&other).unwrap_err(), "had 300000 bytes, and now has another length", "HF_ENDPOINT");
    assert!(!cache.holds_it());
    // more bytes than stated
    let more = server(|r, s, _| {
        let all = [content(), vec![0; 5000]].concat();
        let headers = [
            ("ETag", format!("\"{}\"", etag(&content()))),
            ("Content-Range", format!("bytes {}-{}/300000", r.from, all.len() - 1)),
        ];
        send(s, "206 Partial Content", &headers, all.len() - r.from, &all[r.from..]);
    });
    says(&cache.fetch(&more).unwrap_err(), "more than the 300000 bytes", "HF_ENDPOINT");
    assert!(!cache.holds_it() && cache.part() == 0);
    // another part than requested
    let elsewhere = server(|r, s, nth| {
        let from = if nth > 0 { 7 } else { r.from };
        send_file(&Request { from, ..r.clone() }, s, &content(), 90_000);
    });
    says(&cache.fetch(&elsewhere).unwrap_err(), "asked from byte 90000, but sent others", "HF_ENDPOINT");
    assert!(!cache.holds_it());
}

#[test]
fn a_wrong_content_is_downloaded_again_and_then_refused() {
    let lie = |request: &Request, stream: &mut TcpStream, good: bool| {
        let mut all = content();
        if !good {
            all[299_999] ^= 1;
        }
        let to = if request.probe { 1 } else { all.len() };
        let range = format!("bytes {}-{}/{}", request.from, to - 1, all.len());
        let headers = [("X-Linked-Etag", format!("\"{}\"", etag(&content()))), ("Content-Range", range)];
        send(stream, "206 Partial Content", &headers, to - request.from, &all[request.from..to]);
    };
    let cache = Cache::new();
    let bad = server(move |r, s, _| lie(r, s, false));
    says(&cache.fetch(&bad).unwrap_err(), "the content does not match the server's etag", "HF_ENDPOINT");
    assert_eq!(bad.contents("model.safetensors"), [0, 0]);
    assert!(!cache.holds_it() && cache.part() == 0);
    let once = server(move |r, s, nth| lie(r, s, nth > 0));
    assert_eq!(cache.fetch(&once).unwrap(), content());
    // git's blob id, as for small files
    let small = Server::start(|request, stream| {
        if is_listing(request) {
            let listing = listing(&FILES);
            return send(stream, "200 OK", &[], listing.len(), listing.as_bytes());
        }
        let id = "9e26dfeeb6e641a33dae4961196235bdb965b21b"; // printf '{}' | git hash-object --stdin
        let good = request.path.ends_with("config.json");
        let (id, body) = if good { (id.to_string(), b"{}") } else { (id.replace("9e26", "8e26"), b"[]") };
        let range = format!("bytes {}-1/2", request.from);
        let headers = [("ETag", format!("\"{id}\"")), ("Content-Range", range)];
        send(stream, "206 Partial Content", &headers, 2 - request.from, &body[request.from..]);
    });
    let message = Cache::new().fetch(&small).unwrap_err();
    says(&message, "model.safetensors cannot be downloaded", "HF_ENDPOINT");
    assert!(message.contains(&format!("not match the server's etag ({})", "8e26dfeeb6e641a33dae4961196235bdb965b21b")));
}

#[test]
fn a_damaged_file_in_the_cache_is_not_linked_to_again() {
    let (cache, server) = (Cache::new(), server(|r, s, _| send_file(r, s, &content(), usize::MAX)));
    cache.fetch(&server).unwrap();
    let (link, blob) =
        (cache.at("snapshots").join(COMMIT).join("model.safetensors"), cache.at("blobs").join(etag(&content())));
    fs::remove_file(&link).unwrap();
    assert_eq!(cache.fetch(&server).unwrap(), content());
    assert_eq!(server.contents("model.safetensors").len(), 1, "an undamaged file is not downloaded again");
    fs::remove_file(&link).unwrap();
    fs::write(&blob, vec![0; 300_000]).unwrap();
    assert_eq!(cache.fetch(&server).unwrap(), content());
    assert_eq!(server.contents("model.safetensors").len(), 2);
}

#[test]
fn every_refusal_says_what_to_do() {
    for (status, tries, hint) in [
        ("404 Not Found", 1, "check the name and the revision"),
        ("401 Unauthorized", 1, "set HF_TOKEN"),
        ("403 Forbidden", 1, "set HF_TOKEN"),
        ("500 Internal Server Error", 4, "answered with an error"),
        ("429 Too Many Requests", 4, "try again later"),
        ("204 No Content", 1, "try again"),
    ] {
        let whole = Server::start(move |_, s| send(s, status, &[], 0, b""));
        let message = Cache::new().fetch(&whole).unwrap_err();
        says(&message, &format!("the server answered with status {}", &status[..3]), hint);
        assert_eq!(whole.asked.lock().unwrap().len(), tries, "{status}");
        if status.starts_with("429") {
            continue; // as 500, and trying again takes time
        }
        // only for the content
        let cache = Cache::new();
        let one =
            server(move |r, s, _| if r.probe { send_file(r, s, &content(), 1) } else { send(s, status, &[], 0, b"") });
        says(&cache.fetch(&one).unwrap_err(), "model.safetensors cannot be downloaded", hint);
        assert!(!cache.holds_it());
    }
    let passing = server(|r, s, nth| match nth {
        0 if !r.probe => send(s, "503 Service Unavailable", &[], 0, b""),
        _ => send_file(r, s, &content(), usize::MAX),
    });
    assert_eq!(Cache::new().fetch(&passing).unwrap(), content());
}

#[test]
fn redirects_are_followed_and_other_hosts_get_no_token() {
    let store = Server::start(|r, s| send_file(r, s, &content(), usize::MAX));
    let away = store.address.clone();
    let hub = server(move |r, s, _| {
        let to =
            if r.path.starts_with("/moved") { format!("{away}/blob?sig=1") } else { "/moved/model.safetensors".into() };
        let headers =
            [("Location", to), ("X-Linked-Etag", format!("\"{}\"", etag(&content()))), ("ETag", "\"other\"".into())];
        send(s, "302 Found", &headers, 0, b"");
    });
    assert_eq!(Cache::new().fetch(&hub).unwrap(), content());
    assert!(store.asked.lock().unwrap().iter().all(|r| r.token.is_none()));
    assert!(hub.asked.lock().unwrap().iter().all(|r| r.token.as_deref() == Some("Bearer secret")));
    let circle =
        server(|_, s, _| send(s, "307 Temporary Redirect", &[("Location", "/model.safetensors".into())], 0, b""));
    says(&Cache::new().fetch(&circle).unwrap_err(), "more than 8 redirects", "HF_ENDPOINT");
    let nowhere = server(|_, s, _| send(s, "302 Found", &[], 0, b""));
    says(&Cache::new().fetch(&nowhere).unwrap_err(), "redirected to \"\"", "HF_ENDPOINT");
}

#[test]
fn names_that_would_leave_the_cache_are_refused() {
    for (body, what) in [
        ("<html>".to_string(), "the server's answer is not a list of files"),
        (listing(&FILES).replace(COMMIT, "../../x"), "which is not a commit"),
        (listing(&FILES).replace(COMMIT, ""), "which is not a commit"),
    ] {
        let server = Server::start(move |_, s| send(s, "200 OK", &[], body.len(), body.as_bytes()));
        says(&Cache::new().fetch(&server).unwrap_err(), what, "HF_ENDPOINT");
    }
    for tag in ["\"../../../x\"", "\"\"", "\"..\"", "\"a/b\""] {
        let server = server(move |r, s, _| {
            let headers = [("ETag", tag.to_string()), ("Content-Range", format!("bytes {}-0/1", r.from))];
            send(s, "206 Partial Content", &headers, 1, b"x");
        });
        says(&Cache::new().fetch(&server).unwrap_err(), "is invalid", "HF_ENDPOINT");
    }
}
