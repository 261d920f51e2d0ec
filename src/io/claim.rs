//! A new folder that a process locks before its work and fills at the end, so that two processes never use the same one (native
//! only).
#![allow(clippy::disallowed_methods)]

use super::disk::{self, FolderLock, LOCK_FILE, in_use};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Number of attempts while another process gives up the folder and removes it.
const ATTEMPTS: usize = 20;

/// A folder that only this process may write to, until it is dropped. If nothing was written, the lock file and the created
/// folders are then removed.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// The folders that did not exist before, deepest first.
    made: Vec<PathBuf>,
    /// Whether the lock file is always removed, because the folder is not written to again.
    output: bool,
    _lock: FolderLock,
}

impl Claim {
    /// Creates the folder if it is missing, and locks it; `patience` is the maximum time to wait for another process's lock.
    ///
    /// # Errors
    /// Another process has the lock, or the folder cannot be created or written to. The caller must check the folder's contents
    /// before (so that nothing is written into a used folder) and after (because another process may have filled it).
    pub fn take(path: &Path, patience: Duration) -> Result<Self> {
        Self::attempt(path, patience)?.ok_or_else(|| in_use(path))
    }

    /// [`Claim::take`], or none if another process has it.
    pub fn if_free(path: &Path) -> Result<Option<Self>> {
        Self::attempt(path, Duration::ZERO)
    }

    fn attempt(path: &Path, patience: Duration) -> Result<Option<Self>> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            let missing = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists());
            let made = missing.map(Path::to_path_buf).collect();
            match disk::create_folder(path).and_then(|()| FolderLock::if_free(path, patience)) {
                Ok(Some(lock)) if lock.is_of(path) => {
                    return Ok(Some(Self { path: path.to_path_buf(), made, output: false, _lock: lock }));
                }
                Ok(Some(_)) => {} // the owner has just removed or replaced this folder
                Ok(None) => return Ok(None),
                Err(error) => failed = Some(error), // the folder may have just been removed
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        failed.map_or(Ok(None), Err)
    }

    /// A claimed folder for a command's output.
    ///
    /// # Errors
    /// The folder is not empty.
    pub fn for_output(path: &Path, patience: Duration) -> Result<Self> {
        refuse_occupied(path)?;
        let mut claim = Self::take(path, patience)?;
        claim.output = true;
        refuse_occupied(path)?;
        Ok(claim)
    }

    /// Writes all files into the claimed folder in one step.
    pub fn fill(self, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        disk::write_folder_in(&self.path, files)
    }
}

/// Whether there is anything at `path` that must not be overwritten. Lock files and unfinished temporary files, left by a
/// process that was killed, do not count.
pub fn is_occupied(path: &Path) -> bool {
    match path.read_dir() {
        Ok(entries) => entries.flatten().any(|entry| !entry.file_name().to_string_lossy().starts_with('.')),
        Err(_) => path.exists(),
    }
}

fn refuse_occupied(path: &Path) -> Result<()> {
    if is_occupied(path) {
        return Err(Error::file(path.display(), "already exists", "choose another --out; folders are not overwritten"));
    }
    Ok(())
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let written = entries.flatten().any(|entry| entry.file_name() != LOCK_FILE);
        if written && !self.output {
            return;
        }
        // Errors are ignored, because an empty folder does no harm.
        if fs::remove_file(self.path.join(LOCK_FILE)).is_ok() && !written {
            let _ = self.made.iter().try_for_each(fs::remove_dir);
        }
    }
}
