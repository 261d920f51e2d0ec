//! Reads the dialogues of a command: DialogSum as a file or a folder, or those that ship with the program.

use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::lab::shipped;
use crate::text::dialogue::{self, Corpus, Dialogue, keep_lab_lengths, parse, split};

/// The training part that is used if a folder has several.
const LOCAL_TRAIN_FILE: &str = "train.jsonl";
/// Names of the training part, in the order in which they are requested from the hub.
pub const TRAIN_FILES: [&str; 4] = ["train.csv", "train.jsonl", "train.json", "train.tsv"];
/// Names of the validation part, in the order in which they are looked for.
pub const VALIDATION_FILES: [&str; 6] =
    ["validation.csv", "dev.jsonl", "validation.jsonl", "val.json", "validation.json", "validation.tsv"];

/// Where the dialogues are.
pub enum DataSource<'a> {
    /// Those that ship with the program.
    Shipped,
    /// One file.
    File { folder: Box<dyn ByteSource + 'a>, file: String },
    /// A folder with a training part and, optionally, a validation part.
    Folder(Box<dyn ByteSource + 'a>),
}

/// Dialogues, and notices about those that were left out.
pub struct WithNotices<T> {
    pub dialogues: T,
    pub notices: Vec<String>,
}

impl DataSource<'_> {
    /// The lab's training and test splits: the training part, filtered by length and divided 8 : 2; for the shipped dialogues
    /// the splits that they name. If `validation`, a folder's validation part too, unfiltered. `shown`: the source's name for
    /// messages.
    ///
    /// # Errors
    /// Data that cannot be read, or no dialogue of the lab's lengths.
    pub fn splits(&self, shown: &str, validation: bool) -> Result<WithNotices<Corpus>> {
        let mut notices = Vec::new();
        let (folder, file) = match self {
            Self::Shipped => {
                let (train, test) = split(parse("tiny dialogues.jsonl", shipped::DIALOGUES)?);
                return Ok(WithNotices { dialogues: Corpus { train, validation: Vec::new(), test }, notices });
            }
            Self::File { folder, file } => (folder, file.as_str()),
            Self::Folder(folder) => {
                let first = [LOCAL_TRAIN_FILE].into_iter().chain(TRAIN_FILES).find(|file| folder.has(file));
                (folder, first.unwrap_or(TRAIN_FILES[0]))
            }
        };
        let rows = rows(&**folder, file, &mut notices)?;
        let all = rows.len();
        let kept = keep_lab_lengths(rows);
        if kept.is_empty() {
            let what = format!("none of {all} dialogues has more than 200 and at most 1000 characters");
            return Err(Error::file(shown, what, "give DialogSum's train file, or a folder that contains it"));
        }
        if kept.len() < all {
            notices.push(format!(
                "note: {} of {all} dialogues in {file} are left out: the lab uses those with more than 200 and at most 1000 \
                                     characters",
                all - kept.len()
            ));
        }
        let (train, test) = split(kept);
        let validation = match (self, VALIDATION_FILES.into_iter().find(|file| folder.has(file))) {
            (Self::Folder(_), Some(file)) if validation => self::rows(&**folder, file, &mut notices)?,
            _ => Vec::new(),
        };
        Ok(WithNotices { dialogues: Corpus { train, validation, test }, notices })
    }
}

/// Every row of a file, unfiltered.
///
/// # Errors
/// A file that cannot be read as dialogues.
pub fn every_row(folder: &dyn ByteSource, file: &str) -> Result<WithNotices<Vec<Dialogue>>> {
    let mut notices = Vec::new();
    Ok(WithNotices { dialogues: rows(folder, file, &mut notices)?, notices })
}

/// A data file's dialogues. A notice says which rows are left out.
fn rows(folder: &dyn ByteSource, file: &str, notices: &mut Vec<String>) -> Result<Vec<Dialogue>> {
    let kept = dialogue::read(&folder.path(file), &folder.read(file)?)?;
    notices.extend(kept.notice.map(|notice| format!("warning: {notice}")));
    Ok(kept.rows)
}
