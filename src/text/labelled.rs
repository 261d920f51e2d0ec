//! Reads labelled texts from csv or JSON files, for training a reward model. The caller chooses the held-out rows if the file
//! does not.

use crate::error::{Error, Result};
use crate::text::dialogue::Split;
use crate::text::rows::{DataRow, Form, LeftOut, each};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub text: String,
    pub hate: bool,
    /// None if the file has no column `split`, or the column is empty.
    pub held_out: Option<bool>,
}

/// Rows of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledFile {
    /// The file's name without folder and ending, for tables and metrics.
    pub name: String,
    pub rows: Vec<Labelled>,
    /// A notice about rows that were left out.
    pub notice: Option<String>,
}

const FORM: Form<'static> = Form {
    needed: &[&["text"], &["label"]],
    hint: "name the fields `text` and `label`; the file is csv or tsv with a header, with quotes around texts that hold \
           separators or line breaks, or JSON lines, or one JSON array",
};

impl LabelledFile {
    /// Reads a file whose rows have `text`, `label` (hate or nothate, 1 or 0) and optionally `split` (train; dev, val, valid,
    /// validation and test rows are held out; empty means train if other rows have a split). Rows with an empty text are left
    /// out, with a notice.
    ///
    /// # Errors
    /// No rows, a missing column, an unknown label or split; names the line.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let (mut rows, mut left_out) = (Vec::new(), LeftOut::default());
        each(path, bytes, &FORM, |row| {
            match row.filled("text")? {
                Some(text) => rows.push(labelled(&row, text)?),
                None => left_out.add(&row, Error::file(&row.at, "the text is empty", "remove the row, or add a text")),
            }
            Ok(())
        })?;
        let notice = left_out.notice(rows.len())?;
        if rows.is_empty() {
            return Err(Error::file(path, "no rows in it", FORM.hint));
        }
        if rows.iter().any(|row| row.held_out.is_some()) {
            rows.iter_mut().for_each(|row| row.held_out = row.held_out.or(Some(false)));
        }
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_string();
        Ok(Self { name, rows, notice })
    }
}

/// A row with this text. Labels may be written as 1.0, as pandas does if some are missing.
fn labelled(row: &DataRow, text: String) -> Result<Labelled> {
    let label = row.text("label")?.unwrap_or_default();
    let hate = match label.trim().to_lowercase().as_str() {
        "hate" | "1" | "1.0" => true,
        "nothate" | "0" | "0.0" => false,
        _ => {
            let what = format!("unknown label {:?}", label.trim());
            return Err(Error::file(&row.at, what, "write hate or nothate, or 1 or 0"));
        }
    };
    let split = Split::parse(&row.text("split")?.unwrap_or_default());
    let split = split.map_err(|(what, hint)| Error::file(&row.at, what, hint))?;
    Ok(Labelled { text, hate, held_out: split.map(|split| split != Split::Train) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<LabelledFile> {
        LabelledFile::parse("data/some.csv", text.as_bytes())
    }

    #[test]
    fn rows_are_read_and_other_columns_are_ignored() {
        let source = parse("\u{feff}id,label,text\n7,hate,\"a, \"\"b\"\"\nc\"\n8,0,d\n").unwrap();
        assert_eq!(source.name, "some");
        let row = |text: &str, hate| Labelled { text: text.into(), hate, held_out: None };
        assert_eq!(source.rows, [row("a, \"b\"\nc", true), row("d", false)]);
    }

    #[test]
    fn splits_are_read_and_an_empty_one_among_others_is_train() {
        let parts = |text| parse(text).unwrap().rows.into_iter().map(|row| row.held_out).collect::<Vec<_>>();
        let (train, held_out) = (Some(false), Some(true));
        assert_eq!(parts("text,label,split\na,1,dev\nb,0,\nc,0,train\nd,1,test\n"), [held_out, train, train, held_out]);
        assert_eq!(parts("text,label,split\na,1,\nb,0,\n"), [None, None]);
    }

    #[test]
    fn faults_name_file_and_line() {
        for (text, fault) in [
            ("", "some.csv:1"),
            ("text,label\n", "some.csv: no rows"),
            ("text,labels\na,hate\n", "some.csv:1: no column `label` in its header, which has `text`, `labels`"),
            ("text,label\n\"a\nb\",hate\nc,toxic\n", "some.csv:4: unknown label \"toxic\""),
            ("text,label\n\" \",hate\n", "some.csv:2: the text is empty"),
            ("text,label,split\na,hate,later\n", "some.csv:2: unknown split \"later\""),
            ("text,label\na,hate\nb\n", "some.csv:3: this row has 1 columns, but the header has 2"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{fault}: {error}");
        }
        let error = LabelledFile::parse("x.csv", b"text,label\nfine,1\ncaf\xe9,0\n").unwrap_err().to_string();
        assert!(error.contains("x.csv:3: not UTF-8"), "{error}");
    }
}
