//! A person's own dialogues in the worker, natively, and adapters that come as the files of their folder.

use super::engine::{Place, done, failed, run_info};
use detox_lab::protocol::*;
use detox_lab::settings::Preset;
use serde_json::{Map, json};

fn load() -> (Ask, Option<Vec<u8>>) {
    (Ask::Load, None)
}

fn data(name: &str, bytes: &[u8]) -> (Ask, Option<Vec<u8>>) {
    (Ask::Data { name: name.into() }, Some(bytes.to_vec()))
}

fn start() -> (Ask, Option<Vec<u8>>) {
    let config = Map::from_iter([("batch_size".to_string(), json!(2)), ("mini_batch_size".to_string(), json!(2))]);
    (Ask::Start { config, preset: Preset::Corrected, steps: 2 }, None)
}

/// Ten dialogues of a length that the lab uses, and two shorter ones.
fn lines() -> Vec<u8> {
    let row = |i: usize| {
        let turns = if i % 6 == 5 { 2 } else { 12 };
        let dialogue = "#Person1#: You never listen to me.\n".repeat(turns);
        json!({"id": format!("mine_{i}"), "dialogue": dialogue, "summary": "They argue."}).to_string() + "\n"
    };
    (0..12).map(row).collect::<String>().into_bytes()
}

fn loaded(reply: &Reply) -> &Loaded {
    match done(reply) {
        Answer::Loaded(loaded) => loaded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn own_dialogues_are_filtered_and_split_as_in_the_lab() {
    let place = Place::new();
    let save = (Ask::Save { what: Saved::Run }, None);
    let asks = vec![
        load(),
        data("mine.jsonl", &lines()),
        start(),
        (Ask::Train { steps: 1 }, None),
        save,
        data("none.csv", b"dialogue,summary\nhello,hi\n"),
        (Ask::Load, None),
        data("", b""),
    ];
    let ends = place.ask(asks);
    let mine = loaded(&ends[1].0);
    assert_eq!((mine.dialogues.len(), mine.dialogues.iter().filter(|d| d.held_out).count()), (10, 2));
    assert!(mine.data.starts_with("mine.jsonl: 8 dialogues to train on, 2 held out. note: 2 of 12"), "{}", mine.data);
    assert_eq!(run_info(&ends[3].0).step, 1);
    assert!(run_info(&ends[3].0).command.contains(" --data DATA"));
    assert!(failed(&ends[5].0).contains("none of 1 dialogues"), "{}", failed(&ends[5].0));
    assert_eq!(loaded(&ends[6].0).dialogues.len(), 10, "they stay when other models are loaded");
    let shipped = loaded(&ends[7].0);
    assert!(shipped.dialogues.len() > 100 && shipped.data.is_empty());

    // The run goes on where its dialogues are there, and nowhere else.
    let open = || (Ask::Open { name: "run.zip".into(), files: vec![] }, ends[4].1.clone());
    let other = Place::new();
    let ends = other.ask(vec![load(), open(), data("mine.jsonl", &lines()), open(), (Ask::Train { steps: 1 }, None)]);
    assert!(failed(&ends[1].0).contains("the dialogues mine.jsonl"), "{}", failed(&ends[1].0));
    assert_eq!(run_info(&ends[4].0).step, 2);
}

#[test]
fn an_adapter_opens_as_the_files_of_its_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static/models/tiny/adapter");
    let names = ["adapter_config.json", "adapter_model.safetensors"];
    let files = names.map(|name| (name.to_string(), std::fs::read(folder.join(name)).unwrap()));
    let parts: Vec<(String, usize)> = files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect();
    let bytes = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let open = |files: Vec<(String, usize)>, bytes| (Ask::Open { name: names[0].into(), files }, Some(bytes));
    let alone = vec![parts[0].clone()];
    let ends = Place::new().ask(vec![load(), open(parts, bytes), open(alone, files[0].1.clone())]);
    assert!(matches!(done(&ends[1].0), Answer::Adapter { lora_r, .. } if *lora_r > 0), "{:?}", ends[1]);
    assert!(failed(&ends[2].0).contains("no adapter weights"), "{}", failed(&ends[2].0));
}
