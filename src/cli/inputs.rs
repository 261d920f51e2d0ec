//! Reads texts and rows from files and standard input, one per line; errors name file and line.

use super::args::TextInput;
use crate::encoding;
use crate::error::{Error, Result};
use crate::io::disk;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// A command's texts or rows of ids, in the given order.
pub enum Queries {
    Texts(Vec<String>),
    Ids(Vec<Vec<u32>>),
}

/// Reads a command's texts or rows of ids.
pub fn queries(input: &TextInput) -> Result<Queries> {
    match (&input.given, &input.text, &input.dialogue, &input.ids) {
        (Some(text), ..) if text.trim().is_empty() => Err(Error::input("the text is empty", "give some text")),
        (Some(text), ..) => Ok(Queries::Texts(vec![text.clone()])),
        (_, Some(file), ..) => lines(file).map(Queries::Texts),
        (_, _, Some(file), _) => whole(file).map(|text| Queries::Texts(vec![text])),
        (.., Some(file)) => {
            let rows: Vec<Ids> = json_lines(file, r#"{"ids":[…]}"#)?;
            Ok(Queries::Ids(rows.into_iter().map(|r| r.ids).collect()))
        }
        _ => Err(Error::input("no input", "give a text, --text FILE, --dialogue FILE or --ids FILE.jsonl")),
    }
}

/// A file's text, or standard input's for `-`.
pub fn read_text(path: &Path) -> Result<String> {
    if path != Path::new("-") {
        return disk::read_text(path);
    }
    let (name, mut bytes) = ("standard input", Vec::new());
    std::io::stdin().read_to_end(&mut bytes).map_err(|e| Error::file(name, e, "send text, or give a file"))?;
    Ok(encoding::text(name, &bytes)?.into_owned())
}

/// One text per line; blank lines are an error, because there is one result per line.
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let lines: Vec<String> = encoding::lines(&text).map(str::to_string).collect();
    if let Some(i) = lines.iter().position(|l| l.trim().is_empty()) {
        return Err(Error::file(
            line_of(path, i),
            "the line is empty",
            "remove it, because each line gives one result; or give the whole file as one text with --dialogue",
        ));
    }
    if lines.is_empty() {
        return Err(Error::file(path.display(), "no text in it", "write one text on each line"));
    }
    Ok(lines)
}

/// A file's whole text.
pub fn whole(path: &Path) -> Result<String> {
    let text = read_text(path)?;
    let text = text.trim_end();
    if text.trim().is_empty() {
        return Err(Error::file(path.display(), "no text in it", "write a dialogue, one turn on each line"));
    }
    Ok(text.to_string())
}

/// Whether these lines look like the turns of one dialogue: at least two lines in a row begin with a speaker (`#Person1#: …` or
/// `Anna: …`) and contain no other speaker. A line with a whole dialogue contains several speakers.
pub fn are_turns(lines: &[String]) -> bool {
    let speakers = |line: &str| line.split_whitespace().filter(|word| is_speaker(word)).count();
    let turn = |line: &String| {
        let (name, said) = line.split_once(':').unwrap_or((line, ""));
        let words = name.split_whitespace().count();
        let begins =
            (1..=3).contains(&words) && is_speaker(&format!("{}:", name.split_whitespace().last().unwrap_or("")));
        begins && !said.trim().is_empty() && speakers(said) == 0
    };
    lines.windows(2).any(|pair| pair.iter().all(turn))
}

/// `#Person1#:` or `Anna:`.
fn is_speaker(word: &str) -> bool {
    let Some(name) = word.strip_suffix(':') else { return false };
    name.starts_with(|c: char| c == '#' || c.is_uppercase())
        && name.chars().all(|c| c.is_alphanumeric() || "#_-.".contains(c))
}

/// One JSON value per line.
pub fn json_lines<T: for<'de> Deserialize<'de>>(path: &Path, form: &str) -> Result<Vec<T>> {
    let text = read_text(path)?;
    let mut rows = Vec::new();
    for (i, line) in encoding::lines(&text).enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let row = serde_json::from_str(line)
            .map_err(|e| Error::file(line_of(path, i), e, format!("write {form} on each line")))?;
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Error::file(path.display(), "no rows in it", format!("write {form} on each line")));
    }
    Ok(rows)
}

/// A whole JSON file.
pub fn json<T: for<'de> Deserialize<'de>>(path: &Path, form: &str) -> Result<T> {
    serde_json::from_str(&read_text(path)?).map_err(|e| Error::file(path.display(), e, format!("write {form}")))
}

/// A JSON object in which no key is repeated. serde_json alone would silently keep the last value.
pub struct Once(pub Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Once;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object of settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> std::result::Result<Once, A::Error> {
                let mut all = serde_json::Map::new();
                while let Some((key, value)) = from.next_entry::<String, Value>()? {
                    if all.insert(key.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("setting {key} is given twice")));
                    }
                }
                Ok(Once(Value::Object(all)))
            }
        }
        from.deserialize_map(Keys)
    }
}

/// `{"ids":[…]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<u32>,
}

/// A query and a response, as ids or as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum PairRow {
    Ids { query_ids: Vec<u32>, response_ids: Vec<u32> },
    Text { query: String, response: String },
}

/// `file, line n`.
pub fn line_of(path: &Path, index: usize) -> String {
    format!("{}, line {}", path.display(), index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_one_dialogue_are_distinguished_from_one_dialogue_per_line() {
        let are = |text: &str| are_turns(&text.lines().map(str::to_string).collect::<Vec<_>>());
        assert!(are("#Person1#: I need a cake.\n#Person2#: By when?"));
        assert!(are("Anna: Hi!\nDr. Li Wei: Good morning.\nAnna: How are you?"));
        assert!(!are("#Person1#: A cake? #Person2#: Yes.\n#Person1#: Hi. #Person2#: Hello."));
        assert!(!are("Anna: A cake? Ben: Yes.\nAnna: Hi. Ben: Hello."));
        assert!(!are("What a nice day.\nI said: no."));
        assert!(!are("Anna: Hi!"));
    }
}
