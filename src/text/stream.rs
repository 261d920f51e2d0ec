//! Decodes text while its tokens are generated. Returned parts never change: together they are the decoded text, with
//! transformers' clean-up.

use crate::error::Result;
use crate::text::clean_up::{CLEAN_UP, clean_up};
use crate::text::tokenizer::Tokenizer;

/// Takes ids, and returns text as soon as later ids cannot change it.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    ids: Vec<u32>,
    /// Bytes of the cleaned text that were already returned.
    sent: usize,
}

impl Tokenizer {
    /// A stream of text, to be decoded id by id.
    pub fn stream(&self, skip_special: bool) -> TextStream<'_> {
        TextStream { tokenizer: self, skip_special, ids: Vec::new(), sent: 0 }
    }
}

impl TextStream<'_> {
    /// Takes the next id; returns the text that is now final, often one word, sometimes nothing.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let raw = self.tokenizer.decode_raw(&self.ids, self.skip_special)?;
        // A token may end inside a character, which is U+FFFD until the next token completes it.
        Ok(self.rest(&clean_up(settled(raw.trim_end_matches('\u{fffd}')))))
    }

    /// Ends the stream and returns the rest of the text.
    pub fn finish(mut self) -> Result<String> {
        let raw = self.tokenizer.decode_raw(&self.ids, self.skip_special)?;
        Ok(self.rest(&clean_up(&raw)))
    }

    fn rest(&mut self, text: &str) -> String {
        let new = text.get(self.sent..).unwrap_or_default().to_string();
        self.sent += new.len();
        new
    }
}

/// The start of `raw` whose clean-up is final.
///
/// Every pattern starts with a space, and only `" ' "` has a second one. So a pattern cannot reach across a space that follows
/// a non-space, unless the text before it ends in `" '"`, or in `" n"`: `" n ' t"` becomes `" n't"`, which is a pattern again.
/// The text after the last such space is also final if it can no longer become a pattern.
fn settled(raw: &str) -> &str {
    let bytes = raw.as_bytes();
    let reaches_on = |before: &str| before.ends_with(" '") || before.ends_with(" n");
    let safe = |&p: &usize| bytes[p] == b' ' && bytes[p - 1] != b' ' && !reaches_on(&raw[..p]);
    let cut = (1..bytes.len()).rev().find(safe).unwrap_or(0);
    let tail = &raw[cut..];
    let may_match = CLEAN_UP.iter().any(|(from, _)| from.len() > tail.len() && from.starts_with(tail));
    let more_spaces = tail.chars().skip(1).any(|c| c == ' ');
    if may_match || more_spaces { &raw[..cut] } else { raw }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cleans_as_transformers() {
        assert_eq!(clean_up("It 's fine , is n't it ? Yes ! I 'm ' ok ' ."), "It's fine, isn't it? Yes! I'm'ok '.");
    }

    fn stays(text: &str) {
        let whole = clean_up(text);
        for (end, _) in text.char_indices() {
            let early = clean_up(settled(&text[..end]));
            assert!(whole.starts_with(&early), "{text:?} at {end}: {early:?} is not a start of {whole:?}");
        }
    }

    #[test]
    fn every_short_text_stays() {
        const LETTERS: [char; 6] = [' ', '\'', 'n', 't', 'm', '.'];
        for number in 0..LETTERS.len().pow(6) {
            let text: String = (0..6).map(|place| LETTERS[number / LETTERS.len().pow(place) % LETTERS.len()]).collect();
            stays(&text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn settled_text_stays(text in "[ .,'nmsvtaé]{0,14}") {
            stays(&text);
        }
    }
}
