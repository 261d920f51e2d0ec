//! transformers' clean-up of decoded text, for whole texts (`tokenizer`) and for growing ones (`stream`).

/// What `clean_up_tokenization` of transformers 4.27.2 replaces, in its order.
pub(super) const CLEAN_UP: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// Removes the spaces that decoding leaves before punctuation and in contractions
/// (transformers 4.27.2, `clean_up_tokenization_spaces`, on by default in the lab).
pub(super) fn clean_up(text: &str) -> String {
    CLEAN_UP.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}
