//! Trains the two kinds of tokenizer that the lab's models use, with the `tokenizers` crate's trainers: T5's Unigram and
//! RoBERTa's byte-level BPE. Returns the files of a Hugging Face folder. `text::texts` reads the data, `text::tokenizer` the
//! files.
//!
//! On one thread, the same texts always give the same bytes, whatever the order in the trainers' hash maps. With more threads,
//! floats are summed in varying order.

use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::normalizers::{self, Lowercase, NFKC, Prepend, Replace, Strip};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, ModelWrapper, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior, Tokenizer,
};

/// The kind of tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// T5's: pieces with log-probabilities; `<pad>` 0, `</s>` 1, `<unk>` 2.
    Unigram,
    /// RoBERTa's: merges of bytes; `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last.
    Bpe,
}

/// Settings of the training.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub kind: Algorithm,
    /// Size of the vocabulary, special tokens included.
    pub vocab_size: usize,
    /// Texts that are always one token (Unigram: with the space before them), such as `#Person1#`.
    pub symbols: Vec<String>,
    /// Bpe: texts are converted to lower case and start with a space, so that a word has the same token everywhere.
    pub uncased: bool,
}

/// The speakers of DialogSum.
pub fn speakers() -> Vec<String> {
    (1..=7).map(|n| format!("#Person{n}#")).collect()
}

const T5_SPECIAL: [&str; 3] = ["<pad>", "</s>", "<unk>"];
const ROBERTA_SPECIAL: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";
const SPACE: char = '▁';
/// A character outside ASCII gets a piece if it makes up at least this fraction of the text; rarer ones are `<unk>`.
const RARE: f64 = 1e-5;
/// The exponent applied to word counts for the Unigram trainer, and the approximate total of words; larger values are slower.
const DAMPEN: f64 = 0.85;
const SENTENCES: f64 = 700_000.0;

/// Trains, and returns `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.
///
/// # Errors
/// A vocabulary that is too small for the characters and special tokens, or an invalid symbol.
pub fn train(recipe: &Recipe, texts: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
    check_symbols(&recipe.symbols)?;
    let (tokenizer, config, special) = match recipe.kind {
        Algorithm::Unigram => (unigram(recipe, texts)?, t5_config(), t5_special()),
        Algorithm::Bpe => (bpe(recipe, texts)?, roberta_config(recipe.uncased), roberta_special()),
    };
    let tokenizer = tokenizer.to_string(true).map_err(failed)?;
    let pretty = |value: Value| format!("{value:#}\n").into_bytes();
    Ok(BTreeMap::from([
        ("tokenizer.json".to_string(), tokenizer.into_bytes()),
        ("tokenizer_config.json".to_string(), pretty(config)),
        ("special_tokens_map.json".to_string(), pretty(special)),
    ]))
}

fn failed(e: impl ToString) -> Error {
    Error::input(format!("the tokenizer could not be trained: {}", e.to_string()), "try another vocabulary size")
}

fn too_small(given: usize, needed: usize) -> Error {
    let what = format!("a vocabulary of {given} is too small for the {needed} special tokens, symbols and characters");
    Error::input(what, format!("give a --vocab-size above {needed}"))
}

fn check_symbols(symbols: &[String]) -> Result<()> {
    let hint = "give each symbol once, without spaces, and with characters that normalisation does not change";
    let mut seen = BTreeSet::new();
    for symbol in symbols {
        let special = T5_SPECIAL.iter().chain(&ROBERTA_SPECIAL).chain([&MASK]).any(|s| *s == symbol.as_str());
        let odd = symbol.is_empty() || symbol.contains(|c: char| c.is_whitespace() || c == SPACE);
        if odd || special || !seen.insert(symbol) {
            return Err(Error::input(format!("{symbol:?} cannot be a symbol"), hint));
        }
    }
    Ok(())
}

/// T5-style: white space (also line breaks) becomes one space, the space before a word belongs to its first piece, digits and
/// punctuation are separate pieces, a symbol is one piece with or without a space before it.
fn unigram(recipe: &Recipe, texts: &[String]) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(Unigram::default());
    tokenizer.with_normalizer(Some(t5_normalizer()?)).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(t5_words(&recipe.symbols)?));
    let (mut words, alphabet) = count_words(&tokenizer, texts)?;
    let symbols: Vec<String> = recipe.symbols.iter().flat_map(|s| [format!("{SPACE}{s}"), s.clone()]).collect();
    words.retain(|word, _| !symbols.contains(word) && word.chars().all(|c| alphabet.contains(&c)));

    let first: Vec<(String, f64)> = T5_SPECIAL.map(String::from).into_iter().chain(symbols).map(|s| (s, 0.0)).collect();
    let needed = first.len() + alphabet.len();
    if recipe.vocab_size <= needed {
        return Err(too_small(recipe.vocab_size, needed));
    }
    let trained = train_unigram(recipe.vocab_size - first.len(), &alphabet, words)?;
    let vocabulary = first.into_iter().chain(trained).collect();
    let model = Unigram::from(vocabulary, Some(2), false).map_err(failed)?;
    tokenizer.with_model(ModelWrapper::Unigram(model));
    let template = TemplateProcessing::builder()
        .try_single("$A </s>")
        .and_then(|builder| builder.try_pair("$A </s> $B </s>"))
        .map_err(failed)?
        .special_tokens(vec![("</s>", 1)])
        .build();
    tokenizer.with_post_processor(Some(template.map_err(failed)?));
    tokenizer.with_decoder(Some(Metaspace::new(SPACE, PrependScheme::Always, false)));
    let special = T5_SPECIAL.map(|token| AddedToken::from(token, true).normalized(false));
    tokenizer.add_special_tokens(special).map_err(failed)?;
    Ok(tokenizer)
}

/// Normalises compatible characters and quotes, and puts one space before each word.
fn t5_normalizer() -> Result<NormalizerWrapper> {
    let replace = |pattern: &str, by: &str| -> Result<NormalizerWrapper> {
        let pattern = normalizers::replace::ReplacePattern::Regex(pattern.into());
        Ok(Replace::new(pattern, by).map_err(failed)?.into())
    };
    let steps = vec![
        NFKC.into(),
        replace("[‘’]", "'")?,
        replace("[“”]", "\"")?,
        replace(r"\s+", " ")?,
        Strip::new(true, true).into(),
        Prepend::new(" ".into()).into(),
    ];
    Ok(normalizers::Sequence::new(steps).into())
}

/// Splits the text for the model into symbols, English contractions, words, single digits and single other characters.
fn t5_words(symbols: &[String]) -> Result<Sequence> {
    let escaped: Vec<String> = symbols.iter().map(|s| fancy_regex::escape(s).into_owned()).collect();
    let symbols = if escaped.is_empty() { String::new() } else { format!(" ?(?:{})|", escaped.join("|")) };
    let pattern = format!(r"{symbols}'(?:s|t|re|ve|m|ll|d)\b| ?[\p{{L}}\p{{M}}]+| ?[^\s\p{{L}}\p{{M}}]|\s");
    let split = Split::new(SplitPattern::Regex(pattern), SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    Ok(Sequence::new(vec![split.into(), Metaspace::new(SPACE, PrependScheme::Never, false).into()]))
}

/// The count of each word, and the characters that get a piece: printable ASCII and all that are not rare.
fn count_words(tokenizer: &Tokenizer, texts: &[String]) -> Result<(BTreeMap<String, u32>, BTreeSet<char>)> {
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    let mut characters: BTreeMap<char, u64> = BTreeMap::new();
    for text in texts {
        for word in cut(tokenizer, text)? {
            word.chars().for_each(|c| *characters.entry(c).or_default() += 1);
            *words.entry(word).or_default() += 1;
        }
    }
    let least = RARE * characters.values().sum::<u64>() as f64;
    let common = characters.into_iter().filter(|(_, n)| *n as f64 >= least).map(|(c, _)| c);
    Ok((words, ('!'..='~').chain([SPACE]).chain(common).collect()))
}

/// The words of a text, as the model sees them.
fn cut(tokenizer: &Tokenizer, text: &str) -> Result<Vec<String>> {
    let mut normalized = tokenizers::NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        tokenizers::Normalizer::normalize(normalizer, &mut normalized).map_err(failed)?;
    }
    let mut cut = PreTokenizedString::from(normalized);
    if let Some(words) = tokenizer.get_pre_tokenizer() {
        words.pre_tokenize(&mut cut).map_err(failed)?;
    }
    let splits = cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(splits.into_iter().map(|(word, _, _)| word.to_owned()).collect())
}

/// At most `size` pieces with their log-probabilities, best first, including every character of `alphabet`.
fn train_unigram(size: usize, alphabet: &BTreeSet<char>, words: BTreeMap<String, u32>) -> Result<Vec<(String, f64)>> {
    if words.is_empty() {
        return Err(Error::input("the texts contain no words", "give more text"));
    }
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(u32::try_from(size).map_err(failed)?)
        .initial_alphabet(alphabet.iter().copied().collect())
        .build()
        .map_err(failed)?;
    let mut model = Unigram::default();
    trainer.do_train(sentences(&words), &mut model).map_err(failed)?;
    Ok(in_order(model.iter().cloned().collect(), alphabet.len()))
}

/// The trainer's input, (word, weight). The trainer finds candidate pieces in the list of words without their weights, but
/// weights single characters, so that it would split frequent words into characters. Therefore a word is repeated in the list
/// with weight 1, by its dampened count; and is added once with weight 0 and a space after it, because a piece only becomes a
/// candidate if different things follow it.
fn sentences(words: &BTreeMap<String, u32>) -> Vec<(String, u32)> {
    let dampened = |n: &u32| f64::from(*n).powf(DAMPEN);
    let scale = (SENTENCES / words.values().map(dampened).sum::<f64>()).min(1.0);
    let mut list = Vec::new();
    for (word, n) in words {
        let times = (dampened(n) * scale).ceil() as usize;
        list.extend(std::iter::repeat_n((word.clone(), 1), times));
        list.push((format!("{word}{SPACE}"), 0));
    }
    list
}

/// Makes the order of pieces deterministic. The trainer gives unneeded characters the lowest scores, 0.0001 apart, in the order
/// of a hash map; this function gives them in alphabetical order.
fn in_order(mut pieces: Vec<(String, f64)>, characters: usize) -> Vec<(String, f64)> {
    let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let reach = lowest + 1e-4 * characters as f64;
    let dealt = |(piece, score): &(String, f64)| piece.chars().count() == 1 && *score <= reach;
    let mut scores: Vec<f64> = pieces.iter().filter(|p| dealt(p)).map(|p| p.1).collect();
    scores.sort_by(f64::total_cmp);
    pieces.sort_by(|a, b| a.0.cmp(&b.0));
    let mut scores = scores.into_iter().rev();
    for piece in pieces.iter_mut().filter(|p| dealt(p)) {
        piece.1 = scores.next().unwrap_or(piece.1);
    }
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    pieces
}

/// RoBERTa-style: merges of bytes, written as characters; there are no unknown texts.
fn bpe(recipe: &Recipe, texts: &[String]) -> Result<Tokenizer> {
    let alphabet = ByteLevel::alphabet();
    let after = 1 + recipe.symbols.len(); // <mask> and the symbols follow the trained tokens
    let needed = ROBERTA_SPECIAL.len() + alphabet.len() + after;
    if recipe.vocab_size <= needed {
        return Err(too_small(recipe.vocab_size, needed));
    }
    let special = ROBERTA_SPECIAL.map(|token| AddedToken::from(token, true).normalized(false));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(recipe.vocab_size - after)
        .min_frequency(2)
        .initial_alphabet(alphabet.into_iter().collect())
        .special_tokens(special.to_vec())
        .build();
    let words = ByteLevel::default().add_prefix_space(recipe.uncased);
    let normalizer = recipe.uncased.then(|| NormalizerWrapper::from(Lowercase));
    let mut model = tokenizers::TokenizerImpl::<BPE, NormalizerWrapper, ByteLevel, RobertaProcessing, ByteLevel>::new(
        BPE::default(),
    );
    model.with_normalizer(normalizer.clone()).map_err(failed)?;
    model.with_pre_tokenizer(Some(words));
    model.train(&mut trainer, texts.iter()).map_err(failed)?;

    let mut tokenizer = Tokenizer::new(ModelWrapper::BPE(model.get_model().clone()));
    tokenizer.with_normalizer(normalizer).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(words));
    let post = RobertaProcessing::new(("</s>".into(), 2), ("<s>".into(), 0)).add_prefix_space(recipe.uncased);
    tokenizer.with_post_processor(Some(post));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.add_special_tokens(special).map_err(failed)?;
    let symbols = recipe.symbols.iter().map(|s| AddedToken::from(s.clone(), false).normalized(false));
    tokenizer.add_tokens(symbols).map_err(failed)?;
    let mask = AddedToken::from(MASK, true).normalized(false).lstrip(true);
    tokenizer.add_special_tokens([mask]).map_err(failed)?;
    Ok(tokenizer)
}

/// Without this config, transformers would add 100 `<extra_id_…>` tokens.
fn t5_config() -> Value {
    json!({
        "tokenizer_class": "T5Tokenizer", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
        "extra_ids": 0, "additional_special_tokens": [], "clean_up_tokenization_spaces": true,
    })
}

fn t5_special() -> Value {
    json!({"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"})
}

fn roberta_config(uncased: bool) -> Value {
    let mut config = roberta_special();
    config["tokenizer_class"] = "RobertaTokenizer".into();
    config["add_prefix_space"] = uncased.into();
    config["clean_up_tokenization_spaces"] = true.into();
    config
}

fn roberta_special() -> Value {
    json!({
        "bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": {"content": MASK, "lstrip": true, "normalized": false, "rstrip": false, "single_word": false},
    })
}
