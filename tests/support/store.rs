//! A run folder in memory, and an observer that does nothing.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use detox_lab::error::{Error, Result};
use detox_lab::io::{ByteSource, ReadSeek};
use detox_lab::lab::events::{Listener, Observer, StepObserver};
use detox_lab::lab::run::Store;
use detox_lab::pace::Pace;
use std::collections::BTreeMap;
use std::io::Cursor;

/// Files by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InMemory(pub BTreeMap<String, Vec<u8>>);

impl ByteSource for &mut InMemory {
    fn name(&self) -> String {
        "memory".into()
    }

    fn has(&self, file: &str) -> bool {
        self.0.contains_key(file)
    }

    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        let missing = || Error::file(self.path(file), "no such file", "write it first");
        let bytes = self.0.get(file).ok_or_else(missing)?;
        Ok(Box::new(Cursor::new(bytes.as_slice())))
    }
}

impl Store for &mut InMemory {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.0.insert(name.into(), bytes.to_vec());
        Ok(())
    }

    fn append(&mut self, name: &str, lines: &[u8]) -> Result<()> {
        self.0.entry(name.into()).or_default().extend(lines);
        Ok(())
    }

    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        let text = String::from_utf8(self.0[name].clone());
        let text = text.map_err(|e| Error::file(self.path(name), e, "move the damaged file away"))?;
        let kept: String = text.lines().filter(|l| keep(l)).flat_map(|l| [l, "\n"]).collect();
        self.0.insert(name.into(), kept.into_bytes());
        Ok(())
    }

    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        self.remove(name)?;
        self.0.extend(files.iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes.clone())));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let below = format!("{name}/");
        self.0.retain(|path, _| path != name && !path.starts_with(&below));
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let names = self.0.keys().filter_map(|p| p.strip_prefix(&below)?.split('/').next().map(str::to_string));
        let mut names: Vec<String> = names.collect();
        names.dedup();
        Ok(names)
    }
}

/// Stops at the `n`-th pause point.
pub struct StopAfter(pub usize);

impl Pace for StopAfter {
    async fn pause(&mut self) -> Result<()> {
        if self.0 == 0 {
            return Err(Error::Stopped);
        }
        self.0 -= 1;
        Ok(())
    }
}

impl StepObserver for StopAfter {}
impl Listener for StopAfter {}
impl Observer for StopAfter {}
