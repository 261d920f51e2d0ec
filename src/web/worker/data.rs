//! A person's own dialogues in place of the shipped ones: the formats, the filter and the split of the command line's `--data`.

use super::convert;
use super::port::Port;
use super::session::{Ready, Session};
use crate::error::{Error, Result};
use crate::io::Memory;
use crate::lab::models::Lab;
use crate::lab::sources::data::DataSource;
use crate::protocol::{Answer, Loaded};
use crate::text::dialogue::{Corpus, Dialogue, Split, split};
use std::collections::BTreeMap;
use std::rc::Rc;

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
    fn read(name: &str, bytes: &[u8]) -> Result<Self> {
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

impl<P: Port> Session<P> {
    /// Takes the dialogues of a file; without a name, the shipped ones again. The loaded models stay, a run ends.
    pub async fn use_data(&mut self, name: &str, bytes: &[u8]) -> Result<Answer> {
        self.ready()?;
        let before = self.data.take();
        match if name.is_empty() { Ok(None) } else { Data::read(name, bytes).map(Some) } {
            Ok(data) => self.data = data,
            Err(error) => {
                self.data = before;
                return Err(error);
            }
        }
        let rows = self.dialogues().await?;
        self.run = None;
        let words = self.data_words();
        let missing = || Error::input("the models are not loaded yet", "load them first (chapter 1)");
        let Ready { lab, test, loaded, .. } = self.ready.as_mut().ok_or_else(missing)?;
        let dialogues = rows.iter().map(|d| convert::dialogue(d, d.split == Some(Split::Test))).collect();
        let lab: &mut Lab = Rc::get_mut(lab).ok_or_else(|| Error::input("the models are in use", "wait a moment"))?;
        (lab.dialogues, *test) = split(rows);
        loaded.data = words;
        Ok(Answer::Loaded(Loaded { dialogues, ..loaded.clone() }))
    }

    /// What is said about a person's own dialogues; empty for the shipped ones.
    pub fn data_words(&self) -> String {
        self.data.as_ref().map(|data| data.words.clone()).unwrap_or_default()
    }
}
