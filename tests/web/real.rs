//! Real models in the worker, natively: the shipped models are files here, and memory is the browser's storage.

use super::engine::{Place, done, failed, run_info};
use detox_lab::error::Result;
use detox_lab::io::{ByteSource, Memory};
use detox_lab::protocol::*;
use detox_lab::settings::Preset;
use detox_lab::web::worker::ModelFile;
use detox_lab::web::worker::inbox::Folder;
use serde_json::Map;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;

/// The models that this browser keeps, whole or partial.
#[derive(Clone, Default)]
pub struct Shelf {
    pub models: Rc<RefCell<BTreeMap<String, Kept>>>,
    /// Bytes that a file may have before the storage is full; 0: any.
    pub room: Rc<Cell<usize>>,
}

#[derive(Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    pub record: Option<KeptModel>,
}

struct Writing(Shelf, String);

impl Shelf {
    pub fn all(&self) -> Vec<KeptModel> {
        self.models.borrow().values().filter_map(|kept| kept.record.clone()).collect()
    }

    pub fn open(&self, key: &str, name: &str) -> Result<Box<dyn ByteSource>> {
        let bytes = self.models.borrow()[key].bytes.clone();
        Ok(Box::new(Memory::new(name, [("model.gguf".to_string(), bytes)].into())))
    }

    pub fn create(&self, key: &str) -> Box<dyn ModelFile> {
        self.models.borrow_mut().insert(key.into(), Kept::default());
        Box::new(Writing(self.clone(), key.into()))
    }

    pub fn remove(&self, key: &str) -> Result<()> {
        self.models.borrow_mut().remove(key);
        Ok(())
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut models = self.0.models.borrow_mut();
        let file = &mut models.get_mut(&self.1).unwrap().bytes;
        if self.0.room.get() > 0 && file.len() + bytes.len() > self.0.room.get() {
            return Err(io::Error::other("the browser's storage is full"));
        }
        file.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shelf {
    pub fn note(&self, key: &str, accuracy: &str) {
        if let Some(record) = self.models.borrow_mut().get_mut(key).and_then(|kept| kept.record.as_mut()) {
            record.accuracy = accuracy.into();
        }
    }
}

impl ModelFile for Writing {
    fn finish(&mut self, record: &KeptModel) -> Result<()> {
        let mut models = self.0.models.borrow_mut();
        let kept = models.get_mut(&self.1).unwrap();
        assert_eq!(kept.bytes.len() as u64, record.bytes, "the record is of the whole file");
        kept.record = Some(record.clone());
        Ok(())
    }
}

/// Requests without bytes.
pub fn plain(asks: Vec<Ask>) -> Vec<(Ask, Option<Vec<u8>>)> {
    asks.into_iter().map(|ask| (ask, None)).collect()
}

fn incoming() -> [Incoming; 2] {
    let one = |role, name: &str| Incoming { role, name: name.into(), source: "files".into(), labels: None };
    [one(Role::Policy, "small-t5"), one(Role::Reward, "small-roberta")]
}

/// The shipped models as files that a person chose.
fn folders() -> Vec<Folder> {
    let folder = |name: &str| {
        let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static/models/tiny").join(name);
        let file = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        let files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(place).unwrap().map(file).collect();
        Folder { names: files.keys().cloned().collect(), source: Box::new(Memory::new(name, files)) }
    };
    vec![folder("policy"), folder("reward")]
}

fn keep(weights: NumberType) -> Ask {
    Ask::Keep { models: incoming().into(), weights }
}

/// A worker that answers one request with these files beside it.
fn with_files(place: &Place, ask: Ask, folders: Vec<Folder>) -> Reply {
    place.ask_with(vec![(ask, None, folders)]).remove(0).0
}

fn keys(place: &Place) -> [String; 2] {
    let all = place.shelf.all();
    [Role::Policy, Role::Reward].map(|role| all.iter().find(|model| model.role == role).unwrap().key.clone())
}

#[test]
fn models_are_kept_by_one_worker_and_used_by_another() {
    let second = Place::new();
    let reply = with_files(&second, Ask::Needs { models: incoming(), longest: None }, folders());
    let Answer::Needs(needs) = done(&reply) else { panic!("{reply:?}") };
    // The shipped policy is f16: two bytes for each number, after the header.
    let file =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/static/models/tiny/policy/model.safetensors")).unwrap();
    let header = u64::from_le_bytes(file[..8].try_into().unwrap());
    let millions = (file.len() as u64 - 8 - header) as f64 / 2e6;
    let expected = format!("Policy: {millions:.1} million parameters");
    assert!(needs.words.starts_with(&expected), "{} does not begin with {expected}", needs.words);
    assert!(needs.types.iter().all(|needs| needs.fits && needs.storage.iter().sum::<u64>() < needs.loading));
    let second = Place { shelf: second.shelf.clone(), ..Place::new() };
    let reply = with_files(&second, keep(NumberType::F32), folders());
    let Answer::Kept(kept) = done(&reply) else { panic!("{reply:?}") };
    assert_eq!([kept[0].role, kept[1].role], [Role::Policy, Role::Reward]);
    assert!(second.events(1).iter().any(|event| matches!(event, Event::Bytes { done, of } if done <= of && *done > 0)));

    let first = Place { shelf: second.shelf.clone(), ..Place::new() };
    let text = || Ask::Score { texts: vec!["You stupid, terrible man.".into()] };
    let start = || Ask::Start { config: Map::new(), preset: Preset::Corrected, steps: 2 };
    let asks = vec![
        Ask::Load,
        text(),
        Ask::Use { keys: keys(&first) },
        text(),
        start(),
        Ask::Train { steps: 1 },
        Ask::Save { what: Saved::Run },
        Ask::Load,
    ];
    let ends = first.ask(plain(asks));
    let Answer::Loaded(loaded) = done(&ends[2].0) else { panic!("{:?}", ends[2]) };
    let real = loaded.real.as_ref().unwrap();
    assert_eq!((real.names[0].as_str(), loaded.policy.lora_r, loaded.corrected.batch_size), ("small-t5", 32, 4));
    assert_eq!(done(&ends[1].0), done(&ends[3].0), "f32 holds the numbers of the file");
    assert_eq!(run_info(&ends[4].0).models, ["small-t5", "small-roberta"]);
    let Answer::Loaded(small) = done(&ends[7].0) else { panic!("{:?}", ends[7]) };
    assert!(small.real.is_none());

    // The saved run goes on where the same models are loaded, and nowhere else.
    let zip = ends[6].1.clone();
    let open = || (Ask::Open { name: "run.zip".into(), files: vec![] }, zip.clone());
    let other = Place { shelf: second.shelf.clone(), ..Place::new() };
    let use_them = (Ask::Use { keys: keys(&other) }, None);
    let ends = other.ask(vec![(Ask::Load, None), open(), use_them, open(), (Ask::Train { steps: 1 }, None)]);
    assert!(failed(&ends[1].0).contains("small-t5 with small-roberta, which are not loaded"));
    assert_eq!(run_info(&ends[4].0).step, 2);
}

#[test]
fn a_tokenizer_of_two_files_is_kept_in_the_model() {
    let mut folders = folders();
    let source = &folders[1].source;
    let model = source.read_json("tokenizer.json").unwrap()["model"].clone();
    let line = |pair: &serde_json::Value| match pair.as_array() {
        Some(pair) => format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        None => format!("{}\n", pair.as_str().unwrap()),
    };
    let merges: String = model["merges"].as_array().unwrap().iter().map(line).collect();
    let mut files: BTreeMap<String, Vec<u8>> =
        [("vocab.json".to_string(), model["vocab"].to_string().into_bytes()), ("merges.txt".into(), merges.into())]
            .into();
    for name in ["config.json", "model.safetensors"] {
        files.insert(name.into(), source.read(name).unwrap());
    }
    folders[1].source = Box::new(Memory::new("two files", files));
    let second = Place::new();
    done(&with_files(&second, keep(NumberType::F32), folders));
    let first = Place { shelf: second.shelf.clone(), ..Place::new() };
    // RoBERTa's tokenizer has no lower case and no space before the first word, as the shipped one has.
    let text = || Ask::Score { texts: vec![" you don't say, you stupid man: naïve!".into()] };
    let ends = first.ask(plain(vec![Ask::Load, text(), Ask::Use { keys: keys(&first) }, text()]));
    assert_eq!(done(&ends[1].0), done(&ends[3].0));
}

#[test]
fn a_model_is_whole_or_not_there() {
    let place = Place::new();
    place.shelf.room.set(3 << 20);
    let reply = with_files(&place, keep(NumberType::Q8_0), folders());
    assert!(failed(&reply).contains("storage is full"), "{}", failed(&reply));
    assert!(place.shelf.models.borrow().is_empty(), "nothing partial stays");

    place.shelf.room.set(0);
    let place = Place { shelf: place.shelf.clone(), ..Place::new() };
    let mut cut = folders();
    let bytes = cut[1].source.read("model.safetensors").unwrap();
    let files = [("model.safetensors", bytes[..bytes.len() / 2].to_vec())];
    let mut files: BTreeMap<String, Vec<u8>> = files.map(|(name, bytes)| (name.to_string(), bytes)).into();
    for name in ["config.json", "tokenizer.json"] {
        files.insert(name.into(), cut[1].source.read(name).unwrap());
    }
    cut[1].source = Box::new(Memory::new("cut", files));
    let reply = with_files(&place, keep(NumberType::Q8_0), cut);
    assert!(failed(&reply).contains("cut/model.safetensors"), "{}", failed(&reply));
    assert!(place.shelf.all().is_empty());
}

#[test]
fn what_cannot_be_used_is_refused_and_the_small_models_go_on() {
    let place = Place::new();
    with_files(&place, keep(NumberType::Q8_0), folders());
    let place = Place { shelf: place.shelf.clone(), ..Place::new() };
    let mut swapped = folders();
    swapped.swap(0, 1);
    let reply = with_files(&place, Ask::Needs { models: incoming(), longest: None }, swapped);
    assert!(failed(&reply).contains("config.json"), "{}", failed(&reply));

    let place = Place { shelf: place.shelf.clone(), ..Place::new() };
    let [policy, reward] = keys(&place);
    place.shelf.models.borrow_mut().get_mut(&reward).unwrap().bytes.truncate(1 << 20);
    let text = || Ask::Score { texts: vec!["hello".into()] };
    let gone = ["0".to_string(), reward.clone()];
    let asks = vec![
        Ask::Load,
        Ask::Use { keys: gone },
        Ask::Use { keys: [policy.clone(), reward.clone()] },
        text(),
        Ask::Remove { keys: vec![policy], partial: false },
    ];
    let ends = place.ask(plain(asks));
    assert!(failed(&ends[1].0).contains("does not have the model"));
    assert!(failed(&ends[2].0).contains("bytes instead of"));
    assert!(matches!(done(&ends[3].0), Answer::Scored(_)));
    assert!(matches!(done(&ends[4].0), Answer::Kept(left) if left.len() == 1 && left[0].key == reward));
}

#[test]
fn what_a_type_costs_is_kept_with_the_model() {
    let place = Place::new();
    done(&with_files(&place, keep(NumberType::Q8_0), folders()));
    for model in place.shelf.all() {
        let what = if model.role == Role::Policy { "log-probs of" } else { "logits of" };
        assert!(model.accuracy.starts_with(what) && model.accuracy.contains("differ from f32 by"), "{model:?}");
    }
    let place = Place::new();
    done(&with_files(&place, keep(NumberType::F32), folders()));
    assert!(place.shelf.all().iter().all(|model| model.accuracy.is_empty()), "f32 has the numbers of the files");
}

/// The shipped models, the reward model's labels with other names.
fn toxic() -> Vec<Folder> {
    let mut folders = folders();
    let source = &folders[1].source;
    let mut config = source.read_json("config.json").unwrap();
    config["id2label"] = serde_json::json!({"0": "neutral", "1": "toxic"});
    config["label2id"] = serde_json::json!({"neutral": 0, "toxic": 1});
    let mut files: BTreeMap<String, Vec<u8>> = [("config.json".to_string(), config.to_string().into_bytes())].into();
    for name in ["model.safetensors", "tokenizer.json"] {
        files.insert(name.into(), source.read(name).unwrap());
    }
    folders[1].source = Box::new(Memory::new("toxic", files));
    folders
}

#[test]
fn labels_of_other_names_are_chosen() {
    let place = Place::new();
    let reply = with_files(&place, Ask::Needs { models: incoming(), longest: None }, toxic());
    let Answer::Needs(needs) = done(&reply) else { panic!("{reply:?}") };
    assert_eq!(needs.labels, ["neutral", "toxic"]);
    let place = Place::new();
    let reply = with_files(&place, keep(NumberType::F32), toxic());
    assert!(failed(&reply).contains("labels are neutral and toxic"), "{}", failed(&reply));

    let place = Place { shelf: place.shelf.clone(), ..Place::new() };
    let mut models = incoming();
    models[1].labels = Some("neutral,toxic".into());
    done(&with_files(&place, Ask::Keep { models: models.into(), weights: NumberType::F32 }, toxic()));
    let first = Place { shelf: place.shelf.clone(), ..Place::new() };
    let text = || Ask::Score { texts: vec!["You stupid, terrible man.".into()] };
    let start = Ask::Start { config: Map::new(), preset: Preset::Corrected, steps: 2 };
    let asks = vec![Ask::Load, text(), Ask::Use { keys: keys(&first) }, text(), start, Ask::Save { what: Saved::Run }];
    let ends = first.ask(plain(asks));
    assert_eq!(done(&ends[1].0), done(&ends[3].0), "the same column is the harmless one");
    let files = detox_lab::io::zip::unpack_folder(ends[5].1.as_ref().unwrap(), "run.zip", |_| true).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&files["config.json"]).unwrap();
    assert_eq!(config["reward_labels"], "neutral,toxic", "as the command line reads it");
    // The run is not continued where the labels are read otherwise.
    let open = (Ask::Open { name: "run.zip".into(), files: vec![] }, ends[5].1.clone());
    let other = Place::new();
    done(&with_files(&other, keep(NumberType::F32), folders()));
    let other = Place { shelf: other.shelf.clone(), ..Place::new() };
    let ends = other.ask(vec![(Ask::Load, None), (Ask::Use { keys: keys(&other) }, None), open]);
    assert!(failed(&ends[2].0).contains("labels as neutral,toxic"), "{}", failed(&ends[2].0));
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_model_is_refused() {
    let mut folders = folders();
    let source = &folders[1].source;
    let mut files = BTreeMap::new();
    for name in ["config.json", "model.safetensors"] {
        files.insert(name.to_string(), source.read(name).unwrap());
    }
    files.insert("tokenizer.json".into(), folders[0].source.read("tokenizer.json").unwrap());
    folders[1].source = Box::new(Memory::new("mixed", files));
    let reply = with_files(&Place::new(), Ask::Needs { models: incoming(), longest: None }, folders);
    assert!(failed(&reply).contains("its tokenizer has"), "{}", failed(&reply));
}
