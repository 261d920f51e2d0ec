//! A run's folder on disk, locked for one process. Every file is written completely or not at all. If a run has several ranks,
//! the first owns the folder, and the others write nothing.

use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::claim::{Claim, is_occupied};
use crate::io::disk::{self, Folder, FolderLock};
use crate::io::{ByteSource, Memory, ReadSeek, zip};
use crate::lab::run::{CHECKPOINTS, CONFIG, ROLLOUTS, Store, check_run, is_run, step_of};
use crate::lab::train::Peers;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for the lock of a process that was just killed.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A locked run folder. An empty one is removed when it is dropped.
pub struct RunFolder {
    /// None on another rank than the first, for a new run: it need not see the folder.
    folder: Option<Folder>,
    root: PathBuf,
    /// None on another rank than the first: it does not write.
    claim: Option<Claim>,
}

impl RunFolder {
    /// A folder for a new run of `command`. It is created and locked before models and data are loaded, which may take minutes.
    ///
    /// # Errors
    /// A folder that is not empty, or that another process is using.
    pub fn create(path: &Path, command: &str) -> Result<Self> {
        Self::check_free(path, command)?;
        let folder = Self::claimed(path, Claim::take(path, PATIENCE)?)?;
        Self::refuse_taken(path, command)?; // another process may have taken it
        // Only with the lock: another owner would remove the test file as an unfinished one.
        disk::check_writable(path)?;
        Ok(folder)
    }

    /// `runs/1`, or the next free number; no other process gets the same one.
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
        Err(Error::input(format!("runs/ has no free number for a new run of {command}"), "give a folder with --out"))
    }

    /// The folder for a new run of [`create`](Self::create) or [`next`](Self::next), on the first of the ranks.
    ///
    /// # Errors
    /// As [`create`](Self::create), on all ranks.
    pub fn start_among(peers: &Peers, path: Option<&Path>, command: &str) -> Result<Self> {
        if !peers.is_first() {
            peers.agree(Ok(()))?;
            return Ok(Self { folder: None, root: path.map(Path::to_path_buf).unwrap_or_default(), claim: None });
        }
        peers.agree(match path {
            Some(path) => Self::create(path, command),
            None => Self::next(command),
        })
    }

    /// The folder of a run, which all ranks must see; a zip is unpacked by the first. The others open it after that, and do not
    /// write.
    ///
    /// # Errors
    /// As [`unzipped`] and [`open`](Self::open), on all ranks.
    pub fn open_among(peers: &Peers, path: &Path, terminal: &mut Terminal) -> Result<Self> {
        if peers.is_first() {
            return peers.agree(unzipped(path, terminal).and_then(|path| Self::open(&path)));
        }
        peers.agree(Ok(()))?;
        let root = if is_zip(path) { path.with_extension("") } else { path.to_path_buf() };
        let folder = Folder::open(&root)?;
        check_run(&folder)?;
        Ok(Self { folder: Some(folder), root, claim: None })
    }

    /// Refuses a folder that a new run cannot use.
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
                return Ok(()); // the run ended before its first checkpoint: nothing is lost
            }
            let hint =
                format!("continue it with: detox-lab {command} --resume {}; or choose another --out", path.display());
            return Err(Error::file(path.display(), "already contains a run", hint));
        }
        if is_occupied(path) {
            return Err(Error::file(path.display(), "is not empty and has no run", "choose a new folder for --out"));
        }
        Ok(())
    }

    /// The folder of a run, repaired after a crash. A folder without a run is not changed.
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
        Ok(Self { folder: Some(Folder::open(path)?), root: path.to_path_buf(), claim: Some(claim) })
    }

    /// The folder's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file or folder in the run's folder. If the run's folder was removed, it is not created again.
    fn place(&self, name: &str) -> Result<PathBuf> {
        if !self.root.is_dir() {
            let what = "the run's folder was removed or moved";
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

/// Whether a run ended before its first checkpoint.
fn has_no_checkpoint(path: &Path) -> bool {
    let entries = fs::read_dir(path.join(CHECKPOINTS)).into_iter().flatten().flatten();
    entries.filter_map(|e| step_of(e.file_name().to_str()?)).next().is_none()
}

fn is_zip(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|end| end == "zip")
}

/// Unpacks a run's zip, as the page saves it, into a new folder beside it, and returns that folder. Returns any other path
/// unchanged.
pub fn unzipped(path: &Path, terminal: &mut Terminal) -> Result<PathBuf> {
    if !is_zip(path) {
        return Ok(path.to_path_buf());
    }
    let (shown, folder) = (path.display().to_string(), path.with_extension(""));
    let refuse_existing = || {
        if is_occupied(&folder) {
            let what = format!("{} already exists, so the zip is not unpacked", folder.display());
            return Err(Error::file(&shown, what, "give the folder instead of the zip, or move the folder"));
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
            "no config.json in this zip, so it is not a run",
            "save the run on the page, not the adapter",
        ));
    }
    check_run(&unpacked)?;
    claim.fill(&unpacked.files)?;
    terminal.line(&format!("unpacked {shown} into {}", folder.display()));
    Ok(folder)
}

impl ByteSource for RunFolder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn has(&self, file: &str) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.has(file))
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        let Some(folder) = &self.folder else {
            return Err(Error::bug(format!("{}: only rank 0 reads the files of a new run", self.path(file))));
        };
        folder.open(file)
    }
}

impl Store for RunFolder {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        disk::write_atomic(&self.place(name)?, bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        disk::append(&self.place(name)?, bytes)
    }

    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        disk::keep_lines(&self.root.join(name), |_, line| keep(line)).map(|_| ())
    }

    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        disk::write_folder_in(&self.place(name)?, files)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        if self.claim.is_none() {
            return Ok(());
        }
        disk::remove(&self.root.join(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        if self.folder.is_none() || !path.is_dir() {
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
