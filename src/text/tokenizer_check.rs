//! Checks a `tokenizer.json`: it may contain only the parts of T5's and RoBERTa's tokenizers, with contents that the
//! `tokenizers` crate can handle. That crate does not check files: one damaged byte can make it panic (an index outside its
//! table, a decoder that is a number), grow a text without limit, or overflow the stack. A panic would end a browser's worker.
//!
//! Source: tokenizers 0.23.2 and spm_precompiled 0.1.4, all indexing, `unwrap` and `expect` in them.

use crate::encoding;
use crate::text::charsmap;
use fancy_regex::RegexBuilder;
use serde_json::{Map, Value};

/// Maximum number of bytes in a token: a vocabulary's trie is as deep, and is freed by recursion. RoBERTa's longest has 256.
const MAX_TOKEN: usize = 1024;
/// Maximum number of normalizers, pre-tokenizers, processors and decoders together.
const MAX_PARTS: usize = 32;
/// Maximum factor by which all replacements together may lengthen a text.
const MAX_GROWTH: usize = 64;
/// Maximum number of bytes of a compiled pattern.
const PATTERN_SIZE: usize = 1 << 20;
/// Maximum number of special tokens that a template may add to a text.
const MAX_ADDED: usize = 16;

type Checked<T = ()> = Result<T, String>;

/// Returns the JSON for `tokenizers`, or what is wrong with `json`. The result is written from the checked values: each key
/// once, without truncation and padding.
pub(super) fn checked(json: &[u8]) -> Checked<Vec<u8>> {
    let mut file: Map<String, Value> = serde_json::from_slice(&encoding::json(json)).map_err(|e| e.to_string())?;
    for key in ["truncation", "padding"] {
        file.insert(key.into(), Value::Null);
    }
    let mut parts = Parts { count: 0, growth: 1, charsmaps: 0 };
    model(file.get("model").unwrap_or(&Value::Null))?;
    added_tokens(file.get("added_tokens").unwrap_or(&Value::Null))?;
    let kinds: [(&str, Check); 4] = [
        ("normalizer", Parts::normalizer),
        ("pre_tokenizer", Parts::pre_tokenizer),
        ("post_processor", Parts::post_processor),
        ("decoder", Parts::decoder),
    ];
    for (key, check) in kinds {
        match file.get(key) {
            None | Some(Value::Null) => {}
            Some(part) => parts.check(key, part, check)?,
        }
    }
    serde_json::to_vec(&file).map_err(|e| e.to_string())
}

/// Refuses a token that is too long for a vocabulary.
pub(super) fn token(text: &str) -> Checked {
    if text.len() <= MAX_TOKEN {
        return Ok(());
    }
    let start: String = text.chars().take(20).collect();
    Err(format!("the token {start:?}… has {} bytes, more than {MAX_TOKEN}", text.len()))
}

fn model(model: &Value) -> Checked {
    let Some(model) = model.as_object() else { return Err("no model in it".into()) };
    let kind = match model.get("type") {
        Some(kind) => kind.as_str().unwrap_or_default(),
        None if model.contains_key("merges") => "BPE", // as in older files
        None => "",
    };
    let vocabulary = model.get("vocab").unwrap_or(&Value::Null);
    match (kind, vocabulary) {
        ("Unigram", Value::Array(pieces)) => {
            pieces.iter().enumerate().try_for_each(|(i, piece)| match piece.as_array() {
                Some(pair) if pair.len() == 2 && pair[0].is_string() && pair[1].is_number() => {
                    token(pair[0].as_str().unwrap_or_default())
                }
                _ => Err(format!("model: piece {i} of the vocabulary is not a text and a number")),
            })
        }
        ("BPE", Value::Object(tokens)) => {
            for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
                if !matches!(model.get(key), None | Some(Value::Null)) && model[key] != "" {
                    return Err(format!("model: {key} is {}, which differs from RoBERTa's", model[key]));
                }
            }
            if model.get("dropout").is_some_and(|dropout| !dropout.is_null() && dropout.as_f64() != Some(0.0)) {
                return Err("model: dropout is set, so that the tokens of a text vary".into());
            }
            tokens.keys().try_for_each(|text| token(text))
        }
        ("Unigram" | "BPE", _) => Err("model: the vocabulary is missing or has the wrong type".into()),
        (other, _) => Err(format!("model: type {other:?} is neither T5's Unigram nor RoBERTa's BPE")),
    }
}

fn added_tokens(tokens: &Value) -> Checked {
    let tokens = match tokens {
        Value::Null => return Ok(()),
        Value::Array(tokens) => tokens,
        _ => return Err("added_tokens is not a list".into()),
    };
    for (i, added) in tokens.iter().enumerate() {
        let content = added.get("content").and_then(Value::as_str);
        token(content.ok_or_else(|| format!("added_tokens: number {i} has no content"))?)?;
    }
    Ok(())
}

type Check = fn(&mut Parts, &str, &Value) -> Checked;

/// Totals of the parts checked so far.
struct Parts {
    count: usize,
    growth: usize,
    charsmaps: usize,
}

impl Parts {
    /// Checks a part: its type, then with `check`.
    fn check(&mut self, key: &str, part: &Value, check: Check) -> Checked {
        self.count += 1;
        if self.count > MAX_PARTS {
            return Err(format!("more than {MAX_PARTS} parts"));
        }
        let kind = part.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| format!("{key}: a part without a type"))?;
        check(self, kind, part).map_err(|what| format!("{key} {kind}: {what}"))
    }

    /// Checks every part in the list `list` of a sequence.
    fn each(&mut self, part: &Value, list: &str, check: Check) -> Checked {
        let parts = part.get(list).and_then(Value::as_array).ok_or_else(|| format!("{list} is not a list"))?;
        parts.iter().try_for_each(|part| self.check("its", part, check))
    }

    fn grow(&mut self, times: usize) -> Checked {
        self.growth = self.growth.saturating_mul(times.max(1));
        if self.growth > MAX_GROWTH {
            return Err(format!("its replacements can make a text more than {MAX_GROWTH} times longer"));
        }
        Ok(())
    }

    fn normalizer(&mut self, kind: &str, part: &Value) -> Checked {
        match kind {
            "Sequence" => self.each(part, "normalizers", Self::normalizer),
            "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "Strip" | "StripAccents" | "Nmt" => Ok(()),
            "ByteLevel" => self.grow(2),
            "Precompiled" => {
                self.charsmaps += 1;
                if self.charsmaps > 1 {
                    return Err("a second table".into());
                }
                let table = part.get("precompiled_charsmap").and_then(Value::as_str);
                charsmap::check(table.ok_or("no precompiled_charsmap in it")?)
            }
            "Prepend" => {
                // With an empty text, tokenizers 0.23 miscounts letters and panics in a later part.
                let text = part.get("prepend").and_then(Value::as_str).filter(|text| !text.is_empty());
                token(text.ok_or("no text to prepend")?)
            }
            "Replace" => self.replace(part),
            _ => Err(UNKNOWN.into()),
        }
    }

    fn pre_tokenizer(&mut self, kind: &str, part: &Value) -> Checked {
        match kind {
            "Sequence" => self.each(part, "pretokenizers", Self::pre_tokenizer),
            "Whitespace" | "WhitespaceSplit" | "Digits" | "Punctuation" => Ok(()),
            "ByteLevel" => self.grow(2),
            "Metaspace" => self.grow(3), // a space becomes three bytes
            "Split" => pattern(part),
            _ => Err(UNKNOWN.into()),
        }
    }

    fn post_processor(&mut self, kind: &str, part: &Value) -> Checked {
        match kind {
            "Sequence" => self.each(part, "processors", Self::post_processor),
            "RobertaProcessing" | "BertProcessing" | "ByteLevel" => Ok(()),
            "TemplateProcessing" => template(part),
            _ => Err(UNKNOWN.into()),
        }
    }

    fn decoder(&mut self, kind: &str, part: &Value) -> Checked {
        match kind {
            "Sequence" => self.each(part, "decoders", Self::decoder),
            "ByteLevel" | "Metaspace" | "Fuse" | "ByteFallback" => Ok(()),
            "Replace" => self.replace(part),
            _ => Err(UNKNOWN.into()),
        }
    }

    fn replace(&mut self, part: &Value) -> Checked {
        pattern(part)?;
        let content = part.get("content").and_then(Value::as_str).ok_or("no content in it")?;
        self.grow(content.len())
    }
}

const UNKNOWN: &str = "not a part of T5's or RoBERTa's tokenizers";

/// Checks the pattern of a part. A regular expression must have no look-around and back-references, so that it needs linear
/// time, and must not match an empty text: replacing one would panic.
fn pattern(part: &Value) -> Checked {
    let pattern = part.get("pattern").unwrap_or(&Value::Null);
    match (pattern.get("String"), pattern.get("Regex").and_then(Value::as_str)) {
        (Some(Value::String(text)), None) if !text.is_empty() => token(text),
        (None, Some(text)) => {
            token(text)?;
            let wrong = |what: &str| format!("the pattern {text:?} {what}");
            // `a++` is possessive in one crate, and a repeated `a+` in the other
            if ["++", "*+", "?+", "}+"].iter().any(|twice| text.contains(twice)) {
                return Err(wrong("repeats a repetition"));
            }
            let parsed = regex_syntax::parse(text).map_err(|e| wrong(&format!("is not supported: {e}")))?;
            if parsed.properties().minimum_len().is_none_or(|least| least == 0) {
                return Err(wrong("matches an empty text"));
            }
            let small = RegexBuilder::new(text).delegate_size_limit(PATTERN_SIZE).build();
            small.map(|_| ()).map_err(|e| wrong(&format!("cannot be compiled: {e}")))
        }
        _ => Err("no pattern in it".into()),
    }
}

/// Checks a template: the text's tokens once, and special tokens that the part describes.
fn template(part: &Value) -> Checked {
    let single = part.get("single").and_then(Value::as_array).ok_or("no template for a single text")?;
    let (mut texts, mut added) = (0, 0);
    for piece in single {
        let id = |kind: &str| piece.get(kind)?.get("id")?.as_str();
        match (id("Sequence"), id("SpecialToken")) {
            (Some("A"), None) => texts += 1,
            (None, Some(name)) => {
                let special = part.get("special_tokens").and_then(|tokens| tokens.get(name)).unwrap_or(&Value::Null);
                let count = |key: &str| special.get(key).and_then(Value::as_array).map(Vec::len);
                let (Some(ids), Some(tokens)) = (count("ids"), count("tokens")) else {
                    return Err(format!("special token {name:?} is not described"));
                };
                if ids != tokens || special.get("id").and_then(Value::as_str) != Some(name) {
                    return Err(format!("special token {name:?} has {ids} ids and {tokens} tokens"));
                }
                added += ids;
            }
            _ => return Err("a piece of the template is neither text A nor a special token".into()),
        }
    }
    if texts != 1 || added > MAX_ADDED {
        return Err(format!("the template has the text {texts} times, and {added} special tokens"));
    }
    Ok(())
}
