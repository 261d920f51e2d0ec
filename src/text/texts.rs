//! Plain texts out of data files, for training a tokenizer: jsonl, csv or a text a line. What the rows mean otherwise
//! (dialogue and summary, text and label) is for `dialogue` and `labelled`.

use crate::error::{Error, Result};
use serde_json::Value;

/// The fields of a jsonl object that hold text; a row may have any of them.
const FIELDS: [&str; 7] = ["dialogue", "summary", "summary1", "summary2", "summary3", "insulting_summary", "text"];

/// Every text of a file, by the end of its name: `.jsonl` (the fields `dialogue`, `summary`, `insulting_summary`,
/// `text`), `.csv` (the column `text`, or else `dialogue` and `summary`), anything else a text a line.
///
/// # Errors
/// Not UTF-8, not JSON or csv (with the line), no text in it.
pub fn texts(path: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let text = utf8(path, bytes)?;
    let name = path.to_ascii_lowercase();
    let texts = match () {
        () if name.ends_with(".jsonl") => from_jsonl(path, text)?,
        () if name.ends_with(".csv") => from_csv(path, text)?,
        () => text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
    };
    if texts.is_empty() {
        return Err(Error::file(path, "no text in it", "give a file with at least one text"));
    }
    Ok(texts)
}

/// A file's bytes as text, without a byte order mark.
pub(crate) fn utf8<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        let hint = "save the file as UTF-8, or unpack it if it is compressed";
        Error::file(format!("{path}:{line}"), "not UTF-8 text", hint)
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

fn from_jsonl(path: &str, text: &str) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let hint = "each line must be one JSON object with `dialogue` and `summary`, or `text`";
        let at = format!("{path}:{}", index + 1);
        let row: Value = serde_json::from_str(line).map_err(|e| Error::file(&at, e, hint))?;
        let found: Vec<&str> = FIELDS.iter().filter_map(|field| row.get(field)?.as_str()).collect();
        if found.is_empty() {
            return Err(Error::file(at, "no text in this row", hint));
        }
        texts.extend(found.into_iter().filter(|text| !text.trim().is_empty()).map(str::to_owned));
    }
    Ok(texts)
}

fn from_csv(path: &str, text: &str) -> Result<Vec<String>> {
    let hint = "save it as comma-separated values with a header; text with commas or line breaks stands in quotes";
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| Error::file(path, csv_fault(&e), hint))?;
    let column = |name: &str| headers.iter().position(|header| header == name);
    let columns: Vec<usize> = match column("text") {
        Some(text) => vec![text],
        None => FIELDS.iter().filter_map(|field| column(field)).collect(),
    };
    if columns.is_empty() {
        let what = format!("no column `text` (nor `dialogue` and `summary`) in its header: {headers:?}");
        return Err(Error::file(format!("{path}:1"), what, hint));
    }
    let mut texts = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let at = format!("{path}:{}", reader.position().line());
        if !reader.read_record(&mut record).map_err(|e| Error::file(at, csv_fault(&e), hint))? {
            return Ok(texts);
        }
        let filled = columns.iter().filter_map(|c| record.get(*c)).filter(|text| !text.trim().is_empty());
        texts.extend(filled.map(str::to_owned));
    }
}

/// What is wrong with a csv row, without the place, which the caller knows.
pub(crate) fn csv_fault(e: &csv::Error) -> String {
    match e.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("this row has {len} columns, the header has {expected_len}")
        }
        _ => e.to_string(),
    }
}
