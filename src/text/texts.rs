//! Reads the plain texts in data files, for training a tokenizer: JSON, csv, or one text a line.

use crate::encoding;
use crate::error::{Error, Result};
use crate::text::dialogue::DATA_ENDINGS;
use crate::text::rows::{Form, each};

/// The fields of a row that hold text; a row may have any of them.
const FIELDS: [&str; 7] = ["text", "dialogue", "summary", "summary1", "summary2", "summary3", "insulting_summary"];

const FORM: Form<'static> = Form {
    needed: &[&FIELDS],
    hint: "name the fields `dialogue` and `summary`, or `text`; the file is JSON lines, one JSON array, csv or tsv with a \
           header, or a text a line under another ending",
};

/// Every text of a file, by the end of its name: JSON, csv and tsv (the field `text`, or else `dialogue`, `summary`,
/// `insulting_summary`), anything else a text a line.
///
/// # Errors
/// Not text, not JSON or csv (with the line), no text in it.
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
