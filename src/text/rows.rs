//! Reads rows of data files: JSON lines, a JSON array, or csv with commas, semicolons or tabs. Field names ignore case and
//! surrounding spaces. `dialogue`, `labelled` and `texts` interpret the fields.

use crate::encoding::{self, line_of, lines};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// The fields that rows must have, for messages and to detect a csv file's separator.
pub struct Form<'a> {
    /// At least one field of each group; messages name the group's first one.
    pub needed: &'a [&'a [&'a str]],
    /// What to do if a file has another form.
    pub hint: &'a str,
}

/// A row.
#[derive(Debug)]
pub struct DataRow {
    /// `file:line` of the row's first line.
    pub at: String,
    fields: Map<String, Value>,
}

impl DataRow {
    /// A field as text; none if it is missing or null. Numbers and booleans become text.
    ///
    /// # Errors
    /// A list or an object.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        Ok(match self.fields.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            Some(Value::Array(_) | Value::Object(_)) => {
                let hint = "write it as one text, with each turn of a dialogue on a separate line (\\n in JSON)";
                return Err(Error::file(&self.at, format!("`{name}` is a list or an object, not a text"), hint));
            }
        })
    }

    /// A field that is not empty or blank.
    ///
    /// # Errors
    /// As [`DataRow::text`].
    pub fn filled(&self, name: &str) -> Result<Option<String>> {
        Ok(self.text(name)?.filter(|text| !text.trim().is_empty()))
    }
}

/// The rows that lack a needed field: their number, and the first one.
#[derive(Default)]
pub struct LeftOut {
    count: usize,
    first: Option<Error>,
    at: String,
}

impl LeftOut {
    /// Counts a row that is left out for `reason`.
    pub fn add(&mut self, row: &DataRow, reason: Error) {
        self.count += 1;
        if self.first.is_none() {
            self.at.clone_from(&row.at);
            self.first = Some(reason);
        }
    }

    /// A notice, if rows were left out and `kept` rows remain.
    ///
    /// # Errors
    /// No row remains: the first row's error.
    pub fn notice(self, kept: usize) -> Result<Option<String>> {
        match (self.first, self.count) {
            (Some(error), _) if kept == 0 => Err(error),
            (_, 0) => Ok(None),
            (_, 1) => Ok(Some(format!("{}: a needed field of this row is empty; the row is left out", self.at))),
            (_, n) => Ok(Some(format!(
                "{}: a needed field is empty in {n} rows, of which this is the first; they are left out",
                self.at
            ))),
        }
    }
}

/// The values of a file, and a notice about rows that were left out.
#[derive(Debug)]
pub struct Kept<T> {
    pub rows: Vec<T>,
    pub notice: Option<String>,
}

/// Calls `work` for each row of a csv file (ending `.csv`, `.tsv` or `.tab`), a JSON array or JSON lines.
///
/// # Errors
/// A file that is not text or has another form, and errors of `work`; names the line.
pub fn each(path: &str, bytes: &[u8], form: &Form<'_>, mut work: impl FnMut(DataRow) -> Result<()>) -> Result<()> {
    let text = encoding::text(path, bytes)?;
    let name = path.to_ascii_lowercase();
    match () {
        () if name.ends_with(".tsv") || name.ends_with(".tab") => csv_rows(path, &text, Some(b'\t'), form, &mut work),
        () if name.ends_with(".csv") => csv_rows(path, &text, None, form, &mut work),
        () if text.trim_start().starts_with('[') => array_rows(path, &text, form, &mut work),
        () => json_lines(path, &text, form, &mut work),
    }
}

/// The normalised name of a field.
fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}

fn quoted(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names = names.into_iter().map(|name| format!("`{}`", name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}

/// Names of the groups without any field that `has` accepts.
fn lacking<'a>(form: &Form<'a>, has: impl Fn(&str) -> bool) -> Vec<&'a str> {
    form.needed.iter().filter(|group| !group.iter().any(|name| has(name))).map(|group| group[0]).collect()
}

/// Converts a JSON value to a row.
fn row_of(value: Value, at: String, form: &Form<'_>) -> Result<DataRow> {
    let Value::Object(object) = value else {
        return Err(Error::file(at, "not a JSON object", form.hint));
    };
    let mut fields = Map::new();
    for (name, value) in object {
        fields.entry(plain(&name)).or_insert(value);
    }
    let lacks = lacking(form, |name| fields.contains_key(name));
    if lacks.is_empty() {
        return Ok(DataRow { at, fields });
    }
    let has = quoted(fields.keys());
    Err(Error::file(at, format!("this row has no {}; it has {has}", quoted(lacks)), form.hint))
}

fn json_lines(path: &str, text: &str, form: &Form<'_>, work: &mut impl FnMut(DataRow) -> Result<()>) -> Result<()> {
    for (index, line) in lines(text).enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = format!("{path}:{}", index + 1);
        let value = serde_json::from_str(line).map_err(|e| {
            let hint = if line.starts_with("{'") {
                "this is a Python dict, not JSON: write the rows with json.dumps"
            } else {
                form.hint
            };
            Error::file(&at, format!("not a row in JSON: {e}"), hint)
        })?;
        work(row_of(value, at, form)?)?;
    }
    Ok(())
}

/// The rows of one JSON array, one at a time, so that each has its line.
fn array_rows(path: &str, text: &str, form: &Form<'_>, work: &mut impl FnMut(DataRow) -> Result<()>) -> Result<()> {
    let place = |at: usize| format!("{path}:{}", line_of(text, at));
    let next = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = next(next(0) + 1);
    // lines are counted from the row before
    let (mut counted, mut line) = (0, 1);
    while !text[at..].starts_with(']') {
        line += line_of(&text[counted..], at - counted) - 1;
        counted = at;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(e)) if !e.is_eof() => {
                let what = format!("not a row in JSON: {e}, counted from line {line}");
                return Err(Error::file(format!("{path}:{}", line + e.line() as u64 - 1), what, form.hint));
            }
            _ => return Err(Error::file(place(at), "the JSON array has no end: the file is cut off", form.hint)),
        };
        work(row_of(value, format!("{path}:{line}"), form)?)?;
        at = next(at + values.byte_offset());
        match text[at..].chars().next() {
            Some(',') => at = next(at + 1),
            Some(']') => {}
            Some(_) => return Err(Error::file(place(at), "no comma between two rows of the array", form.hint)),
            None => return Err(Error::file(place(at), "the JSON array has no end: the file is cut off", form.hint)),
        }
    }
    let rest = next(at + 1);
    if rest < text.len() {
        return Err(Error::file(place(rest), "there is text after the end of the JSON array", form.hint));
    }
    Ok(())
}

fn csv_rows(
    path: &str,
    text: &str,
    separator: Option<u8>,
    form: &Form<'_>,
    work: &mut impl FnMut(DataRow) -> Result<()>,
) -> Result<()> {
    // Excel may write its separator in a separate first line
    let first = lines(text).next().unwrap_or("");
    let told = first.strip_prefix("sep=").filter(|rest| rest.len() == 1);
    let skipped = if told.is_some() { text[first.len()..].trim_start_matches(['\n', '\r']) } else { text };
    let begins = text.len() - skipped.len();
    let separator = told.map(|rest| rest.as_bytes()[0]).or(separator).unwrap_or_else(|| guessed(skipped, form));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .has_headers(false)
        .from_reader(skipped.as_bytes());
    let (mut record, mut header) = (csv::StringRecord::new(), None::<Vec<String>>);
    let (mut counted, mut line) = (0, 1);
    loop {
        let from = begins + reader.position().byte() as usize;
        let start = from + text[from..].len() - text[from..].trim_start_matches(['\n', '\r']).len();
        line += line_of(&text[counted..], start - counted) - 1;
        counted = start;
        let at = format!("{path}:{line}");
        if !reader.read_record(&mut record).map_err(|e| Error::file(&at, csv_fault(&e), form.hint))? {
            break;
        }
        let Some(names) = &header else {
            let names: Vec<String> = record.iter().map(plain).collect();
            let lacks = lacking(form, |name| names.iter().any(|n| n == name));
            if !lacks.is_empty() {
                let what = format!("no column {} in its header, which has {}", quoted(lacks), quoted(&record));
                return Err(Error::file(at, what, form.hint));
            }
            header = Some(names);
            continue;
        };
        let blank = |from: usize| record.iter().skip(from).all(|field| field.trim().is_empty());
        if record.len() == 1 && names.len() > 1 && blank(0) {
            continue; // a blank line
        }
        if record.len() < names.len() || !blank(names.len()) {
            let what = format!("this row has {} columns, but the header has {}", record.len(), names.len());
            return Err(Error::file(at, what, form.hint));
        }
        let mut fields = Map::new();
        for (name, value) in names.iter().zip(&record) {
            fields.entry(name.as_str()).or_insert_with(|| Value::String(value.into()));
        }
        work(DataRow { at, fields })?;
    }
    if header.is_none() {
        return Err(Error::file(format!("{path}:1"), "the file is empty: it has no header", form.hint));
    }
    Ok(())
}

/// The separator with which the header contains most of the needed fields.
fn guessed(text: &str, form: &Form<'_>) -> u8 {
    let found = |separator: u8| {
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(text.as_bytes());
        let names: Vec<String> = reader.headers().map(|names| names.iter().map(plain).collect()).unwrap_or_default();
        form.needed.len() - lacking(form, |name| names.iter().any(|n| n == name)).len()
    };
    let best =
        |best: (usize, u8), separator: u8| if found(separator) > best.0 { (found(separator), separator) } else { best };
    b",;\t|".iter().copied().fold((0, b','), best).1
}

/// What is wrong with a csv row, without its position.
fn csv_fault(e: &csv::Error) -> String {
    match e.kind() {
        csv::ErrorKind::Utf8 { err, .. } => err.to_string(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FORM: Form<'static> = Form { needed: &[&["text"], &["label", "class"]], hint: "write text and label" };

    /// (line, text, label) of each row.
    fn read(path: &str, text: &str) -> Result<Vec<(String, String, String)>> {
        let mut rows = Vec::new();
        each(path, text.as_bytes(), &FORM, |row| {
            let field = |name: &str| row.text(name).map(Option::unwrap_or_default);
            let line = row.at.rsplit_once(':').unwrap().1.to_string();
            rows.push((line, field("text")?, field("label")?));
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn the_same_rows_come_from_every_kind_of_file() {
        for (path, text) in [
            ("a.csv", "text,label\n\n\"a\nb\",1\n\nc,2\n"),
            ("a.csv", "text,label\r\n\r\n\"a\nb\",1\r\n  \r\nc,2\r\n"),
            ("a.csv", "text,label\r\r\"a\nb\",1\r\rc,2,\r"),
            ("a.csv", "\u{feff} Text ,LABEL,other\n\n\"a\nb\",1,x\n\nc,2,\n"),
            ("a.csv", "text;label\n\n\"a\nb\";1\n\nc;2\n"),
            ("a.csv", "text\tlabel\n\n\"a\nb\"\t1\n\nc\t2\n"),
            ("A.TSV", "text\tlabel\n\n\"a\nb\"\t1\n\nc\t2\n"),
            ("a.csv", "sep=;\ntext;label\n\"a\nb\";1\n\nc;2\n"),
        ] {
            let row = |line: &str, text: &str, label: &str| (line.into(), text.into(), label.into());
            assert_eq!(read(path, text).unwrap(), [row("3", "a\nb", "1"), row("6", "c", "2")], "{text:?}");
        }
        for (path, text) in [
            ("a.jsonl", "{\"text\": \"a\", \"label\": 1}\n\n{\"Text\": \"c\", \" label\": true, \"id\": null}"),
            ("a.jsonl", "{\"text\": \"a\", \"label\": 1}\r\r{\"text\": \"c\", \"label\": \"true\"}\r"),
            ("a.json", "[{\"text\": \"a\", \"label\": 1},\n\n{\"text\": \"c\", \"label\": true}\n]\n"),
            ("a.json", " [ {\"text\": \"a\", \"label\": 1}\r\n,\r\n{\"text\": \"c\",\r\n \"label\": true}]"),
        ] {
            let row = |line: &str, text: &str, label: &str| (line.into(), text.into(), label.into());
            assert_eq!(read(path, text).unwrap(), [row("1", "a", "1"), row("3", "c", "true")], "{text:?}");
        }
        assert!(read("a.json", "[]").unwrap().is_empty());
    }

    #[test]
    fn faults_name_the_line_and_what_was_found() {
        for (path, text, said) in [
            ("a.csv", "words,class\na,1\n", "a.csv:1: no column `text` in its header, which has `words`, `class`"),
            ("a.csv", "", "a.csv:1: the file is empty"),
            ("a.csv", "text,label\n\"a\nb\",1\nc\n", "a.csv:4: this row has 1 columns, but the header has 2"),
            ("a.csv", "text,label\r\na,1\r\nc,1,2\r\n", "a.csv:3: this row has 3 columns, but the header has 2"),
            (
                "a.jsonl",
                "{\"text\": \"a\", \"label\": 1}\n{\"words\": 1}",
                "a.jsonl:2: this row has no `text`, `label`; it has `words`",
            ),
            ("a.jsonl", "{\"text\": [\"a\"], \"label\": 1}", "a.jsonl:1: `text` is a list"),
            ("a.jsonl", "7", "a.jsonl:1: not a JSON object"),
            ("a.json", "[\n{\"text\": \"a\", \"label\": 1},\n{\"text\" \"c\"}]", "a.json:3: not a row in JSON"),
            ("a.json", "[\n{\"text\": \"a\", \"label\": 1}\n{\"text\": 1}]", "a.json:3: no comma"),
            ("a.json", "[{\"text\": \"a\", \"label\": 1},", "a.json:1: the JSON array has no end"),
            ("a.json", "[{\"text\": \"a\", \"lab", "a.json:1: the JSON array has no end"),
            ("a.json", "[]\n[]", "a.json:2: there is text after"),
        ] {
            let error = read(path, text).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
