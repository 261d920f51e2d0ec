//! A file of a person's own dialogues, read as the command line's `--data` reads it: the formats, the filter and the split.

use crate::error::{Error, Result};
use crate::io::Memory;
use crate::lab::sources::data::DataSource;
use crate::text::dialogue::{Corpus, Dialogue, Split};
use std::collections::BTreeMap;

/// Dialogues of a file.
pub struct Data {
    /// The file's name, as a run's `config.json` has it.
    pub name: String,
    /// Those that the lab uses, each with its split.
    pub rows: Vec<Dialogue>,
    /// How many were read, kept, and held out.
    pub words: String,
}

impl Data {
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self> {
        let folder = Memory::new("", BTreeMap::from([(name.to_string(), bytes.to_vec())]));
        let read = DataSource::File { folder: Box::new(folder), file: name.into() }.splits(name, false)?;
        let Corpus { mut train, mut test, .. } = read.dialogues;
        if train.is_empty() || test.is_empty() {
            let what = format!("{} dialogues to train on and {} held out", train.len(), test.len());
            return Err(Error::file(name, what, "give a file with more dialogues: one of five is held out"));
        }
        let words = format!("{name}: {} dialogues to train on, {} held out. ", train.len(), test.len());
        train.iter_mut().for_each(|row| row.split = Some(Split::Train));
        test.iter_mut().for_each(|row| row.split = Some(Split::Test));
        train.append(&mut test);
        Ok(Self { name: name.into(), rows: train, words: words + &read.notices.join(". ") })
    }
}
