//! A run's folder in memory, and what changed in it since the browser last saved it. The port saves all changes or none.
//! The saved files have a stamp, so that changes are never applied to another run, for example another tab's.

use crate::error::{Error, Result};
use crate::io::{ByteSource, Memory, ReadSeek};
use crate::lab::run::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

/// The file of the stamp.
pub const STAMP: &str = ".stamp";

/// Files of a run by name.
#[derive(Debug, Clone, Default)]
pub struct KeptRun {
    files: BTreeMap<String, Vec<u8>>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// The stamp of the saved files, as long as they are known to be this run's.
    stamp: Option<Vec<u8>>,
}

/// The changes that make the saved files equal to the run's again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The stamp of the files to change. If the saved stamp is another one, the whole run replaces the saved files.
    pub base: Option<Vec<u8>>,
    pub put: BTreeMap<String, Vec<u8>>,
    pub remove: BTreeSet<String>,
}

impl Changes {
    /// Applies the changes to `kept`, as the browser does to its store.
    pub fn apply(self, whole: &BTreeMap<String, Vec<u8>>, stamp: &[u8], kept: &mut BTreeMap<String, Vec<u8>>) {
        if self.base.is_some() && kept.get(STAMP) == self.base.as_ref() {
            self.remove.iter().for_each(|name| drop(kept.remove(name)));
            kept.extend(self.put);
        } else {
            kept.clone_from(whole);
        }
        kept.insert(STAMP.into(), stamp.to_vec());
    }
}

impl KeptRun {
    /// A saved run, with its stamp among the files.
    pub fn kept(mut files: BTreeMap<String, Vec<u8>>) -> Self {
        let stamp = files.remove(STAMP);
        Self { files, stamp, ..Self::default() }
    }

    /// A run from elsewhere, such as a zip.
    pub fn opened(files: BTreeMap<String, Vec<u8>>) -> Self {
        let changed = files.keys().cloned().collect();
        Self { files, changed, ..Self::default() }
    }

    /// Every file.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// The files below a folder.
    pub fn folder(&self, name: &str) -> Memory {
        let inside = |path: &str| path.strip_prefix(name)?.strip_prefix('/').map(str::to_string);
        let files = self.files.iter().filter_map(|(path, bytes)| Some((inside(path)?, bytes.clone()))).collect();
        Memory::new(self.path(name), files)
    }

    /// When the saved files were saved, in seconds since 1970: the first number of the stamp; 0 if nothing is saved.
    pub fn saved(&self) -> f64 {
        let stamp = self.stamp.as_deref().map(String::from_utf8_lossy);
        stamp.and_then(|stamp| stamp.split(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// What changed since the last call, if anything. Until [`KeptRun::is_kept`] is called, nothing counts as saved.
    pub fn changes(&mut self) -> Option<Changes> {
        if self.changed.is_empty() && self.removed.is_empty() {
            return None;
        }
        let put = std::mem::take(&mut self.changed).into_iter();
        let put = put.filter_map(|name| Some((name.clone(), self.files.get(&name)?.clone()))).collect();
        let remove = std::mem::take(&mut self.removed);
        Some(Changes { base: self.stamp.take(), put, remove })
    }

    /// The last changes are saved, with this stamp.
    pub fn is_kept(&mut self, stamp: Vec<u8>) {
        self.stamp = Some(stamp);
    }

    fn set(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), bytes);
        self.removed.remove(name);
        self.changed.insert(name.into());
    }
}

impl ByteSource for KeptRun {
    fn name(&self) -> String {
        "the run".into()
    }

    fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        match self.files.get(file) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes.as_slice()))),
            None => Err(Error::file(self.path(file), "no such file", "the run is not complete: open another zip")),
        }
    }
}

impl Store for KeptRun {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.set(name, bytes.to_vec());
        Ok(())
    }

    fn append(&mut self, name: &str, lines: &[u8]) -> Result<()> {
        let mut bytes = self.files.remove(name).unwrap_or_default();
        bytes.extend_from_slice(lines);
        self.set(name, bytes);
        Ok(())
    }

    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        let text = String::from_utf8_lossy(self.files.get(name).map_or(&[], Vec::as_slice)).into_owned();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && keep(line.trim_end()));
        let kept: String = whole.collect();
        if kept != text {
            self.set(name, kept.into_bytes());
        }
        Ok(())
    }

    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        self.remove(name)?;
        for (file, bytes) in files {
            self.set(&format!("{name}/{file}"), bytes.clone());
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let below = format!("{name}/");
        let gone: Vec<String> = self.files.keys().filter(|p| *p == name || p.starts_with(&below)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            self.changed.remove(&path);
            self.removed.insert(path);
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let first = |path: &str| path.strip_prefix(&below)?.split('/').next().map(str::to_string);
        let names: BTreeSet<String> = self.files.keys().filter_map(|path| first(path)).collect();
        Ok(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Files = BTreeMap<String, Vec<u8>>;

    /// Keeps what changed; returns what is kept, without its stamp.
    fn keep(run: &mut KeptRun, stamp: &str, kept: &mut Files) -> Files {
        run.changes().unwrap().apply(run.files(), stamp.as_bytes(), kept);
        run.is_kept(stamp.into());
        kept.iter().filter(|(name, _)| *name != STAMP).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    }

    #[test]
    fn changes_bring_what_is_kept_up_to_date() {
        let mut kept = BTreeMap::from([("old".to_string(), vec![1])]);
        let mut run = KeptRun::default();
        run.put("config.json", b"{}").unwrap();
        run.append("metrics.jsonl", b"1\n").unwrap();
        run.put_folder("checkpoints/step-00000", &BTreeMap::from([("a".to_string(), vec![7])])).unwrap();
        assert_eq!(&keep(&mut run, "1", &mut kept), run.files());
        run.append("metrics.jsonl", b"2\n3").unwrap();
        run.put_folder("checkpoints/step-00001", &BTreeMap::from([("a".to_string(), vec![8])])).unwrap();
        run.remove("checkpoints/step-00000").unwrap();
        assert_eq!(&keep(&mut run, "2", &mut kept), run.files());
        run.keep_lines("metrics.jsonl", &|line| line != "1").unwrap();
        assert_eq!(keep(&mut run, "3", &mut kept)["metrics.jsonl"], b"2\n", "the torn line is gone too");
        assert_eq!(run.list("checkpoints").unwrap(), ["step-00001"]);
        assert_eq!(run.folder("checkpoints/step-00001").files["a"], [8]);
        assert_eq!(run.changes(), None);
    }

    #[test]
    fn what_is_kept_is_always_one_whole_run() {
        let run = |name: &str| {
            let mut run = KeptRun::default();
            run.put("config.json", name.as_bytes()).unwrap();
            run
        };
        let (mut one, mut two, mut kept) = (run("one"), run("two"), Files::new());
        keep(&mut one, "1", &mut kept);
        keep(&mut two, "2", &mut kept);
        one.append("metrics.jsonl", b"1\n").unwrap();
        assert_eq!(&keep(&mut one, "3", &mut kept), one.files(), "another run had kept its own run");
        kept.clear();
        one.append("metrics.jsonl", b"2\n").unwrap();
        assert_eq!(&keep(&mut one, "4", &mut kept), one.files(), "what was kept had been removed");
        one.append("metrics.jsonl", b"3\n").unwrap();
        drop(one.changes()); // they could not be kept
        one.append("samples.jsonl", b"{}\n").unwrap();
        assert_eq!(&keep(&mut one, "5", &mut kept), one.files(), "what was not kept then is kept now");
        let mut again = KeptRun::kept(kept.clone());
        assert_eq!(again.files(), one.files());
        assert_eq!(again.changes(), None);
        again.append("metrics.jsonl", b"4\n").unwrap();
        assert_eq!(again.changes().unwrap().put.len(), 1, "a change is all that is written");
    }
}
