//! Writing that survives a crash, and messages about folders.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use detox_lab::io::ByteSource;
use detox_lab::io::disk::{
    Folder, FolderLock, Lines, keep_lines, recover, write_atomic, write_atomic_with, write_folder,
};
use detox_lab::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    write_atomic(&path, b"first").unwrap();
    write_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");

    let failing: Result<()> = write_atomic_with(&path, |out| {
        out.write_all(b"half").unwrap();
        Err(Error::input("stop here", "nothing"))
    });
    assert!(failing.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(folder.path()), ["config.json"], "no temporary file stays");
}

#[test]
fn a_folder_is_replaced_whole() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("step-00010");
    let files =
        |text: &str| BTreeMap::from([("a.json".to_string(), text.into()), ("sub/b.bin".to_string(), vec![1, 2, 3])]);
    write_folder(&path, &files("first")).unwrap();
    fs::write(path.join("stray"), "x").unwrap();
    write_folder(&path, &files("second")).unwrap();
    assert_eq!(fs::read_to_string(path.join("a.json")).unwrap(), "second");
    assert_eq!(fs::read(path.join("sub/b.bin")).unwrap(), [1, 2, 3]);
    assert_eq!(names(&path), ["a.json", "sub"]);
    assert_eq!(names(parent.path()), ["step-00010"]);
    let outside = BTreeMap::from([("../x".to_string(), vec![])]);
    assert!(write_folder(&path, &outside).is_err());
    assert_eq!(names(parent.path()), ["step-00010"]);
}

#[test]
fn a_crash_while_replacing_is_mended() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    // killed between the two renames: the old folder is aside, the new one complete but not in place
    fs::create_dir_all(at(".old-step-1")).unwrap();
    fs::write(at(".old-step-1").join("a"), "old").unwrap();
    fs::create_dir_all(at(".tmp-step-1")).unwrap();
    // killed after both
    fs::create_dir_all(at("step-2")).unwrap();
    fs::create_dir_all(at(".old-step-2")).unwrap();
    fs::write(at(".tmp-config.json"), "half").unwrap();
    recover(parent.path()).unwrap();
    assert_eq!(names(parent.path()), ["step-1", "step-2"]);
    assert_eq!(fs::read_to_string(at("step-1").join("a")).unwrap(), "old");
}

#[test]
fn lines_are_appended_and_cut_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    assert_eq!(keep_lines(&path, |_, _| true).unwrap(), 0, "a missing file has no lines");
    let mut lines = Lines::append(&path).unwrap();
    for step in 1..=4 {
        lines.push(&format!("{{\"step\":{step}}}")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), step, "each line is there at once");
    }
    lines.sync().unwrap();
    drop(lines);
    // a crash in the middle of a line
    fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"step\":5,\"x").unwrap();
    let mut lines = Lines::append(&path).unwrap();
    lines.push("{\"step\":5}").unwrap();
    drop(lines);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);

    fs::write(&path, fs::read_to_string(&path).unwrap() + "torn").unwrap();
    assert_eq!(keep_lines(&path, |_, _| true).unwrap(), 5);
    assert_eq!(keep_lines(&path, |i, _| i < 4).unwrap(), 4);
    assert_eq!(keep_lines(&path, |_, line| !line.contains(":2")).unwrap(), 3);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":3}\n{\"step\":4}\n");
    assert_eq!(names(folder.path()), ["metrics.jsonl"]);
}

#[test]
fn a_torn_line_longer_than_a_block_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.jsonl");
    fs::write(&path, format!("first\n{}", "x".repeat(10_000))).unwrap();
    Lines::append(&path).unwrap().push("second").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\n");
    fs::write(&path, "x".repeat(10_000)).unwrap();
    Lines::append(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn one_run_folder_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::take(folder.path()).unwrap();
    let message = FolderLock::take(folder.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("in use by another detox-lab (process {})", std::process::id())), "{message}");
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    drop(lock);
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn messages_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let message = Folder::open(&missing).unwrap_err().to_string();
    assert!(
        message.starts_with(&missing.display().to_string()) && message.contains("try: check the path"),
        "{message}"
    );
    let message = write_atomic(&missing.join("x"), b"").unwrap_err().to_string();
    assert!(message.contains("nowhere"), "{message}");

    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(Folder::open(&file).unwrap_err().to_string().contains("a file where a folder is needed"));
    let (source, name) = Folder::of_file(&file).unwrap();
    assert_eq!(source.read(&name).unwrap(), b"text");
    assert!(source.has("file") && !source.has("other"));
    assert!(Folder::of_file(folder.path()).unwrap_err().to_string().contains("not a file"));
    assert!(source.read("other").unwrap_err().to_string().contains("other"));
    let message = source.read_json("file").unwrap_err().to_string();
    assert!(message.contains("not valid JSON"), "{message}");
}
