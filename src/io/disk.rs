//! Folders on disk (native only): reading them, and writing so that a crash at any moment leaves the old file or the
//! new one, never half of one. What the files mean is the caller's.
#![allow(clippy::disallowed_methods)]

use super::{ByteSource, ReadSeek, is_safe_name};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = ".lock";
const TEMPORARY: &str = ".tmp-";
const REPLACED: &str = ".old-";

/// A folder whose files are read by name.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// An existing folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let root = path.into();
        match fs::metadata(&root) {
            Ok(meta) if meta.is_dir() => Ok(Self { root }),
            Ok(_) => Err(Error::file(root.display(), "a file where a folder is needed", "give the folder it lies in")),
            Err(e) => Err(failed(&root, e)),
        }
    }

    /// The folder that holds the file `path`, and the file's name in it.
    pub fn of_file(path: &Path) -> Result<(Self, String)> {
        let meta = fs::metadata(path).map_err(|e| failed(path, e))?;
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| meta.is_file());
        let name = name.ok_or_else(|| Error::file(path.display(), "not a file", "give one file with a UTF-8 name"))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::open(parent)?, name.to_string()))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl ByteSource for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn has(&self, file: &str) -> bool {
        self.root.join(file).is_file()
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        let path = self.root.join(file);
        Ok(Box::new(File::open(&path).map_err(|e| failed(&path, e))?))
    }
}

/// An error of the file system for the person who must act: the path, what happened, what to try.
fn failed(path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a writable disk",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space, or choose another disk",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => "check which part of the path is a folder",
        _ => "check the disk and the permissions",
    };
    Error::file(path.display(), error, hint)
}

/// Creates a folder and those above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| failed(path, e))
}

/// A file's text.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| failed(path, e))
}

/// Replaces `path` by `bytes` in one step.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes).map_err(|e| failed(path, e)))
}

/// Replaces `path` in one step by what `fill` writes: a temporary file beside it, synced, renamed, folder synced.
pub fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let temporary = beside(path, TEMPORARY)?;
    let result = write_synced(&temporary, fill).and_then(|()| rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to report
    }
    result
}

fn write_synced(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::new(File::create(path).map_err(|e| failed(path, e))?);
    fill(&mut out)?;
    let file = out.into_inner().map_err(|e| failed(path, e.into_error()))?;
    file.sync_all().map_err(|e| failed(path, e))
}

/// `PREFIXname` in the folder of `path`.
fn beside(path: &Path, prefix: &str) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::file(path.display(), "not a name that can be written", "give a path that ends in a name"));
    };
    let mut temporary = std::ffi::OsString::from(prefix);
    temporary.push(name);
    Ok(path.with_file_name(temporary))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| failed(to, e))?;
    sync_folder(to.parent().unwrap_or(to))
}

/// Makes renames in a folder last through a power cut.
fn sync_folder(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match File::open(path) {
        Ok(folder) => folder.sync_all().map_err(|e| failed(path, e)),
        Err(_) => Ok(()), // a folder cannot be opened on Windows; the rename itself is done
    }
}

/// Writes a whole folder in one step: its files go to a temporary folder beside it, are synced, and the folder is
/// renamed. An existing folder of the name is replaced; a crash between the two renames is mended by [`recover`].
pub fn write_folder(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if let Some(name) = files.keys().find(|name| !is_safe_name(name)) {
        return Err(Error::file(path.display(), format!("{name:?} is no file name"), "use relative names with /"));
    }
    let (temporary, old) = (beside(path, TEMPORARY)?, beside(path, REPLACED)?);
    remove_folder(&temporary)?;
    create_folder(&temporary)?;
    for (name, bytes) in files {
        let file = temporary.join(name);
        let parent = file.parent().unwrap_or(&temporary).to_path_buf();
        create_folder(&parent)?;
        write_synced(&file, |out| out.write_all(bytes).map_err(|e| failed(&file, e)))?;
        sync_folder(&parent)?;
    }
    sync_folder(&temporary)?;
    remove_folder(&old)?;
    if path.exists() {
        rename(path, &old)?;
    }
    rename(&temporary, path)?;
    remove_folder(&old)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(path, e)),
        _ => Ok(()),
    }
}

/// Mends `folder` after a crash: unfinished temporary files and folders go, a replaced folder whose successor never
/// came returns.
pub fn recover(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| failed(folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| failed(folder, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(original) = name.strip_prefix(REPLACED).map(|n| folder.join(n)) {
            if original.exists() { remove_folder(&path)? } else { rename(&path, &original)? }
        } else if name.starts_with(TEMPORARY) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| failed(&path, e))?;
        }
    }
    Ok(())
}

/// A jsonl file that grows line by line; each line reaches the operating system before [`Lines::push`] returns, so that
/// a killed process loses at most the line it was writing.
#[derive(Debug)]
pub struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    /// Opens `path` for appending, or creates it. A torn last line, left by a crash, is cut off first.
    pub fn append(path: &Path) -> Result<Self> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(|e| failed(path, e))?;
        cut_torn_line(&mut file).map_err(|e| failed(path, e))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Appends one line; `line` has no newline.
    pub fn push(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n"); // one write, so that lines never interleave
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush()).map_err(|e| failed(&self.path, e))
    }

    /// Makes all lines last through a power cut.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| failed(&self.path, e))
    }
}

/// Cuts the file after its last newline.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    const BLOCK: u64 = 4096;
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|b| *b == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

/// Keeps the whole lines of a jsonl file that `keep` accepts (by number from 0, and text), in one step; a torn last line
/// is dropped. Returns how many are kept. A missing file has no lines. Not while a [`Lines`] has it open.
pub fn keep_lines(path: &Path, mut keep: impl FnMut(usize, &str) -> bool) -> Result<usize> {
    if !path.exists() {
        return Ok(0);
    }
    let bytes = fs::read(path).map_err(|e| failed(path, e))?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&bytes[..whole]);
    let text = text.map_err(|e| Error::file(path.display(), e, "move the damaged file away"))?;
    let kept: Vec<&str> =
        text.split_inclusive('\n').enumerate().filter(|(i, l)| keep(*i, l.trim_end())).map(|(_, l)| l).collect();
    let content = kept.concat();
    if content.len() != bytes.len() {
        write_atomic(path, content.as_bytes())?;
    }
    Ok(kept.len())
}

/// A folder that this process alone may write, until dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File, // the operating system frees the lock with it, after a crash too
}

impl FolderLock {
    /// Takes the lock, or says who has it.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|e| failed(&path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.take(20).read_to_string(&mut owner); // only for the message
                return Err(Error::file(
                    folder.display(),
                    format!("in use by another detox-lab (process {})", owner.trim()),
                    "wait until it ends, stop it, or choose another folder",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(failed(&path, e)),
        }
        let owner = std::process::id().to_string();
        file.set_len(0).and_then(|()| file.write_all(owner.as_bytes())).map_err(|e| failed(&path, e))?;
        Ok(Self { _file: file })
    }
}
