//! Packs a folder into a zip file and unpacks it; the browser saves and opens runs and adapters with it. File names have `/`
//! between their parts.

use super::is_safe_name;
use crate::error::{Error, Result};
use ::zip::result::ZipError;
use ::zip::write::SimpleFileOptions;
use ::zip::{ZipArchive, ZipWriter};
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

/// Maximum number of files; a zip with more is damaged or an attack.
const MAX_FILES: usize = 100_000;
const MAX_BYTES: u64 = 2 << 30;
/// A zip may unpack to at most this many times its size, or to at least `SMALL` bytes. Runs compress to a half or a third, and
/// zeros, as in a new adapter, to a thousandth.
const MAX_RATIO: u64 = 100;
const SMALL: u64 = 16 << 20;

/// `files` as a zip; the same files give the same bytes.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let failed =
        |e: &dyn std::fmt::Display| Error::input(format!("the zip cannot be written: {e}"), "free some memory");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        if !is_safe_name(name) {
            return Err(Error::input(format!("{name:?} is not a file name for a zip"), "use relative names with /"));
        }
        zip.start_file(name, SimpleFileOptions::default()).map_err(|e| failed(&e))?;
        zip.write_all(bytes).map_err(|e| failed(&e))?;
    }
    Ok(zip.finish().map_err(|e| failed(&e))?.into_inner())
}

/// The files of a zipped folder, by name; the zip may have the folder's name in front of every file.
pub fn unpack_folder(
    bytes: &[u8],
    path: &str,
    is_folder: impl Fn(&BTreeMap<String, Vec<u8>>) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = unpack(bytes, path)?;
    while !is_folder(&files) {
        let top = files.keys().next().and_then(|name| Some(format!("{}/", name.split_once('/')?.0)));
        match top {
            Some(top) if files.keys().all(|name| name.starts_with(&top)) => {
                files = files.into_iter().map(|(name, bytes)| (name[top.len()..].to_string(), bytes)).collect();
            }
            _ => break,
        }
    }
    Ok(files)
}

/// Whether a file manager (Finder, Explorer) has added this file.
fn is_litter(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let known = [".DS_Store", "Thumbs.db", "desktop.ini"].iter().any(|litter| file.eq_ignore_ascii_case(litter));
    known || file.starts_with("._") || name.split('/').any(|part| part == "__MACOSX")
}

/// The files of a zip; `path` is for messages. A backslash in names counts as `/` (older Windows programs); files that file
/// managers add are skipped. Refuses names that lead out of the folder, links, encrypted files, repeated names, and sizes that
/// no run has.
pub fn unpack(bytes: &[u8], path: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let hint = "save the zip again";
    let failed = |e: ZipError| Error::file(path, format!("not a usable zip: {e}"), hint);
    let wrong = |what: String| Error::file(path, what, hint);
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(failed)?;
    if zip.len() > MAX_FILES {
        return Err(wrong(format!("{} files, more than {MAX_FILES}", zip.len())));
    }
    if zip.has_duplicate_names() {
        return Err(wrong("a name appears twice".to_string()));
    }
    let mut files = BTreeMap::new();
    let most = MAX_BYTES.min(SMALL + MAX_RATIO * bytes.len() as u64);
    let mut left = most;
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).map_err(failed)?;
        let name = file.name().map_err(failed)?.replace('\\', "/");
        if file.is_dir() || name.ends_with('/') || is_litter(&name) {
            continue;
        }
        if !is_safe_name(&name) || file.is_symlink() {
            return Err(wrong(format!("{name:?} is a link or leads out of the folder")));
        }
        // the size stated in the zip may be wrong
        let mut content = Vec::new();
        let read = file.by_ref().take(left + 1).read_to_end(&mut content);
        read.map_err(|e| wrong(format!("{name}: {e}")))?;
        left = left.checked_sub(content.len() as u64).ok_or_else(|| {
            wrong(format!("{} bytes that unpack to more than {most}: too large for a run", bytes.len()))
        })?;
        if files.contains_key(&name) {
            return Err(wrong(format!("{name} appears twice")));
        }
        files.insert(name, content);
    }
    Ok(files)
}
