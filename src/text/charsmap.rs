//! Checks SentencePiece's table of replaced characters in T5's tokenizers: a double-array trie of 32-bit units, and the texts
//! that its leaves point to. `spm_precompiled` does not check bounds, so this code follows every edge of the trie once.
//! `tokenizer_check` checks the rest of the file.
//!
//! Source: spm_precompiled 0.1.4 (`common_prefix_search`, `transform`), after sentencepiece's darts_clone.

/// Maximum number of bytes that replace a character; NFKC needs 33 (U+FDFA).
const MAX_REPLACEMENT: usize = 256;

/// Checks the table, given in base64 as in the file. The error says what is wrong.
pub(super) fn check(base64: &str) -> Result<(), String> {
    let bytes = base64::decode(base64).map_err(|e| format!("the table is not base64: {e}"))?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or("the table is empty")?;
    let size = u32::from_le_bytes(*size) as usize / 4 * 4;
    let (trie, texts) = rest.split_at_checked(size).ok_or("the table's trie is longer than the table")?;
    let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let texts = std::str::from_utf8(texts).map_err(|_| "the table's texts are not UTF-8")?;
    walk(&units, texts)
}

/// Follows every edge of the trie from its root.
fn walk(units: &[u32], texts: &str) -> Result<(), String> {
    let Some(root) = units.first() else { return Err("the table's trie is empty".into()) };
    let mut seen = vec![false; units.len()];
    let mut open = vec![offset(*root)];
    while let Some(base) = open.pop() {
        // the next byte may have any value
        if base | 0xff >= units.len() {
            return Err(format!("the table's trie points to unit {base} of {}", units.len()));
        }
        for byte in 1..=255usize {
            let at = base ^ byte;
            let unit = units[at];
            if label(unit) != byte as u32 || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let next = at ^ offset(unit);
            if has_leaf(unit) {
                let leaf = units.get(next).ok_or("the table's trie has a leaf outside it")?;
                replacement(texts, (leaf & 0x7fff_ffff) as usize)?;
            }
            open.push(next);
        }
    }
    Ok(())
}

/// The text at `start`, which ends before the next zero byte.
fn replacement(texts: &str, start: usize) -> Result<(), String> {
    let text = texts.get(start..).ok_or("the table's trie points outside its texts, or into a character")?;
    match text.bytes().take(MAX_REPLACEMENT + 1).position(|byte| byte == 0) {
        None if text.len() > MAX_REPLACEMENT => {
            Err(format!("the table replaces a character by more than {MAX_REPLACEMENT} bytes"))
        }
        _ => Ok(()),
    }
}

// A unit's fields, as darts_clone packs them.

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}
