//! Downloads the files of models: asks a hub or another server what there is, and fetches each file into the browser's storage in
//! a way that can be continued after a lost connection, a reload or a closed tab. A file counts only when its size and hash are
//! right.

use super::port::{PartFile, Piece, Port};
use super::remote::{self, Fault, Hash, Place, Remote, RemoteFile};
use super::session::Session;
use crate::error::{Error, Result};
use crate::io::Memory;
use crate::io::checkpoint::weights;
use crate::protocol::{Event, Id, Reply};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Consecutive attempts without new data before a download ends; what is there stays.
const TRIES: u32 = 4;
/// Seconds without data after which a connection counts as lost.
const SILENCE: f64 = 30.0;
/// Largest answer about a repository, and largest list of shards.
const MAX_TEXT: usize = 64 << 20;
/// Bytes of a partial file that are read at once for its hash.
const CHUNK: usize = 1 << 20;

type Outcome<T> = std::result::Result<T, Fault>;

/// The hash of a file while it comes in.
enum Hasher {
    Sha256(Sha256),
    Blob(Sha1),
    None,
}

impl Hasher {
    fn new(file: &RemoteFile) -> Self {
        match file.hash {
            Hash::Sha256(_) => Self::Sha256(Sha256::new()),
            Hash::Blob(_) => Self::Blob(Sha1::new_with_prefix(format!("blob {}\0", file.bytes))),
            Hash::None => Self::None,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Blob(hash) => hash.update(bytes),
            Self::None => {}
        }
    }

    fn is(self, hash: &Hash) -> bool {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match (self, hash) {
            (Self::Sha256(found), Hash::Sha256(listed)) => hex(&found.finalize()) == *listed,
            (Self::Blob(found), Hash::Blob(listed)) => hex(&found.finalize()) == *listed,
            _ => true,
        }
    }
}

/// A file that is being downloaded: what is there, and its hash.
struct Coming<'a> {
    file: &'a RemoteFile,
    part: Box<dyn PartFile>,
    have: u64,
    hasher: Hasher,
}

impl<'a> Coming<'a> {
    /// Takes up what an earlier download left.
    fn new(file: &'a RemoteFile, part: Box<dyn PartFile>) -> Result<Self> {
        let mut coming = Self { file, part, have: 0, hasher: Hasher::new(file) };
        let mut chunk = vec![0; CHUNK];
        if coming.part.len()? > file.bytes {
            coming.part.clear()?;
        }
        loop {
            let n = coming.part.read(coming.have, &mut chunk)?;
            if n == 0 {
                return Ok(coming);
            }
            coming.hasher.add(&chunk[..n]);
            coming.have += n as u64;
        }
    }

    fn begin_again(&mut self) -> Result<()> {
        self.part.clear()?;
        (self.have, self.hasher) = (0, Hasher::new(self.file));
        Ok(())
    }

    /// Takes a piece of the server's answer to a request for everything from `asked` on.
    fn take(&mut self, piece: &Piece<'_>, asked: u64) -> Outcome<()> {
        let of = self.file.bytes;
        match piece {
            Piece::Head(head) => {
                let from = if head.status == 206 { head.from.unwrap_or(asked) } else { 0 };
                if head.total.is_some_and(|total| total != of && head.status == 206) {
                    return Err(Fault::Answer(format!("the file had {of} bytes, and has another length now")));
                }
                match from {
                    from if from == self.have => Ok(()),
                    0 => Ok(self.begin_again()?), // a server without ranges
                    _ => Err(Fault::Answer(format!("the server was asked from byte {asked}, but sent others"))),
                }
            }
            Piece::Bytes(bytes) => {
                if self.have + bytes.len() as u64 > of {
                    self.begin_again()?;
                    return Err(Fault::Answer(format!("the server sent more than the {of} bytes of the file")));
                }
                self.part.append(self.have, bytes)?;
                self.hasher.add(bytes);
                self.have += bytes.len() as u64;
                Ok(())
            }
            Piece::Silence(seconds) if *seconds > SILENCE => {
                Err(Fault::Network(format!("the server was silent for {SILENCE} s")))
            }
            Piece::Silence(_) => Ok(()),
        }
    }
}

impl<P: Port> Session<P> {
    /// What a hub id or an address names.
    pub async fn look(&mut self, id: Id, source: &str) -> Result<Remote> {
        let place = Place::parse(source)?;
        let name = place.name();
        let (revision, there) = match &place {
            Place::Hub(hub) => {
                let wrong = || Error::file(source, "the hub's answer cannot be understood", "try again later");
                let answer = self.text(id, &remote::revision_url(hub), source).await?;
                let commit = remote::commit(&answer).ok_or_else(wrong)?;
                let answer = self.text(id, &remote::tree_url(hub, &commit), source).await?;
                let there = remote::tree(&answer, &place, &commit).ok_or_else(wrong)?;
                (Some(commit), there)
            }
            Place::Address(_) => (None, self.ask_for_names(id, &place, source).await?),
        };
        let mut files = remote::needed(&there, source)?;
        if let Some(index) = files.pop_if(|file| file.name.ends_with(".index.json")) {
            let list = self.text(id, &index.url, source).await?;
            let folder = Memory::new(source, [(index.name.clone(), list)].into());
            let shards = weights::shards(&weights::weight_map(&folder, &index.name)?);
            for shard in shards {
                let url = place.url(revision.as_deref().unwrap_or_default(), &shard);
                let found = match revision {
                    Some(_) => there.iter().find(|file| file.name == shard).cloned(),
                    None => self.describe(id, &shard, url, source).await?,
                };
                let missing =
                    || Error::file(source, format!("{shard} is not there"), "choose another revision or model");
                files.push(found.ok_or_else(missing)?);
            }
            files.push(index);
        }
        Ok(Remote { name, revision, files })
    }

    /// The files of a server that has no list.
    async fn ask_for_names(&mut self, id: Id, place: &Place, source: &str) -> Result<Vec<RemoteFile>> {
        let mut there = Vec::new();
        for (group, names) in remote::candidates().into_iter().enumerate() {
            for name in names {
                let found = self.describe(id, name, place.url("", name), source).await?;
                // of the weights the first; of the tokenizer one file or all the others
                let enough = found.is_some() && (group == 2 || *name == "tokenizer.json");
                there.extend(found);
                if enough {
                    break;
                }
            }
        }
        Ok(there)
    }

    /// A file and its length, if a server has it.
    async fn describe(&mut self, id: Id, name: &str, url: String, source: &str) -> Result<Option<RemoteFile>> {
        let of = format!("{source}/{name}");
        let mut told = None;
        let asked = self
            .retried(id, &of, &url, Some((0, Some(0))), &mut |piece| match piece {
                Piece::Head(head) => {
                    told = Some(head.total);
                    // Of a server without ranges nothing but the head is wanted.
                    if head.status == 206 { Ok(()) } else { Err(Error::Stopped.into()) }
                }
                _ => Ok(()),
            })
            .await;
        match asked {
            Ok(()) => {}
            Err(Fault::Ours(Error::Stopped)) if told.is_some() => {}
            Err(Fault::Status(403 | 404 | 410 | 416, _)) => return Ok(None),
            Err(fault) => return Err(fault.error(&of)),
        }
        let hint = "let the server expose Content-Length and Content-Range (docs/page.md)";
        let bytes = told.flatten().ok_or_else(|| Error::file(&of, "the server does not tell its length", hint))?;
        Ok(Some(RemoteFile { name: name.into(), url, bytes, hash: Hash::None }))
    }

    /// The whole answer of a server; `of` is for messages.
    async fn text(&mut self, id: Id, url: &str, of: &str) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let asked = self
            .retried(id, of, url, None, &mut |piece| {
                match piece {
                    Piece::Head(_) => text.clear(),
                    Piece::Bytes(bytes) if text.len() + bytes.len() > MAX_TEXT => {
                        return Err(Error::file(of, "the answer is too long", "check the address").into());
                    }
                    Piece::Bytes(bytes) => text.extend_from_slice(bytes),
                    Piece::Silence(_) => {}
                }
                Ok(())
            })
            .await;
        asked.map_err(|fault| fault.error(of))?;
        Ok(text)
    }

    /// A request that is repeated after faults that may pass.
    async fn retried(
        &mut self,
        id: Id,
        of: &str,
        url: &str,
        range: Option<(u64, Option<u64>)>,
        take: &mut dyn FnMut(&Piece<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut failures = 0;
        loop {
            let inbox = self.inbox.clone();
            let asked = self
                .port
                .request(url, range, &mut |_, piece| {
                    if inbox.stopped(id) {
                        return Err(Error::Stopped.into());
                    }
                    match piece {
                        Piece::Silence(seconds) if *seconds > SILENCE => {
                            Err(Fault::Network(format!("the server was silent for {SILENCE} s")))
                        }
                        piece => take(piece),
                    }
                })
                .await;
            match asked {
                Err(fault) if fault.passes() && failures + 1 < TRIES => {
                    failures += 1;
                    self.wait(id, of, &fault, failures).await?;
                }
                other => return other,
            }
        }
    }

    /// Downloads what is missing of a model into its folder. `told` gets the bytes that are there of all its files.
    pub async fn download(
        &mut self,
        id: Id,
        key: &str,
        remote: &Remote,
        told: &mut dyn FnMut(&mut P, u64),
    ) -> Result<()> {
        let mut before = 0;
        for file in &remote.files {
            let of = format!("{}/{}", remote.name, file.name);
            let part = self.port.part(key, &file.name).await?;
            let mut coming = Coming::new(file, part)?;
            told(&mut self.port, before + coming.have);
            let (mut failures, mut refused) = (0, 0);
            while coming.have < file.bytes {
                let asked = coming.have;
                let inbox = self.inbox.clone();
                let ended = self
                    .port
                    .request(&file.url, Some((asked, None)), &mut |port, piece| {
                        coming.take(piece, asked)?;
                        told(port, before + coming.have);
                        if inbox.stopped(id) { Err(Error::Stopped.into()) } else { Ok(()) }
                    })
                    .await;
                let fault = match ended {
                    Ok(()) if coming.have >= file.bytes => break,
                    Ok(()) => {
                        Fault::Network(format!("the connection ended after {} of {} bytes", coming.have, file.bytes))
                    }
                    Err(Fault::Status(416, _)) => Fault::Answer(format!(
                        "the server's file is shorter than the {} bytes it should have",
                        file.bytes
                    )),
                    Err(fault) => fault,
                };
                failures = if coming.have > asked { 1 } else { failures + 1 };
                // The hub redirects to a signed address, which may have expired on the way: it is asked for another one, once.
                let expired = matches!(fault, Fault::Status(403, _)) && refused == 0;
                refused += u32::from(expired);
                if !(fault.passes() || expired) || failures >= TRIES {
                    return Err(fault.error(&of));
                }
                self.wait(id, &of, &fault, failures).await?;
            }
            let Coming { mut part, hasher, .. } = coming;
            if !hasher.is(&file.hash) {
                part.clear()?;
                let hint = "continue, and it is downloaded again; if that fails too, the server has a wrong file";
                return Err(Error::file(
                    of,
                    "its content is not the one that the hub lists (wrong hash): removed",
                    hint,
                ));
            }
            before += file.bytes;
        }
        Ok(())
    }

    /// Waits before another attempt, and says so.
    async fn wait(&mut self, id: Id, of: &str, fault: &Fault, failures: u32) -> Result<()> {
        let seconds = fault.wait(failures);
        let warning = format!("{of}: {}. Trying again in {seconds:.0} s", fault.what());
        self.port.reply(&Reply::Event { id, event: Event::Warning(warning) }, None);
        let end = self.port.seconds() + seconds;
        while self.port.seconds() < end {
            if self.inbox.stopped(id) {
                return Err(Error::Stopped);
            }
            self.port.sleep((end - self.port.seconds()).clamp(0.01, 0.2)).await;
        }
        Ok(())
    }
}
