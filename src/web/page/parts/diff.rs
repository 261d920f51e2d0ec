//! The words that were removed from a text and added to it. The compare table shows them.

use similar::DiffTag;
use similar::algorithms::{Capture, Replace, lcs};

/// Words that stayed, were removed or were added, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WordRun {
    Same(String),
    Gone(String),
    Come(String),
}

/// Word by word.
pub fn words(before: &str, after: &str) -> Vec<WordRun> {
    let old: Vec<&str> = before.split_whitespace().collect();
    let new: Vec<&str> = after.split_whitespace().collect();
    let mut runs = Vec::new();
    for part in diff(&old, &new) {
        let (tag, gone, come) = part.as_tag_tuple();
        let (gone, come) = (old[gone].join(" "), new[come].join(" "));
        if tag == DiffTag::Equal {
            runs.push(WordRun::Same(gone));
            continue;
        }
        runs.extend((!gone.is_empty()).then_some(WordRun::Gone(gone)));
        runs.extend((!come.is_empty()).then_some(WordRun::Come(come)));
    }
    runs
}

/// By a table of common parts: enough for the words of a summary. The algorithms for long texts would make the page larger.
fn diff(old: &[&str], new: &[&str]) -> Vec<similar::DiffOp> {
    let mut hook = Replace::new(Capture::new());
    let Ok(()) = lcs::diff_deadline_raw(&mut hook, old, 0..old.len(), new, 0..new.len(), None);
    hook.into_inner().into_ops()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_removed_and_added() {
        let runs = words("Tom is a stupid  man", "Tom is a tired man today");
        let expected = [
            WordRun::Same("Tom is a".into()),
            WordRun::Gone("stupid".into()),
            WordRun::Come("tired".into()),
            WordRun::Same("man".into()),
            WordRun::Come("today".into()),
        ];
        assert_eq!(runs, expected);
        assert_eq!(words("", ""), []);
        assert_eq!(words("one", ""), [WordRun::Gone("one".into())]);
    }
}
