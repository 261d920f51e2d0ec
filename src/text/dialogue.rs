//! Room 1, the dialogues: DialogSum rows from bytes (jsonl or csv), the lab's length filter and its split.
//! Where the bytes come from (disk, hub, a browser's file picker) is left to `io`.

use crate::error::{Error, Result};
use serde::Deserialize;

/// One DialogSum dialogue with its human summaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// `train_0`, `dev_17`, `test_3` (without the annotator's number of the csv layout).
    pub id: String,
    /// The turns, one a line: `#Person1#: …`.
    pub dialogue: String,
    /// The first human summary.
    pub summary: String,
    /// Every human summary: one in train and dev, three in test.
    pub references: Vec<String>,
    /// The first annotator's topic; empty where the data has none.
    pub topic: String,
    /// The split that the row itself names, as our own dialogues do.
    pub split: Option<Split>,
}

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Test,
}

/// The lab keeps dialogues with more characters than this …
pub const MIN_CHARACTERS: usize = 200;
/// … and at most this many.
pub const MAX_CHARACTERS: usize = 1000;

/// The three parts of DialogSum; a part that was not given is empty.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    pub train: Vec<Dialogue>,
    pub validation: Vec<Dialogue>,
    pub test: Vec<Dialogue>,
}

impl Corpus {
    /// Reads a folder's files, given as (name, bytes). A name says its part: it contains `train`, `dev` or `valid`, or
    /// `test`, and ends in `.jsonl` or `.csv`; other files are passed over. Two files for one part are an error.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self> {
        let mut corpus = Self::default();
        for (path, bytes) in files {
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
            if !name.ends_with(".jsonl") && !name.ends_with(".csv") {
                continue;
            }
            let part = match () {
                () if name.contains("train") => &mut corpus.train,
                () if name.contains("dev") || name.contains("valid") => &mut corpus.validation,
                () if name.contains("test") => &mut corpus.test,
                () => continue,
            };
            if !part.is_empty() {
                let hint = "keep one file a part in this folder, or name the file itself";
                return Err(Error::file(path, "a second file for the same part of the data", hint));
            }
            *part = parse(path, bytes)?;
        }
        if corpus.train.is_empty() && corpus.validation.is_empty() && corpus.test.is_empty() {
            let what = "no DialogSum file among the given files";
            return Err(Error::input(what, "name them train, dev (or validation) and test, ending in .jsonl or .csv"));
        }
        Ok(corpus)
    }
}

/// Reads one file by its ending: `.csv` as csv, anything else as jsonl. `path` is for messages.
///
/// * jsonl, as published (`cylnlp/dialogsum`): `fname` (or `id`), `dialogue`, `summary`, `topic`; test rows carry
///   `summary1`..`summary3` and `topic1`..`topic3` instead.
/// * csv, as on the hub (`knkarthick/dialogsum`): `id,dialogue,summary,topic`. Its test file repeats a dialogue once a
///   human summary (1,500 rows `test_0_1`, `test_0_2`, …): neighbours with the same dialogue become one [`Dialogue`]
///   with three references, so that 500 dialogues count once each whichever file they come from.
pub fn parse(path: &str, bytes: &[u8]) -> Result<Vec<Dialogue>> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        Error::file(at(path, line as u64), "not UTF-8 text", "save the file as UTF-8, or unpack it if it is compressed")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let rows =
        if path.to_ascii_lowercase().ends_with(".csv") { parse_csv(path, text)? } else { parse_jsonl(path, text)? };
    if rows.is_empty() {
        return Err(Error::file(path, "no dialogue in it", "download the file again; train has 12,460 rows"));
    }
    Ok(rows)
}

/// The rows the lab trains and tests on: 200 < characters of the dialogue ≤ 1000. Characters are code points, as
/// Python's `len` counts them. DialogSum's 12,460 train rows become 10,022.
pub fn keep_lab_lengths(mut rows: Vec<Dialogue>) -> Vec<Dialogue> {
    rows.retain(|row| {
        let characters = row.dialogue.chars().count();
        MIN_CHARACTERS < characters && characters <= MAX_CHARACTERS
    });
    rows
}

/// The lab's split, `train_test_split(test_size=0.2, shuffle=False)`: (train, test), where test is the last
/// ⌈0.2 n⌉ rows in the same order. 10,022 rows become 8,017 and 2,005. Where rows name their split, that is theirs.
pub fn split(mut rows: Vec<Dialogue>) -> (Vec<Dialogue>, Vec<Dialogue>) {
    if rows.iter().any(|row| row.split.is_some()) {
        return rows.into_iter().partition(|row| row.split != Some(Split::Test));
    }
    let test = rows.split_off(rows.len() - rows.len().div_ceil(5));
    (rows, test)
}

/// A row as the files have it, all layouts at once.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "id")]
    fname: Option<String>,
    dialogue: Option<String>,
    summary: Option<String>,
    summary1: Option<String>,
    summary2: Option<String>,
    summary3: Option<String>,
    topic: Option<String>,
    topic1: Option<String>,
    #[serde(default)]
    split: Option<Split>,
}

impl Row {
    fn check(self, path: &str, line: u64) -> Result<Dialogue> {
        let missing = |field: &str| {
            let what = format!("this row has no `{field}`, or an empty one");
            let hint =
                "a row needs `dialogue` and `summary` (test rows: `summary1`..`summary3`); remove or complete it";
            Error::file(at(path, line), what, hint)
        };
        let filled = |text: &String| !text.trim().is_empty();
        let references: Vec<String> =
            [self.summary, self.summary1, self.summary2, self.summary3].into_iter().flatten().filter(filled).collect();
        Ok(Dialogue {
            id: self.fname.filter(filled).unwrap_or_else(|| format!("line_{line}")),
            dialogue: self.dialogue.filter(filled).ok_or_else(|| missing("dialogue"))?,
            summary: references.first().ok_or_else(|| missing("summary"))?.clone(),
            references,
            topic: self.topic.or(self.topic1).unwrap_or_default(),
            split: self.split,
        })
    }
}

fn parse_jsonl(path: &str, text: &str) -> Result<Vec<Dialogue>> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index as u64 + 1;
        let row: Row = serde_json::from_str(line).map_err(|e| {
            let hint = if line.starts_with("{'") {
                "this is a Python dict, as in DialogSum's old zip file: take the newer .jsonl or the hub's .csv"
            } else {
                "each line must be one JSON object with `dialogue` and `summary`"
            };
            Error::file(at(path, number), format!("not a DialogSum row in JSON: {e}"), hint)
        })?;
        rows.push(row.check(path, number)?);
    }
    Ok(rows)
}

fn parse_csv(path: &str, text: &str) -> Result<Vec<Dialogue>> {
    let hint = "the file needs the header id,dialogue,summary,topic and quotes around fields that hold line breaks";
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| Error::file(at(path, 1), e, hint))?.clone();
    for column in ["dialogue", "summary"] {
        if !headers.iter().any(|name| name == column) {
            return Err(Error::file(at(path, 1), format!("no column `{column}` in the header"), hint));
        }
    }
    let mut rows: Vec<Dialogue> = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_record(&mut record).map_err(|e| Error::file(at(path, line), e, hint))? {
            break;
        }
        let row: Row = record.deserialize(Some(&headers)).map_err(|e| Error::file(at(path, line), e, hint))?;
        push_or_join(&mut rows, row.check(path, line)?);
    }
    Ok(rows)
}

/// Adds a csv row, or joins it to the row before when both are one test dialogue by different annotators.
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

fn at(path: &str, line: u64) -> String {
    format!("{path}:{line}")
}
