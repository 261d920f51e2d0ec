//! Writes that survive a crash, and messages about folders.

use detox_lab::io::ByteSource;
use detox_lab::io::disk::{
    Folder, FolderLock, append, create_folder, keep_lines, recover, remove, write_atomic, write_atomic_with,
    write_folder,
};
use detox_lab::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_completely_or_not_at_all() {
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
    assert_eq!(names(folder.path()), ["config.json"], "no temporary file remains");
}

#[test]
fn a_folder_is_replaced_in_one_step() {
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
fn a_crash_while_replacing_is_repaired() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    // killed between the two renames: the old folder is renamed, the new one is complete but still temporary
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
fn a_folder_is_removed_in_one_step() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    create_folder(&at("a/b/c")).unwrap();
    fs::write(at("a/x"), "x").unwrap();
    remove(&at("a")).unwrap();
    remove(&at("a")).unwrap(); // nothing to do
    fs::write(at("file"), "x").unwrap();
    remove(&at("file")).unwrap();
    assert!(names(parent.path()).is_empty());
    // killed while its files were removed: the rest has a temporary name
    create_folder(&at(".tmp-step-3")).unwrap();
    fs::write(at(".tmp-step-3").join("half"), "x").unwrap();
    recover(parent.path()).unwrap();
    assert!(names(parent.path()).is_empty());
}

#[test]
fn lines_are_appended_and_cut_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    assert_eq!(keep_lines(&path, |_, _| true).unwrap(), 0, "a missing file has no lines");
    for step in 1..=4 {
        append(&path, format!("{{\"step\":{step}}}\n").as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), step, "each line is there immediately");
    }
    append(&path, b"{\"step\":5,\"x").unwrap(); // a crash in the middle of a line
    assert_eq!(keep_lines(&path, |_, _| true).unwrap(), 4);
    append(&path, b"{\"step\":5}\n").unwrap();
    assert_eq!(keep_lines(&path, |i, _| i < 4).unwrap(), 4);
    assert_eq!(keep_lines(&path, |_, line| !line.contains(":2")).unwrap(), 3);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":3}\n{\"step\":4}\n");
    fs::write(&path, "x".repeat(10_000)).unwrap(); // only an incomplete line
    assert_eq!(keep_lines(&path, |_, _| true).unwrap(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    assert_eq!(names(folder.path()), ["metrics.jsonl"]);
    assert!(append(&folder.path().join("gone/metrics.jsonl"), b"x").unwrap_err().to_string().contains("gone"));
}

#[test]
fn one_run_folder_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::take(folder.path(), Duration::ZERO).unwrap();
    let message = FolderLock::take(folder.path(), Duration::ZERO).unwrap_err().to_string();
    assert!(message.contains(&format!("in use by another detox-lab (process {})", std::process::id())), "{message}");
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    drop(lock);
    FolderLock::take(folder.path(), Duration::ZERO).unwrap();
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
    assert!(Folder::open(&file).unwrap_err().to_string().contains("not a folder but a file"));
    let (source, name) = Folder::of_file(&file).unwrap();
    assert_eq!(source.read(&name).unwrap(), b"text");
    assert!(source.has("file") && !source.has("other"));
    assert!(Folder::of_file(folder.path()).unwrap_err().to_string().contains("not a file"));
    assert!(source.read("other").unwrap_err().to_string().contains("other"));
    let message = source.read_json("file").unwrap_err().to_string();
    assert!(message.contains("not valid JSON"), "{message}");
}
