//! Which words of a text went and which came. How that looks is the compare table's.

use similar::DiffTag;
use similar::algorithms::{Capture, Compact, Replace, myers};

/// Words that stayed, went or came, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    Same(String),
    Gone(String),
    Come(String),
}

/// Word by word.
pub fn words(before: &str, after: &str) -> Vec<Run> {
    let old: Vec<&str> = before.split_whitespace().collect();
    let new: Vec<&str> = after.split_whitespace().collect();
    let mut runs = Vec::new();
    for part in diff(&old, &new) {
        let (tag, gone, come) = part.as_tag_tuple();
        let (gone, come) = (old[gone].join(" "), new[come].join(" "));
        if tag == DiffTag::Equal {
            runs.push(Run::Same(gone));
            continue;
        }
        runs.extend((!gone.is_empty()).then_some(Run::Gone(gone)));
        runs.extend((!come.is_empty()).then_some(Run::Come(come)));
    }
    runs
}

/// What `similar::capture_diff_slices` does, without the preparation for long texts, which the page would have to carry.
fn diff(old: &[&str], new: &[&str]) -> Vec<similar::DiffOp> {
    let mut hook = Compact::new(Replace::new(Capture::new()), old, new);
    let Ok(()) = myers::diff_deadline_raw(&mut hook, old, 0..old.len(), new, 0..new.len(), None);
    hook.into_inner().into_inner().into_ops()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_and_come() {
        let runs = words("Tom is a stupid  man", "Tom is a tired man today");
        let expected = [
            Run::Same("Tom is a".into()),
            Run::Gone("stupid".into()),
            Run::Come("tired".into()),
            Run::Same("man".into()),
            Run::Come("today".into()),
        ];
        assert_eq!(runs, expected);
        assert_eq!(words("", ""), []);
        assert_eq!(words("one", ""), [Run::Gone("one".into())]);
    }
}
