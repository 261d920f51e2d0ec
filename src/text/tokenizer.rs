//! Stage 3, tokens: T5's and RoBERTa's tokenizers, using the `tokenizers` crate, with the ids and texts of transformers
//! 4.27.2's fast tokenizers. `stream` decodes text token by token.

use crate::encoding;
use crate::error::{Error, Result};
use crate::text::clean_up::clean_up;
use crate::text::tokenizer_check;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Decoder, DecoderWrapper, PostProcessor};

const GET_FILES: &str = "take tokenizer.json from the model's page on the hub (google/flan-t5-base, \
     facebook/roberta-hate-speech-dynabench-r4-target), or save it with transformers' AutoTokenizer";

/// A tokenizer that adds special tokens: `… </s>` for T5, `<s> … </s>` for RoBERTa.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pad: u32,
    eos: u32,
    unk: Option<u32>,
}

/// A readable token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub id: u32,
    /// Its text; a word's first token starts with a space. A part of a character is shown as `�`.
    pub text: String,
    /// `<pad>`, `</s>`, `<unk>`, …
    pub special: bool,
}

impl Tokenizer {
    /// Reads a folder in Hugging Face layout: `tokenizer.json`, else `vocab.json` and `merges.txt` (RoBERTa). `read` returns a
    /// file's bytes, or `None` if there is no such file; `folder` is for messages.
    pub fn from_files(folder: &str, mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>>) -> Result<Self> {
        if let Some(json) = read("tokenizer.json")? {
            return Self::from_json(&format!("{folder}/tokenizer.json"), &json);
        }
        match (read("vocab.json")?, read("merges.txt")?) {
            (Some(vocab), Some(merges)) => Self::from_vocab_and_merges(folder, &vocab, &merges),
            (Some(_), None) => Err(Error::file(folder, "there is a vocab.json, but no merges.txt", GET_FILES)),
            _ => Err(Error::file(folder, "no tokenizer.json (nor vocab.json and merges.txt)", GET_FILES)),
        }
    }

    /// Reads the bytes of a `tokenizer.json`; `path` is for messages. Truncation and padding in the file are switched off, as
    /// in transformers.
    pub fn from_json(path: &str, json: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::file(path, what, format!("the file may be cut off; {GET_FILES}"));
        if json.starts_with(b"version https://git-lfs") {
            return Err(wrong("this is a Git LFS pointer, not the file".into()));
        }
        let not_usable = |what: String| wrong(format!("not a usable tokenizer ({} bytes): {what}", json.len()));
        let checked = tokenizer_check::checked(json).map_err(not_usable)?;
        Self::new(path, tokenizers::Tokenizer::from_bytes(checked).map_err(|e| not_usable(e.to_string()))?)
    }

    /// RoBERTa's byte-level BPE from `vocab.json` and `merges.txt`; `folder` is for messages.
    pub fn from_vocab_and_merges(folder: &str, vocab: &[u8], merges: &[u8]) -> Result<Self> {
        let vocab: Vocab = serde_json::from_slice(&encoding::json(vocab))
            .map_err(|e| Error::file(format!("{folder}/vocab.json"), e, GET_FILES))?;
        for token in vocab.keys() {
            let wrong = |what| Error::file(format!("{folder}/vocab.json"), what, GET_FILES);
            tokenizer_check::token(token).map_err(wrong)?;
        }
        let id = |token: &str| {
            let missing = || Error::file(format!("{folder}/vocab.json"), format!("no token {token}"), GET_FILES);
            vocab.get(token).copied().ok_or_else(missing)
        };
        let post = RobertaProcessing::new(("</s>".into(), id("</s>")?), ("<s>".into(), id("<s>")?));
        let merges = parse_merges(&format!("{folder}/merges.txt"), merges)?;
        let bpe = BPE::builder().vocab_and_merges(vocab, merges).build();
        let bpe = bpe.map_err(|e| Error::file(format!("{folder}/merges.txt"), e, GET_FILES))?;

        let mut inner = tokenizers::Tokenizer::new(bpe);
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        inner.with_post_processor(Some(post.add_prefix_space(false)));
        inner.with_decoder(Some(ByteLevel::default()));
        let special = ["<s>", "<pad>", "</s>", "<unk>"].map(|token| AddedToken::from(token, true).normalized(false));
        let mask = AddedToken::from("<mask>", true).normalized(false).lstrip(true);
        let added = inner.add_special_tokens(special.into_iter().chain([mask]));
        added.map_err(|e| Error::file(format!("{folder}/vocab.json"), e, GET_FILES))?;
        Self::new(folder, inner)
    }

    fn new(path: &str, inner: tokenizers::Tokenizer) -> Result<Self> {
        let id = |token: &str| {
            let missing = || Error::file(path, format!("this tokenizer has no token {token}"), GET_FILES);
            inner.token_to_id(token).ok_or_else(missing)
        };
        Ok(Self { pad: id("<pad>")?, eos: id("</s>")?, unk: inner.token_to_id("<unk>"), inner })
    }

    /// This tokenizer as the text of a `tokenizer.json`.
    pub fn to_json(&self) -> Result<String> {
        self.inner.to_string(false).map_err(|e| Error::bug(format!("a tokenizer is not JSON: {e}")))
    }

    /// The ids of a text, with special tokens. A special token in the text (`</s>`) becomes its id.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, true).map_err(|e| not_encoded(text, &e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Self::encode`], but at most `max` ids. The text is cut before special tokens are added, so that the last id is
    /// still `</s>` (transformers' `truncation=True, max_length=max`).
    pub fn encode_truncated(&self, text: &str, max: usize) -> Result<Vec<u32>> {
        let added = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(false));
        if max < added {
            let what = format!("a limit of {max} tokens is too small for the {added} special tokens");
            return Err(Error::input(what, "allow more tokens"));
        }
        let mut encoding = self.inner.encode_fast(text, false).map_err(|e| not_encoded(text, &e))?;
        encoding.truncate(max - added, 0, tokenizers::TruncationDirection::Right);
        let encoding = self.inner.post_process(encoding, None, true).map_err(|e| not_encoded(text, &e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, with or without special tokens, cleaned up as transformers 4.27.2 does by default
    /// (`"fine ."` becomes `"fine."`). Ids outside the vocabulary are skipped: T5 has more logits than tokens.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        Ok(clean_up(&self.decode_raw(ids, skip_special)?))
    }

    /// The text of ids before the clean-up.
    pub(crate) fn decode_raw(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let failed = |e| Error::input(format!("{} ids did not decode: {e}", ids.len()), GET_FILES);
        self.inner.decode(ids, skip_special).map_err(failed)
    }

    /// The tokens one by one, for display.
    pub fn pieces(&self, ids: &[u32]) -> Vec<Piece> {
        ids.iter().map(|&id| self.piece(id)).collect()
    }

    fn piece(&self, id: u32) -> Piece {
        let Some(token) = self.inner.id_to_token(id) else {
            return Piece { id, text: format!("<{id}>"), special: false };
        };
        if self.inner.get_added_vocabulary().is_special_token(&token) {
            return Piece { id, text: token, special: true };
        }
        let text = match self.inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(bytes)) => bytes.decode(vec![token.clone()]).unwrap_or(token),
            _ => token.replace('▁', " "),
        };
        Piece { id, text, special: false }
    }

    /// The id of `<pad>`: 0 for T5, 1 for RoBERTa.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The id of `</s>`: 1 for T5, 2 for RoBERTa.
    pub fn eos_id(&self) -> u32 {
        self.eos
    }

    /// The id of `<unk>`: 2 for T5, 3 for RoBERTa.
    pub fn unk_id(&self) -> Option<u32> {
        self.unk
    }

    /// The id of `<mask>`, in RoBERTa's tokenizers.
    pub fn mask_id(&self) -> Option<u32> {
        self.inner.token_to_id("<mask>")
    }

    /// Number of tokens, special ones included: 32,100 for T5, 50,265 for RoBERTa.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

fn not_encoded(text: &str, e: &tokenizers::Error) -> Error {
    let start: String = text.chars().take(40).collect();
    Error::input(format!("the text \"{start}…\" could not be tokenized: {e}"), GET_FILES)
}

/// Parses `merges.txt`: a version line, then two symbols per line, the most frequent pair first.
fn parse_merges(path: &str, bytes: &[u8]) -> Result<Merges> {
    let text = encoding::text(path, bytes)?;
    let mut merges = Vec::new();
    for (index, line) in encoding::lines(&text).enumerate() {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        match line.split_once(' ') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(' ') => {
                merges.push((a.to_string(), b.to_string()));
            }
            _ => {
                return Err(Error::file(format!("{path}:{}", index + 1), "not two symbols and a space", GET_FILES));
            }
        }
    }
    Ok(merges)
}
