//! A run's folder on disk, locked for one process. Every file is written whole or not at all.

use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::claim::{Claim, is_occupied};
use crate::io::disk::{self, Folder, FolderLock};
use crate::io::{ByteSource, Memory, ReadSeek, zip};
use crate::lab::run::{CHECKPOINTS, CONFIG, ROLLOUTS, Store, check_run, is_run, step_of};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process that was just killed may hold its lock.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A locked run folder. One that is dropped before anything was written into it is removed.
pub struct RunFolder {
    folder: Folder,
    root: PathBuf,
    _claim: Claim,
}

impl RunFolder {
    /// A folder for a new run of `command`, made and locked before the minutes that models and data may take.
    ///
    /// # Errors
    /// One that holds a run, or anything else, or that another process is about to fill.
    pub fn create(path: &Path, command: &str) -> Result<Self> {
        Self::check_free(path, command)?;
        let folder = Self::claimed(path, Claim::take(path, PATIENCE)?)?;
        Self::refuse_taken(path, command)?; // another process may have been faster
        // Only under the claim: another owner would take the probe for an unfinished file and remove it.
        disk::check_writable(path)?;
        Ok(folder)
    }

    /// `runs/1`, or the next number that is free: no other process gets the same one.
    pub fn next(command: &str) -> Result<Self> {
        for number in 1_u64.. {
            let path = PathBuf::from(format!("runs/{number}"));
            if is_occupied(&path) {
                continue;
            }
            let Some(claim) = Claim::if_free(&path)? else { continue };
            if !is_occupied(&path) {
                return Self::claimed(&path, claim);
            }
        }
        Err(Error::input(format!("no number is free for a new run of {command} in runs/"), "give a folder with --out"))
    }

    /// Whether a new run can go there.
    fn check_free(path: &Path, command: &str) -> Result<()> {
        if path.join(CONFIG).exists() && is_run(&Folder::open(path)?) {
            let _free = FolderLock::take(path, PATIENCE)?;
            return Self::refuse_taken(path, command);
        }
        Self::refuse_taken(path, command)
    }

    fn refuse_taken(path: &Path, command: &str) -> Result<()> {
        if path.join(CONFIG).exists() && is_run(&Folder::open(path)?) {
            if has_no_checkpoint(path) {
                return Ok(()); // a run that ended before its first save: nothing to lose
            }
            let hint =
                format!("continue it with: detox-lab {command} --resume {}; or choose another --out", path.display());
            return Err(Error::file(path.display(), "holds a run already", hint));
        }
        if is_occupied(path) {
            return Err(Error::file(path.display(), "is not empty and holds no run", "choose a new folder for --out"));
        }
        Ok(())
    }

    /// The folder of a run, mended after a crash. A folder that is no run is left as it is.
    pub fn open(path: &Path) -> Result<Self> {
        check_run(&Folder::open(path)?)?;
        Self::claimed(path, Claim::take(path, PATIENCE)?)
    }

    fn claimed(path: &Path, claim: Claim) -> Result<Self> {
        for part in [path.to_path_buf(), path.join(CHECKPOINTS), path.join(ROLLOUTS)] {
            if part.is_dir() {
                disk::recover(&part)?;
            }
        }
        Ok(Self { folder: Folder::open(path)?, root: path.to_path_buf(), _claim: claim })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file or folder of this name goes. Where the run's folder was removed, it is not created again.
    fn place(&self, name: &str) -> Result<PathBuf> {
        if !self.root.is_dir() {
            let what = "the run's folder is gone; something removed or moved it";
            return Err(Error::file(
                self.root.display(),
                what,
                "put it back and continue with --resume, or start a new run",
            ));
        }
        let name = Path::new(name);
        if let Some(folder) = name.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            disk::create_folder_in(&self.root, folder)?;
        }
        Ok(self.root.join(name))
    }
}

/// Whether a run ended before its first save.
fn has_no_checkpoint(path: &Path) -> bool {
    let entries = fs::read_dir(path.join(CHECKPOINTS)).into_iter().flatten().flatten();
    entries.filter_map(|e| step_of(e.file_name().to_str()?)).next().is_none()
}

/// The folder of a run that is named by the zip which the page saves: the zip is unpacked beside itself, and never over
/// anything. Any other path stands for itself.
pub fn unzipped(path: &Path, terminal: &mut Terminal) -> Result<PathBuf> {
    if !path.is_file() || path.extension().is_none_or(|end| end != "zip") {
        return Ok(path.to_path_buf());
    }
    let (shown, folder) = (path.display().to_string(), path.with_extension(""));
    let refuse_existing = || {
        if is_occupied(&folder) {
            let what = format!("{} is there already, so the zip is not unpacked", folder.display());
            return Err(Error::file(&shown, what, "name the folder instead of the zip, or move it away"));
        }
        Ok(())
    };
    refuse_existing()?;
    let claim = Claim::take(&folder, PATIENCE)?;
    refuse_existing()?;
    let bytes = fs::read(path).map_err(|e| Error::file(&shown, e, "check the file's permissions"))?;
    let files = zip::unpack_folder(&bytes, &shown, |files| files.contains_key(CONFIG))?;
    let unpacked = Memory::new(&shown, files);
    if !unpacked.has(CONFIG) {
        return Err(Error::file(
            shown,
            "no config.json in it, so this is not a run",
            "save the run again, not the adapter",
        ));
    }
    check_run(&unpacked)?;
    claim.fill(&unpacked.files)?;
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
