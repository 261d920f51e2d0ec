//! Decodes text files: byte order marks, UTF-16 as some Windows programs write it, all kinds of line ends. All text files are
//! read with it.

use crate::error::{Error, Result};
use std::borrow::Cow;

/// UTF-16's byte order marks.
const UTF16_LE: [u8; 2] = [0xff, 0xfe];
const UTF16_BE: [u8; 2] = [0xfe, 0xff];
/// UTF-8's byte order mark.
const UTF8: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Files that are not text: their first bytes, what they are, and how to convert them to text.
const OTHERS: [(&[u8], &str, &str); 7] = [
    (
        b"PAR1",
        "a parquet file, which detox-lab cannot read",
        "convert it to jsonl: python3 -c \"import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json('data.jsonl', \
         orient='records', lines=True)\" FILE.parquet; or to csv with to_csv('data.csv', index=False)",
    ),
    (
        b"ARROW1",
        "an Arrow file, which detox-lab cannot read",
        "save the data set as jsonl with datasets' to_json, or as csv with to_csv",
    ),
    (
        b"PK\x03\x04",
        "a zip archive or an Excel workbook (.xlsx), not text",
        "unpack the archive, or save the sheet as \"CSV UTF-8\"",
    ),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gunzip FILE.gz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: unzstd FILE.zst"),
    (b"BZh", "compressed with bzip2", "unpack it first: bunzip2 FILE.bz2"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first: unxz FILE.xz"),
];

/// A file's bytes as text, without a byte order mark; UTF-16 that begins with one is decoded. `path` is for messages.
///
/// # Errors
/// Bytes that are not text; names file and line.
pub fn text<'a>(path: &str, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    if let Some((_, what, hint)) = OTHERS.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Err(Error::file(path, what, *hint));
    }
    if bytes.starts_with(&UTF16_LE) || bytes.starts_with(&UTF16_BE) {
        return utf16(path, bytes).map(Cow::Owned);
    }
    let skipped = if bytes.starts_with(&UTF8) { UTF8.len() } else { 0 };
    let bytes = &bytes[skipped..];
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        let hint = "save the file as UTF-8 (or convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE)";
        Error::file(format!("{path}:{line}"), "not UTF-8 text", hint)
    })
}

/// Bytes of JSON for serde_json: the byte order mark is removed, UTF-16 is decoded. Other bytes are unchanged, and the parser
/// reports what is wrong.
pub fn json(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.starts_with(&UTF8) {
        return Cow::Borrowed(&bytes[UTF8.len()..]);
    }
    match utf16("", bytes) {
        Ok(text) if bytes.starts_with(&UTF16_LE) || bytes.starts_with(&UTF16_BE) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(bytes),
    }
}

/// UTF-16 after its byte order mark.
fn utf16(path: &str, bytes: &[u8]) -> Result<String> {
    let read = if bytes.starts_with(&UTF16_BE) { u16::from_be_bytes } else { u16::from_le_bytes };
    let (pairs, odd) = bytes.get(2..).unwrap_or_default().as_chunks::<2>();
    let decoded: std::result::Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| read(*pair))).collect();
    decoded.ok().filter(|_| odd.is_empty()).ok_or_else(|| {
        let what = "begins like UTF-16 text, but contains bytes that are not UTF-16";
        Error::file(path, what, "save the file as UTF-8")
    })
}

/// The lines of a text. They may end with a line feed, with carriage return and line feed (Windows), or with a carriage return
/// alone (old Macs and some spreadsheets).
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest.filter(|text| !text.is_empty())?;
        let Some(end) = now.find(['\n', '\r']) else {
            rest = None;
            return Some(now);
        };
        let after = &now[end + 1..];
        let both = now[end..].starts_with("\r\n");
        rest = Some(if both { &after[1..] } else { after });
        Some(&now[..end])
    })
}

/// The number of the line with byte `at`, from 1, counted as in [`lines`].
pub fn line_of(text: &str, at: usize) -> u64 {
    let before = &text.as_bytes()[..at.min(text.len())];
    let ends = before.iter().enumerate().filter(|(i, b)| match **b {
        b'\n' => true,
        b'\r' => text.as_bytes().get(i + 1) != Some(&b'\n'),
        _ => false,
    });
    1 + ends.count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn utf16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn byte_order_marks_are_removed_and_utf16_is_decoded() {
        for bytes in [
            "né 🙂\n".as_bytes().to_vec(),
            "\u{feff}né 🙂\n".as_bytes().to_vec(),
            utf16_bytes("né 🙂\n", u16::to_le_bytes),
            utf16_bytes("né 🙂\n", u16::to_be_bytes),
        ] {
            assert_eq!(text("f", &bytes).unwrap(), "né 🙂\n");
        }
        for bytes in [b"\xef\xbb\xbf[1]".to_vec(), utf16_bytes("[1]", u16::to_le_bytes), b"[1]".to_vec()] {
            assert_eq!(&*json(&bytes), b"[1]");
        }
    }

    #[test]
    fn files_that_are_not_text_are_named_with_a_remedy() {
        for (bytes, said) in [
            (&b"fine\nnot \xff"[..], "f.txt:2: not UTF-8"),
            (b"\xff\xfea\0b", "f.txt: begins like UTF-16"),
            (b"\xff\xfe\x00\xd8", "f.txt: begins like UTF-16"),
            (b"PAR1\0\0PAR1", "to_json"),
            (b"PK\x03\x04", "CSV UTF-8"),
            (b"\x1f\x8b\x08", "gunzip"),
        ] {
            let error = text("f.txt", bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn every_kind_of_line_end_counts_once() {
        for text in ["a\n\nb", "a\r\n\r\nb\r\n", "a\r\rb\r", "a\n\r\nb"] {
            assert_eq!(lines(text).collect::<Vec<_>>(), ["a", "", "b"], "{text:?}");
            assert_eq!(line_of(text, text.find('b').unwrap()), 3, "{text:?}");
        }
        assert_eq!(lines("").count(), 0);
    }
}
