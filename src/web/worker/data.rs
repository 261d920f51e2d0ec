//! Takes a person's own dialogues in place of the shipped ones.

use super::convert;
use super::own_data::Data;
use super::port::Port;
use super::session::{Ready, Session};
use crate::error::{Error, Result};
use crate::lab::models::Lab;
use crate::protocol::{Answer, Loaded};
use crate::text::dialogue::{Split, split};
use std::rc::Rc;

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
