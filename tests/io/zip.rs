//! Packing a folder and unpacking it, and harmful zips.

use detox_lab::io::zip::{pack, unpack, unpack_folder};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

fn zip_of(names: &[&str]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(b"x").unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_folder_is_unpacked_unchanged() {
    let files = BTreeMap::from([
        ("config.json".to_string(), b"{}".to_vec()),
        ("checkpoints/step-00010/value_head.safetensors".to_string(), vec![7u8; 100_000]),
        ("empty.jsonl".to_string(), vec![]),
        ("zusammenfassung-ä.txt".to_string(), b"text".to_vec()),
    ]);
    let zip = pack(&files).unwrap();
    assert!(zip.len() < 5_000, "deflated");
    assert_eq!(zip, pack(&files).unwrap(), "the same files give the same bytes");
    assert_eq!(unpack(&zip, "run.zip").unwrap(), files);
}

#[test]
fn folders_in_a_zip_are_not_files() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("checkpoints/", SimpleFileOptions::default()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(unpack(&bytes, "run.zip").unwrap().is_empty());
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    for name in ["../x", "a/../../x", "/etc/x", "a//b", "C:\\x", "a\\..\\x", "."] {
        let message = unpack(&zip_of(&["ok", name]), "run.zip").unwrap_err().to_string();
        assert!(message.starts_with("run.zip: ") && message.contains("leads out"), "{name}: {message}");
        assert!(pack(&BTreeMap::from([(name.to_string(), vec![])])).is_err(), "{name}");
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(unpack(&bytes, "run.zip").unwrap_err().to_string().contains("is a link"));
}

#[test]
fn zips_of_other_programs_are_folders() {
    let is_run = |files: &BTreeMap<String, Vec<u8>>| files.contains_key("config.json");
    let names = |names: &[&str]| {
        let files = unpack_folder(&zip_of(names), "run.zip", is_run).unwrap();
        files.into_keys().collect::<Vec<_>>()
    };
    // Finder
    let finder =
        ["Läufe/config.json", "Läufe/.DS_Store", "__MACOSX/._Läufe", "__MACOSX/Läufe/._config.json", "Läufe/a/b"];
    assert_eq!(names(&finder), ["a/b", "config.json"]);
    assert_eq!(names(&["run/config.json", "run/._config.json", ".DS_Store"]), ["config.json"]);
    // Explorer, and programs that write backslashes
    assert_eq!(names(&["run\\", "run\\config.json", "run\\a\\b", "run\\Thumbs.db"]), ["a/b", "config.json"]);
    assert_eq!(names(&["run/config.json", "run/a/desktop.ini", "run/a/b"]), ["a/b", "config.json"]);
    // folders around the run's folder
    assert_eq!(names(&["runs/new/config.json", "runs/new/a/b"]), ["a/b", "config.json"]);
    assert_eq!(names(&["a/x", "b/y"]), ["a/x", "b/y"]);
    let message = unpack(&zip_of(&["a/b", "a\\b"]), "run.zip").unwrap_err().to_string();
    assert!(message.contains("a/b appears twice"), "{message}");
}

#[test]
fn damaged_zips_are_named() {
    let good = zip_of(&["a", "b"]);
    for bytes in [&good[..good.len() - 10], &good[10..], b"hello"] {
        let message = unpack(bytes, "run.zip").unwrap_err().to_string();
        assert!(message.starts_with("run.zip: "), "{message}");
    }
    let mut flipped = pack(&BTreeMap::from([("a".to_string(), b"hello hello".to_vec())])).unwrap();
    let at = flipped.windows(3).position(|w| w == b"\xcbH\xcd").unwrap(); // the deflated "hel"
    flipped[at + 1] ^= 0x40;
    assert!(unpack(&flipped, "run.zip").is_err());
}
