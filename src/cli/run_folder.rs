//! A run's folder on disk: locked for one process, every write whole or not there.

use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::disk::{self, Folder, FolderLock};
use crate::io::{ByteSource, ReadSeek, zip};
use crate::lab::run::{CHECKPOINTS, CONFIG, ROLLOUTS, Store, newest_checkpoint};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process that was just killed may hold its lock.
const PATIENCE: Duration = Duration::from_secs(2);

/// A locked run folder.
pub struct RunFolder {
    folder: Folder,
    root: PathBuf,
    _lock: FolderLock,
}

impl RunFolder {
    /// A folder for a new run of `command`.
    ///
    /// # Errors
    /// One that holds a run, or anything else.
    pub fn create(path: &Path, command: &str) -> Result<Self> {
        Self::check_free(path, command)?;
        disk::create_folder(path)?;
        Self::open(path)
    }

    /// Whether a new run can go there and be written; asked before the minutes that models and data may take.
    pub fn check_free(path: &Path, command: &str) -> Result<()> {
        if path.join(CONFIG).exists() {
            if newest_checkpoint(&Self::open(path)?).is_err() {
                return Ok(()); // a run that ended before its first save: nothing to lose
            }
            let hint =
                format!("continue it with: detox-lab {command} --resume {}; or choose another --out", path.display());
            return Err(Error::file(path.display(), "holds a run already", hint));
        }
        // A lock file or an unfinished temporary one is what a kill at the very start leaves.
        let hidden = |e: std::fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
        if path.read_dir().is_ok_and(|entries| entries.flatten().any(|e| !hidden(e))) {
            return Err(Error::file(path.display(), "is not empty and holds no run", "choose a new folder for --out"));
        }
        disk::check_writable(path)
    }

    /// The folder of a run, mended after a crash.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Folder::open(path)?;
        let lock = FolderLock::take(path, PATIENCE)?;
        for part in [path.to_path_buf(), path.join(CHECKPOINTS), path.join(ROLLOUTS)] {
            if part.is_dir() {
                disk::recover(&part)?;
            }
        }
        Ok(Self { folder, root: path.to_path_buf(), _lock: lock })
    }

    /// Where a file or folder of this name goes. A run whose folder was taken away is not begun anew somewhere in it.
    fn place(&self, name: &str) -> Result<PathBuf> {
        if !self.root.is_dir() {
            let what = "the run's folder is gone; something removed or moved it";
            return Err(Error::file(
                self.root.display(),
                what,
                "put it back and go on with --resume, or start a new run",
            ));
        }
        let name = Path::new(name);
        if let Some(folder) = name.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            disk::create_folder_in(&self.root, folder)?;
        }
        Ok(self.root.join(name))
    }
}

/// The folder of a run that is named by the zip which the page saves: the zip is unpacked beside itself, and never over
/// anything. Any other path stands for itself.
pub fn unzipped(path: &Path, terminal: &mut Terminal) -> Result<PathBuf> {
    if !path.is_file() || path.extension().is_none_or(|end| end != "zip") {
        return Ok(path.to_path_buf());
    }
    let (shown, folder) = (path.display().to_string(), path.with_extension(""));
    if folder.exists() {
        let what = format!("{} is there already, so the zip is not unpacked", folder.display());
        return Err(Error::file(shown, what, "name the folder instead of the zip, or move it away"));
    }
    let bytes = fs::read(path).map_err(|e| Error::file(&shown, e, "check the file's permissions"))?;
    let files = zip::unpack_folder(&bytes, &shown, |files| files.contains_key(CONFIG))?;
    if !files.contains_key(CONFIG) {
        return Err(Error::file(
            shown,
            "no config.json in it, so this is not a run",
            "save the run again, not the adapter",
        ));
    }
    disk::write_folder(&folder, &files)?;
    terminal.line(&format!("unpacked {shown} into {}", folder.display()));
    Ok(folder)
}

impl ByteSource for RunFolder {
    fn name(&self) -> String {
        self.folder.name()
    }

    fn has(&self, file: &str) -> bool {
        self.folder.has(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        self.folder.open(file)
    }
}

impl Store for RunFolder {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        disk::write_atomic(&self.place(name)?, bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        disk::append(&self.place(name)?, bytes)
    }

    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        disk::keep_lines(&self.root.join(name), |_, line| keep(line)).map(|_| ())
    }

    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        disk::write_folder_in(&self.place(name)?, files)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        disk::remove(&self.root.join(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        if !path.is_dir() {
            return Ok(Vec::new());
        }
        let failed = |e: std::io::Error| Error::file(path.display(), e, "check the disk and the folder's permissions");
        let entries = fs::read_dir(&path).map_err(failed)?;
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|n| !n.starts_with('.'));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }
}
