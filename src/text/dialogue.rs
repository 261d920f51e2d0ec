//! Stage 1, the dialogues: reads DialogSum rows from JSON or csv files; has the lab's length filter and its split.

use crate::error::{Error, Result};
use crate::text::rows::{DataRow, Form, Kept, LeftOut, each};

/// A DialogSum dialogue with its human summaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// `train_0`, `dev_17`, `test_3` (without the annotator's number in csv files).
    pub id: String,
    /// The turns, one per line: `#Person1#: …`.
    pub dialogue: String,
    /// The first human summary.
    pub summary: String,
    /// All human summaries: one in train and dev, three in test.
    pub references: Vec<String>,
    /// The first annotator's topic; empty if there is none.
    pub topic: String,
    /// The split that the row names, as in the tiny dialogues.
    pub split: Option<Split>,
}

/// The purpose of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    /// Parses a field `split`; none if it is empty.
    ///
    /// # Errors
    /// An unknown word; the hint lists the known words.
    pub fn parse(text: &str) -> std::result::Result<Option<Self>, (String, &'static str)> {
        Ok(Some(match text.trim().to_lowercase().as_str() {
            "" => return Ok(None),
            "train" | "training" => Self::Train,
            "validation" | "valid" | "val" | "dev" | "eval" => Self::Validation,
            "test" | "testing" => Self::Test,
            _ => {
                let hint = "write train, validation (or val, dev) or test; or leave the split empty in all rows";
                return Err((format!("unknown split {text:?}"), hint));
            }
        }))
    }
}

/// The lab keeps dialogues with more characters than this …
pub const MIN_CHARACTERS: usize = 200;
/// … and at most this many.
pub const MAX_CHARACTERS: usize = 1000;

/// The endings of data files.
pub const DATA_ENDINGS: [&str; 5] = [".jsonl", ".json", ".csv", ".tsv", ".tab"];

/// The three parts of DialogSum; a missing part is empty.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    pub train: Vec<Dialogue>,
    pub validation: Vec<Dialogue>,
    pub test: Vec<Dialogue>,
}

impl Corpus {
    /// Reads a folder's files, given as (name, bytes). The name of a data file contains its part: `train`, `dev` or `valid`, or
    /// `test`; other files are skipped. Two files for one part are an error.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self> {
        let mut corpus = Self::default();
        for (path, bytes) in files {
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
            if !DATA_ENDINGS.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            let part = match () {
                () if name.contains("train") => &mut corpus.train,
                () if name.contains("dev") || name.contains("val") => &mut corpus.validation,
                () if name.contains("test") => &mut corpus.test,
                () => continue,
            };
            if !part.is_empty() {
                let hint = "keep one file per part in this folder, or give a file instead of the folder";
                return Err(Error::file(path, "a second file for the same part of the data", hint));
            }
            *part = parse(path, bytes)?;
        }
        if corpus.train.is_empty() && corpus.validation.is_empty() && corpus.test.is_empty() {
            let what = "no DialogSum file among the given files";
            return Err(Error::input(
                what,
                "name them train, dev (or validation) and test, ending in .jsonl, .json, .csv or .tsv",
            ));
        }
        Ok(corpus)
    }
}

const FORM: Form<'static> = Form {
    needed: &[&["dialogue"], &["summary", "summary1", "summary2", "summary3"]],
    hint: "name the fields `dialogue` and `summary`; the file is JSON lines, one JSON array, csv or tsv with a header, \
           with quotes around fields that hold separators or line breaks",
};

/// Reads a file: `.csv`, `.tsv`, or else JSON lines or one JSON array. `path` is for messages. Rows without a dialogue or a
/// summary are left out, with a notice.
///
/// * JSON, as published (`cylnlp/dialogsum`): `fname` (or `id`), `dialogue`, `summary`, `topic`; test rows carry
///   `summary1`..`summary3` and `topic1`..`topic3` instead.
/// * csv, as on the hub (`knkarthick/dialogsum`): `id,dialogue,summary,topic`. Its test file repeats a dialogue once a
///   human summary (1,500 rows `test_0_1`, `test_0_2`, …): neighbours with the same dialogue become one [`Dialogue`]
///   with three references, so that 500 dialogues count once each whichever file they come from.
///
/// # Errors
/// A file that is not text or has another form, no row with both; names the line.
pub fn read(path: &str, bytes: &[u8]) -> Result<Kept<Dialogue>> {
    let (mut rows, mut left_out) = (Vec::new(), LeftOut::default());
    each(path, bytes, &FORM, |row| {
        match checked(&row)? {
            Ok(dialogue) => push_or_join(&mut rows, dialogue),
            Err(reason) => left_out.add(&row, reason),
        }
        Ok(())
    })?;
    let notice = left_out.notice(rows.len())?;
    if rows.is_empty() {
        return Err(Error::file(path, "no dialogue in it", "download the file again; train has 12,460 rows"));
    }
    Ok(Kept { rows, notice })
}

/// [`read`] without notices, for data whose rows are complete.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &str, bytes: &[u8]) -> Result<Vec<Dialogue>> {
    read(path, bytes).map(|kept| kept.rows)
}

/// The rows that the lab uses: 200 < characters of the dialogue ≤ 1000. Characters are code points, as in Python's `len`.
/// 10,022 of DialogSum's 12,460 train rows remain.
pub fn keep_lab_lengths(mut rows: Vec<Dialogue>) -> Vec<Dialogue> {
    rows.retain(|row| {
        let characters = row.dialogue.chars().count();
        MIN_CHARACTERS < characters && characters <= MAX_CHARACTERS
    });
    rows
}

/// The lab's split, `train_test_split(test_size=0.2, shuffle=False)`: (train, test), where test is the last ⌈0.2 n⌉ rows in the
/// same order. 10,022 rows become 8,017 and 2,005. If rows name their split, that is used: validation rows become the test
/// split if there are no test rows, and are left out otherwise.
pub fn split(mut rows: Vec<Dialogue>) -> (Vec<Dialogue>, Vec<Dialogue>) {
    if rows.iter().any(|row| row.split.is_some()) {
        let is = |split: Split| move |row: &Dialogue| row.split == Some(split);
        let tested = if rows.iter().any(is(Split::Test)) { Split::Test } else { Split::Validation };
        let (test, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(is(tested));
        return (rest.into_iter().filter(|row| !is(Split::Validation)(row)).collect(), test);
    }
    let test = rows.split_off(rows.len() - rows.len().div_ceil(5));
    (rows, test)
}

/// The dialogue of a row, or the reason why the row is left out.
fn checked(row: &DataRow) -> Result<std::result::Result<Dialogue, Error>> {
    let missing = |field: &str| {
        let what = format!("this row has no `{field}`, or an empty one");
        let hint = "a row needs `dialogue` and `summary` (test rows: `summary1`..`summary3`); remove or complete it";
        Error::file(&row.at, what, hint)
    };
    let mut references = Vec::new();
    for name in ["summary", "summary1", "summary2", "summary3"] {
        references.extend(row.filled(name)?);
    }
    let (Some(dialogue), Some(summary)) = (row.filled("dialogue")?, references.first().cloned()) else {
        return Ok(Err(missing(if row.filled("dialogue")?.is_none() { "dialogue" } else { "summary" })));
    };
    let split = Split::parse(&row.text("split")?.unwrap_or_default());
    let id = [row.filled("fname")?, row.filled("id")?].into_iter().flatten().next();
    Ok(Ok(Dialogue {
        id: id.unwrap_or_else(|| format!("line_{}", row.at.rsplit(':').next().unwrap_or_default())),
        dialogue,
        summary,
        references,
        topic: row.text("topic")?.or(row.text("topic1")?).unwrap_or_default(),
        split: split.map_err(|(what, hint)| Error::file(&row.at, what, hint))?,
    }))
}

/// Adds a row, or joins it to the row before if both are the same test dialogue with different annotators.
fn push_or_join(rows: &mut Vec<Dialogue>, mut row: Dialogue) {
    if let Some(stem) = annotated(&row.id) {
        row.id = stem.to_string();
        if let Some(last) = rows.last_mut().filter(|last| last.id == row.id && last.dialogue == row.dialogue) {
            last.references.append(&mut row.references);
            return;
        }
    }
    rows.push(row);
}

/// `test_0` of `test_0_1`; `None` for an id without an annotator's number (`train_0`).
fn annotated(id: &str) -> Option<&str> {
    let (stem, annotator) = id.rsplit_once('_')?;
    let (_, number) = stem.rsplit_once('_')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(annotator) && digits(number)).then_some(stem)
}
