//! Reads and writes folders on disk (native only). After a crash at any moment there is either the old or the new file, never a
//! part of one.
#![allow(clippy::disallowed_methods)]

use super::{ByteSource, Lasting, ReadSeek, is_safe_name};
use crate::encoding;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(super) const LOCK_FILE: &str = ".lock";
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
            Ok(_) => Err(Error::file(root.display(), "not a folder but a file", "give the folder that contains it")),
            Err(e) => Err(failed(&root, e)),
        }
    }

    /// The folder that contains the file `path`, and the file's name.
    pub fn of_file(path: &Path) -> Result<(Self, String)> {
        let meta = fs::metadata(path).map_err(|e| failed(path, e))?;
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| meta.is_file());
        let name = name.ok_or_else(|| Error::file(path.display(), "not a file", "give one file with a UTF-8 name"))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::open(parent)?, name.to_string()))
    }

    /// The folder's path.
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

    fn open_to_last(&self, file: &str) -> Result<Option<Box<dyn Lasting>>> {
        let path = self.root.join(file);
        let open = || File::open(&path).and_then(|file| Ok((stamp(&file)?, Mutex::new(file))));
        let (stamp, file) = open().map_err(|e| failed(&path, e))?;
        Ok(Some(Box::new(Opened { path, file, stamp })))
    }
}

/// A file that is kept open. If it is removed or replaced, the open file is unchanged; if it is overwritten, its stamp changes.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: Mutex<File>,
    stamp: Stamp,
}

/// A file's length and the time of its last change.
type Stamp = (u64, SystemTime);

fn stamp(file: &File) -> io::Result<Stamp> {
    let meta = file.metadata()?;
    Ok((meta.len(), meta.modified()?))
}

impl Lasting for Opened {
    fn read_parts(&self, parts: &mut dyn Iterator<Item = (u64, &mut [u8])>) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner); // safe, because every read starts with a seek
        let mut read = Ok(());
        for (start, part) in parts {
            read = read.and_then(|()| file.seek(SeekFrom::Start(start))).and_then(|_| file.read_exact(part));
        }
        // checked after reading, so that all that was read is from the unchanged file
        if stamp(&file).is_ok_and(|now| now != self.stamp) {
            let hint = "do not change a model's files while it is used; start again, or resume with the old file";
            return Err(Error::file(self.path.display(), "was changed while it was in use", hint));
        }
        read.map_err(|e| failed(&self.path, e))
    }
}

/// An error of the file system: the path, what happened, what to try.
fn failed(path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a writable disk",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space, or choose another disk",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes (ulimit -f), or choose another disk",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => "check which part of the path is a folder",
        _ => "check the disk and the permissions",
    };
    Error::file(path.display(), error, hint)
}

/// Creates a folder and its parents durably (they survive a power cut).
pub fn create_folder(path: &Path) -> Result<()> {
    let above = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists());
    let missing: Vec<&Path> = above.collect();
    fs::create_dir_all(path).map_err(|e| failed(path, e))?;
    missing.into_iter().try_for_each(|made| sync_folder(made.parent().unwrap_or(made)))
}

/// Creates a folder in an existing one; a missing parent is an error.
pub fn create_folder_in(parent: &Path, name: &Path) -> Result<()> {
    let path = parent.join(name);
    match fs::create_dir(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|e| failed(&path, e)).and_then(|()| sync_folder(parent)),
    }
}

/// Checks that `path`, which need not exist, can be written to, with a test file in the nearest existing folder.
pub fn check_writable(path: &Path) -> Result<()> {
    let existing = path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."));
    let probe = existing.join(format!("{TEMPORARY}probe-{}", std::process::id()));
    let written = fs::write(&probe, b"write test\n");
    let removed = fs::remove_file(&probe);
    written.map_err(|e| failed(existing, e))?;
    removed.map_err(|e| failed(&probe, e))
}

/// A file's text, without a byte order mark.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| failed(path, e))?;
    Ok(encoding::text(&path.display().to_string(), &bytes)?.into_owned())
}

/// Replaces `path` by `bytes` in one step.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes).map_err(|e| failed(path, e)))
}

/// Replaces `path` in one step by what `fill` writes: syncs a temporary file beside it, renames it, and syncs the folder.
pub fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let temporary = beside(path, TEMPORARY)?;
    let result = write_synced(&temporary, path, fill).and_then(|()| rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to report
    }
    result
}

/// Writes and syncs a file; messages use the final name `shown`.
fn write_synced(path: &Path, shown: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::new(File::create(path).map_err(|e| failed(shown, e))?);
    fill(&mut out)?;
    let file = out.into_inner().map_err(|e| failed(shown, e.into_error()))?;
    file.sync_all().map_err(|e| failed(shown, e))
}

/// `PREFIXname` in the folder of `path`.
fn beside(path: &Path, prefix: &str) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::file(path.display(), "not the path of a file", "give a path that ends in a file name"));
    };
    let mut temporary = std::ffi::OsString::from(prefix);
    temporary.push(name);
    Ok(path.with_file_name(temporary))
}

/// Renames durably.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| failed(to, e))?;
    sync_folder(to.parent().unwrap_or(to))
}

/// Makes renames in a folder durable.
fn sync_folder(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match File::open(path) {
        Ok(folder) => folder.sync_all().map_err(|e| failed(path, e)),
        Err(_) => Ok(()), // on Windows a folder cannot be opened
    }
}

/// As [`write_folder_in`], but creates missing parents.
pub fn write_folder(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    write_folder_in(path, files)
}

/// Writes a whole folder in one step into an existing parent: writes and syncs the files in a temporary folder beside it, and
/// renames that. Replaces an existing folder; [`recover`] repairs a crash between the two renames. A failure leaves no
/// unfinished files.
pub fn write_folder_in(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if let Some(name) = files.keys().find(|name| !is_safe_name(name)) {
        return Err(Error::file(path.display(), format!("{name:?} is not a file name"), "use relative names with /"));
    }
    let (temporary, old) = (beside(path, TEMPORARY)?, beside(path, REPLACED)?);
    delete(&temporary)?;
    if let Err(error) = fill_folder(&temporary, path, files) {
        let _ = delete(&temporary); // the first error is the one to report
        return Err(error);
    }
    delete(&old)?;
    if path.exists() {
        rename(path, &old)?;
    }
    rename(&temporary, path)?;
    delete(&old)
}

/// Writes and syncs the files of the future folder `path` into `temporary`.
fn fill_folder(temporary: &Path, path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    fs::create_dir(temporary).map_err(|e| failed(path, e))?;
    for (name, bytes) in files {
        let (file, shown) = (temporary.join(name), path.join(name));
        let mut parent = temporary.to_path_buf();
        for folder in Path::new(name).parent().into_iter().flat_map(Path::components) {
            create_folder_in(&parent, Path::new(&folder))?;
            parent.push(folder);
        }
        write_synced(&file, &shown, |out| out.write_all(bytes).map_err(|e| failed(&shown, e)))?;
        sync_folder(&parent)?;
    }
    sync_folder(temporary)
}

/// Removes a file or a folder if it exists. Even if the process is killed, a folder is either complete or gone.
pub fn remove(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return delete(path);
    }
    let aside = beside(path, TEMPORARY)?;
    delete(&aside)?;
    rename(path, &aside)?;
    delete(&aside)
}

/// Removes a folder file by file.
fn delete(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(path, e)),
        _ => Ok(()),
    }
}

/// Repairs `folder` after a crash: removes temporary files and folders, and restores a folder that was about to be replaced.
pub fn recover(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| failed(folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| failed(folder, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(original) = name.strip_prefix(REPLACED).map(|n| folder.join(n)) {
            if original.exists() { delete(&path)? } else { rename(&path, &original)? }
        } else if name.starts_with(TEMPORARY) {
            delete(&path)?;
        }
    }
    Ok(())
}

/// Appends `bytes` durably to a file, or creates it. A killed process may leave an incomplete line, which [`keep_lines`]
/// removes.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = !path.exists();
    let open = OpenOptions::new().append(true).create(true).open(path);
    let written = open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
    written.map_err(|e| failed(path, e))?;
    if new { sync_folder(path.parent().unwrap_or(path)) } else { Ok(()) }
}

/// Keeps the complete lines of a jsonl file that `keep` accepts (by number from 0, and text), in one step; drops an incomplete
/// last line. Returns how many are kept; 0 for a missing file.
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

/// A folder that only this process may write to, until this is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File, // the operating system releases the lock with it, also after a crash
}

impl FolderLock {
    /// Takes the lock, or says which process has it. `patience`: how long to wait, because a killed process holds it a little
    /// longer.
    pub fn take(folder: &Path, patience: Duration) -> Result<Self> {
        Self::if_free(folder, patience)?.ok_or_else(|| in_use(folder))
    }

    /// [`FolderLock::take`], or none if another process has it.
    pub(super) fn if_free(folder: &Path, patience: Duration) -> Result<Option<Self>> {
        let path = folder.join(LOCK_FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|e| failed(&path, e))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(failed(&path, e)),
            }
        }
        let owner = std::process::id().to_string();
        file.set_len(0).and_then(|()| file.write_all(owner.as_bytes())).map_err(|e| failed(&path, e))?;
        Ok(Some(Self { _file: file }))
    }

    /// Whether the lock belongs to the folder at this path, not to one that was removed or replaced: its lock file must contain
    /// this process's number.
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(LOCK_FILE)).is_ok_and(|owner| owner == std::process::id().to_string())
    }
}

/// The error for a folder that another process has locked.
pub(super) fn in_use(folder: &Path) -> Error {
    let owner = fs::read_to_string(folder.join(LOCK_FILE)).unwrap_or_default(); // only for the message
    Error::file(
        folder.display(),
        format!("in use by another detox-lab (process {})", owner.trim()),
        "wait until it ends, stop it, or choose another folder",
    )
}
