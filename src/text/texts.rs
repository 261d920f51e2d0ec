//! Reads the texts in data files, for training a tokenizer: JSON, csv, or one text per line.

use crate::encoding;
use crate::error::{Error, Result};
use crate::text::dialogue::DATA_ENDINGS;
use crate::text::rows::{Form, each};

/// The fields with texts; a row may have any of them.
const FIELDS: [&str; 7] = ["text", "dialogue", "summary", "summary1", "summary2", "summary3", "insulting_summary"];

const FORM: Form<'static> = Form {
    needed: &[&FIELDS],
    hint: "name the fields `dialogue` and `summary`, or `text`; the file is JSON lines, one JSON array, csv or tsv with a \
           header; files with other endings have one text on each line",
};

/// All texts of a file. The ending says the form: JSON, csv and tsv (fields `text`, or else `dialogue`, `summary`,
/// `insulting_summary`), otherwise one text per line.
///
/// # Errors
/// A file that is not text, JSON or csv (names the line), or contains no text.
pub fn texts(path: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let name = path.to_ascii_lowercase();
    let mut texts = Vec::new();
    if DATA_ENDINGS.iter().any(|end| name.ends_with(end)) {
        each(path, bytes, &FORM, |row| {
            for field in FIELDS {
                texts.extend(row.filled(field)?);
            }
            Ok(())
        })?;
    } else {
        let text = encoding::text(path, bytes)?;
        texts.extend(encoding::lines(&text).filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    if texts.is_empty() {
        return Err(Error::file(path, "no text in it", "give a file with at least one text"));
    }
    Ok(texts)
}
