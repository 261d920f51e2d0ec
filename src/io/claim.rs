//! A new folder that one process claims before its work starts and fills at the end. Two processes that start at the same time
//! never get the same folder (native only).
#![allow(clippy::disallowed_methods)]

use super::disk::{self, FolderLock, LOCK_FILE, in_use};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a claim is tried again where another process gives its claim up, and removes the folder, at the same moment.
const ATTEMPTS: usize = 20;

/// A folder that this process alone may write, until dropped. A claim that ends with nothing written removes its lock file, and
/// the folders that it made.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// The folders that did not exist before, deepest first.
    made: Vec<PathBuf>,
    /// Whether the lock file goes in any case: what is written is no folder that is opened again to write.
    output: bool,
    _lock: FolderLock,
}

impl Claim {
    /// Makes the folder where it is missing, and locks it; `patience` is how long to wait for another process's lock.
    ///
    /// # Errors
    /// Another process holds it; it cannot be made or written. What is in the folder is for the caller to look at, before (so
    /// that nothing is written into somebody's folder) and after (since another process may have been faster).
    pub fn take(path: &Path, patience: Duration) -> Result<Self> {
        Self::attempt(path, patience)?.ok_or_else(|| in_use(path))
    }

    /// [`Claim::take`], or none where another process has it.
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
                Ok(Some(_)) => {} // the lock of a folder that its owner has just removed or replaced
                Ok(None) => return Ok(None),
                Err(error) => failed = Some(error), // the folder may have been removed a moment ago
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        failed.map_or(Ok(None), Err)
    }

    /// The claimed folder for what is written at the end of a command.
    ///
    /// # Errors
    /// Something is there already.
    pub fn for_output(path: &Path, patience: Duration) -> Result<Self> {
        refuse_occupied(path)?;
        let mut claim = Self::take(path, patience)?;
        claim.output = true;
        refuse_occupied(path)?;
        Ok(claim)
    }

    /// Puts all the files into the claimed folder in one step.
    pub fn fill(self, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        disk::write_folder_in(&self.path, files)
    }
}

/// Whether anything lies at `path` that is not ours to write over. A lock file or an unfinished temporary one is what a kill at
/// the very start leaves.
pub fn is_occupied(path: &Path) -> bool {
    match path.read_dir() {
        Ok(entries) => entries.flatten().any(|entry| !entry.file_name().to_string_lossy().starts_with('.')),
        Err(_) => path.exists(),
    }
}

fn refuse_occupied(path: &Path) -> Result<()> {
    if is_occupied(path) {
        return Err(Error::file(path.display(), "exists already", "choose another --out; nothing is written over"));
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
        // What cannot be removed stays: an empty folder does no harm.
        if fs::remove_file(self.path.join(LOCK_FILE)).is_ok() && !written {
            let _ = self.made.iter().try_for_each(fs::remove_dir);
        }
    }
}
