//! The tokenizer in a model's folder, and the message if there is none that can be read.

use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::text::tokenizer::Tokenizer;

/// Files of SentencePiece tokenizers, which cannot be read.
const SENTENCEPIECE: [&str; 3] = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];

/// A folder without a readable tokenizer: its name, what it has instead, and what to do.
#[derive(Debug, Clone)]
pub struct NoTokenizer {
    folder: String,
    what: String,
    hint: String,
}

impl NoTokenizer {
    /// For a folder without a tokenizer; `like` names a model with a suitable one.
    pub fn of(source: &dyn ByteSource, like: &str) -> Self {
        let folder = source.name();
        let has = |files: &[&'static str]| files.iter().copied().find(|file| source.has(file));
        let convert = || {
            let call = format!("AutoTokenizer.from_pretrained({folder:?}).save_pretrained({folder:?})");
            format!(
                "make tokenizer.json with transformers: python3 -c 'from transformers import AutoTokenizer; {call}'"
            )
        };
        let (what, hint) = if let Some(file) = has(&SENTENCEPIECE) {
            (format!("the only tokenizer file is {file}, but tokenizer.json is needed"), convert())
        } else if has(&["merges.txt"]).is_some() {
            (
                "merges.txt exists, but neither vocab.json nor tokenizer.json".into(),
                format!("copy {like}'s tokenizer.json into it"),
            )
        } else {
            ("no tokenizer.json in this folder".into(), format!("copy {like}'s tokenizer.json into it, or give ids"))
        };
        Self { folder, what, hint }
    }

    /// The error of a command that needs the tokenizer.
    pub fn error(&self) -> Error {
        Error::file(&self.folder, &self.what, self.hint.clone())
    }

    /// What is wrong, and what to do.
    pub fn told(&self) -> (&str, &str) {
        (&self.what, &self.hint)
    }
}

/// The tokenizer in a folder, if it has one.
///
/// # Errors
/// A tokenizer that cannot be used.
pub fn tokenizer(source: &dyn ByteSource) -> Result<Option<Tokenizer>> {
    if !source.has("tokenizer.json") && !source.has("vocab.json") {
        return Ok(None);
    }
    let read = |file: &str| if source.has(file) { source.read(file).map(Some) } else { Ok(None) };
    Tokenizer::from_files(&source.name(), read).map(Some)
}

#[cfg(test)]
mod tests {
    use super::NoTokenizer;
    use crate::io::Memory;

    #[test]
    fn other_tokenizer_files_are_named() {
        let message = |file: &str| {
            let files = [(file.to_string(), vec![])].into();
            NoTokenizer::of(&Memory::new("model", files), "roberta-base").error().to_string()
        };
        let sentencepiece = message("spiece.model");
        for part in
            ["model: ", "spiece.model", "tokenizer.json", "AutoTokenizer.from_pretrained(\"model\").save_pretrained"]
        {
            assert!(sentencepiece.contains(part), "{sentencepiece}");
        }
        assert!(message("merges.txt").contains("neither vocab.json nor tokenizer.json"));
        assert!(message("config.json").contains("no tokenizer.json"));
    }
}
