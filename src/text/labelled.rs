//! Labelled texts from csv files: what a reward model learns from. Which rows are held out where the file does not say
//! is the caller's choice.

use crate::error::{Error, Result};
use crate::text::texts::{csv_fault, utf8};

/// What a file says about where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Train,
    HeldOut,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub text: String,
    pub hate: bool,
    /// None: the file has no column `split`, or it is empty in all rows.
    pub part: Option<Part>,
}

/// Rows of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name without folder and ending; it names the source in tables and metrics.
    pub name: String,
    pub rows: Vec<Labelled>,
}

const FORM: &str = "the file needs a header with `text` and `label`; texts with commas or line breaks stand in quotes";

impl Source {
    /// Reads a csv file with the columns `text`, `label` (hate or nothate, 1 or 0) and perhaps `split` (train, or else
    /// dev, valid, validation or test, which are held out; empty means train where other rows say something).
    ///
    /// # Errors
    /// No rows, a missing column, an unknown label or split, an empty text; each with its line.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let text = utf8(path, bytes)?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|e| Error::file(path, csv_fault(&e), FORM))?;
        let column = |name: &str| headers.iter().position(|header| header.trim() == name);
        let (Some(text), Some(label)) = (column("text"), column("label")) else {
            let what = format!("no columns `text` and `label` in its header ({})", Vec::from_iter(headers).join(","));
            return Err(Error::file(format!("{path}:1"), what, FORM));
        };
        let columns = Columns { text, label, split: column("split") };
        let mut rows = Vec::new();
        let mut record = csv::StringRecord::new();
        loop {
            let at = format!("{path}:{}", reader.position().line());
            if !reader.read_record(&mut record).map_err(|e| Error::file(&at, csv_fault(&e), FORM))? {
                break;
            }
            rows.push(columns.row(&record, &at)?);
        }
        if rows.is_empty() {
            return Err(Error::file(path, "no rows in it", FORM));
        }
        if rows.iter().any(|row| row.part.is_some()) {
            rows.iter_mut().for_each(|row| row.part = row.part.or(Some(Part::Train)));
        }
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        Ok(Self { name: name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_string(), rows })
    }
}

/// Where a file has what.
struct Columns {
    text: usize,
    label: usize,
    split: Option<usize>,
}

impl Columns {
    fn row(&self, record: &csv::StringRecord, at: &str) -> Result<Labelled> {
        let field = |column: usize| record.get(column).unwrap_or("");
        let text = field(self.text);
        if text.trim().is_empty() {
            return Err(Error::file(at, "the text is empty", "remove the row, or fill it in"));
        }
        let hate = match field(self.label).trim() {
            "hate" | "1" => true,
            "nothate" | "0" => false,
            other => {
                return Err(Error::file(at, format!("unknown label {other:?}"), "write hate or nothate, or 1 or 0"));
            }
        };
        let part = match self.split.map_or("", field).trim() {
            "" => None,
            "train" => Some(Part::Train),
            "dev" | "valid" | "validation" | "test" => Some(Part::HeldOut),
            other => {
                let hint = "write train, dev or test, or leave the split empty in all rows";
                return Err(Error::file(at, format!("unknown split {other:?}"), hint));
            }
        };
        Ok(Labelled { text: text.to_string(), hate, part })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Source> {
        Source::parse("data/some.csv", text.as_bytes())
    }

    #[test]
    fn rows_are_read_whatever_else_is_there() {
        let source = parse("\u{feff}id,label,text\n7,hate,\"a, \"\"b\"\"\nc\"\n8,0,d\n").unwrap();
        assert_eq!(source.name, "some");
        let row = |text: &str, hate| Labelled { text: text.into(), hate, part: None };
        assert_eq!(source.rows, [row("a, \"b\"\nc", true), row("d", false)]);
    }

    #[test]
    fn splits_are_read_and_an_empty_one_among_others_is_train() {
        let parts = |text| parse(text).unwrap().rows.into_iter().map(|row| row.part).collect::<Vec<_>>();
        let (train, held_out) = (Some(Part::Train), Some(Part::HeldOut));
        assert_eq!(parts("text,label,split\na,1,dev\nb,0,\nc,0,train\nd,1,test\n"), [held_out, train, train, held_out]);
        assert_eq!(parts("text,label,split\na,1,\nb,0,\n"), [None, None]);
    }

    #[test]
    fn faults_name_file_and_line() {
        for (text, fault) in [
            ("", "some.csv:1"),
            ("text,label\n", "some.csv: no rows"),
            ("text,labels\na,hate\n", "some.csv:1: no columns `text` and `label`"),
            ("text,label\n\"a\nb\",hate\nc,toxic\n", "some.csv:4: unknown label \"toxic\""),
            ("text,label\na,hate\n\" \",hate\n", "some.csv:3: the text is empty"),
            ("text,label,split\na,hate,later\n", "some.csv:2: unknown split \"later\""),
            ("text,label\na,hate\nb\n", "some.csv:3: this row has 1 columns, the header has 2"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{fault}: {error}");
        }
        let error = Source::parse("x.csv", b"text,label\nfine,1\ncaf\xe9,0\n").unwrap_err().to_string();
        assert!(error.contains("x.csv:3: not UTF-8"), "{error}");
    }
}
