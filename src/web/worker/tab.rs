//! A run's folder in the browser's memory, and what changed in it since it was last kept. Where it is kept is the
//! [`super::Port`]'s: all changes at once or none.

use crate::error::{Error, Result};
use crate::io::{ByteSource, Memory, ReadSeek};
use crate::lab::run::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

/// Files of a run by name.
#[derive(Debug, Clone, Default)]
pub struct Tab {
    files: BTreeMap<String, Vec<u8>>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
    cleared: bool,
}

/// What to do to the kept files so that they equal the run's again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Remove every older file first.
    pub clear: bool,
    pub put: BTreeMap<String, Vec<u8>>,
    pub remove: BTreeSet<String>,
}

impl Tab {
    /// A new run: whatever was kept goes with the first [`Tab::changes`].
    pub fn new() -> Self {
        Self { cleared: true, ..Self::default() }
    }

    /// A run that was kept as these files.
    pub fn kept(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { files, ..Self::default() }
    }

    /// A run that came from elsewhere as these files, to be kept whole.
    pub fn opened(files: BTreeMap<String, Vec<u8>>) -> Self {
        let changed = files.keys().cloned().collect();
        Self { files, changed, cleared: true, ..Self::default() }
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

    /// What changed since the last call.
    pub fn changes(&mut self) -> Changes {
        let put = std::mem::take(&mut self.changed).into_iter();
        let put = put.filter_map(|name| Some((name.clone(), self.files.get(&name)?.clone()))).collect();
        let remove = std::mem::take(&mut self.removed);
        Changes { clear: std::mem::take(&mut self.cleared), put, remove }
    }

    fn set(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), bytes);
        self.removed.remove(name);
        self.changed.insert(name.into());
    }
}

impl ByteSource for Tab {
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

impl Store for Tab {
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
        let below = format!("{folder}/");
        let first = |path: &str| path.strip_prefix(&below)?.split('/').next().map(str::to_string);
        let names: BTreeSet<String> = self.files.keys().filter_map(|path| first(path)).collect();
        Ok(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What a browser that applies changes holds.
    fn apply(kept: &mut BTreeMap<String, Vec<u8>>, changes: Changes) {
        if changes.clear {
            kept.clear();
        }
        changes.remove.iter().for_each(|name| drop(kept.remove(name)));
        kept.extend(changes.put);
    }

    #[test]
    fn changes_bring_what_is_kept_up_to_date() {
        let mut kept = BTreeMap::from([("old".to_string(), vec![1])]);
        let mut tab = Tab::new();
        tab.put("config.json", b"{}").unwrap();
        tab.append("metrics.jsonl", b"1\n").unwrap();
        tab.put_folder("checkpoints/step-00000", &BTreeMap::from([("a".to_string(), vec![7])])).unwrap();
        apply(&mut kept, tab.changes());
        assert_eq!(&kept, tab.files());
        tab.append("metrics.jsonl", b"2\n3").unwrap();
        tab.put_folder("checkpoints/step-00001", &BTreeMap::from([("a".to_string(), vec![8])])).unwrap();
        tab.remove("checkpoints/step-00000").unwrap();
        apply(&mut kept, tab.changes());
        assert_eq!(&kept, tab.files());
        tab.keep_lines("metrics.jsonl", &|line| line != "1").unwrap();
        apply(&mut kept, tab.changes());
        assert_eq!(kept["metrics.jsonl"], b"2\n", "the torn line is gone too");
        assert_eq!(tab.list("checkpoints").unwrap(), ["step-00001"]);
        assert_eq!(tab.folder("checkpoints/step-00001").files["a"], [8]);
        assert_eq!(tab.changes(), Changes::default());
    }
}
