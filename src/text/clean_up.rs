//! transformers' clean-up of decoded text, for complete texts (`tokenizer`) and streamed ones (`stream`).

/// The replacements of `clean_up_tokenization` in transformers 4.27.2, in order.
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
