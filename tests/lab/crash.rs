//! A run whose store fails at each write in turn, before or in the middle of it, as in a crash: when resumed, it ends like an
//! uninterrupted run. `robustness/killed.rs` tests the same with the real program at random moments.

use crate::support::store::{InMemory, StopAfter};
use crate::support::{fixtures, run::QUICK};
use detox_lab::error::{Error, Result};
use detox_lab::io::adapter::PeftAdapter;
use detox_lab::io::adapter_config::AdapterConfig;
use detox_lab::io::disk::Folder;
use detox_lab::io::{ByteSource, Memory, ReadSeek};
use detox_lab::lab::models::{Actor, Judge, Lab};
use detox_lab::lab::run::{self, RunConfig, Store};
use detox_lab::lab::train::Trainer;
use detox_lab::pace::block_on;
use detox_lab::ppo::peers::Peers;
use detox_lab::settings::PpoConfig;
use detox_lab::text::dialogue::{Dialogue, parse};
use std::collections::BTreeMap;

const STEPS: u64 = 3;

/// Fails at the write after `left` more, and at all later ones.
struct Crashing<'a> {
    inner: &'a mut InMemory,
    left: usize,
    /// Half of an append is written.
    torn: bool,
}

impl Crashing<'_> {
    fn spend(&mut self) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::input("crashed", "resume"))?;
        Ok(())
    }
}

impl ByteSource for Crashing<'_> {
    fn name(&self) -> String {
        "memory".into()
    }
    fn has(&self, file: &str) -> bool {
        self.inner.0.contains_key(file)
    }
    fn open(&self, file: &str) -> Result<Box<dyn ReadSeek + '_>> {
        let bytes = self.inner.0.get(file).ok_or_else(|| Error::input(format!("no {file}"), "write it first"))?;
        Ok(Box::new(std::io::Cursor::new(bytes.as_slice())))
    }
}

impl Store for Crashing<'_> {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.spend()?;
        (&mut *self.inner).put(name, bytes)
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.left == 0 && self.torn {
            (&mut *self.inner).append(name, &bytes[..bytes.len() / 2])?;
            self.torn = false;
        }
        self.spend()?;
        (&mut *self.inner).append(name, bytes)
    }
    fn keep_lines(&mut self, name: &str, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        self.spend()?;
        // as on a disk, an incomplete line does not count
        let bytes = self.inner.0.get_mut(name).unwrap();
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
        (&mut *self.inner).keep_lines(name, keep)
    }
    fn put_folder(&mut self, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        self.spend()?;
        (&mut *self.inner).put_folder(name, files)
    }
    fn remove(&mut self, name: &str) -> Result<()> {
        self.spend()?;
        (&mut *self.inner).remove(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let copy = &mut self.inner.clone();
        copy.list(folder)
    }
}

/// Models before step 1, or as a run saved them.
pub fn lab(store: &InMemory, newest: Option<u64>, ppo: &PpoConfig) -> (Lab, AdapterConfig) {
    let folder = |name: &str| Folder::open(fixtures().join("tiny").join(name)).unwrap();
    let mut actor = Actor::load(&folder("policy"), 7).unwrap();
    let adapter = match newest {
        None => {
            let adapter = PeftAdapter::read(&folder("adapter")).unwrap();
            actor.begin(&adapter, ppo).unwrap();
            adapter.config
        }
        Some(step) => {
            let checkpoint = |step| {
                let below = format!("{}/{}/", run::CHECKPOINTS, run::step_name(step));
                let inside =
                    |(path, bytes): (&String, &Vec<u8>)| Some((path.strip_prefix(&below)?.into(), bytes.clone()));
                Memory::new("checkpoint", store.0.iter().filter_map(inside).collect())
            };
            actor.go_back(&checkpoint(step), &checkpoint(0), ppo, true).unwrap()
        }
    };
    let data: Vec<Dialogue> =
        parse("train.jsonl", &std::fs::read(fixtures().join("tiny/data/train.jsonl")).unwrap()).unwrap();
    (Lab { actor, judge: Judge::load(&folder("reward")).unwrap(), dialogues: data }, adapter)
}

/// The configuration of a run.
pub fn run_config(ppo: &PpoConfig, steps: u64) -> RunConfig {
    RunConfig {
        version: "test".into(),
        policy: "tiny".into(),
        adapter: None,
        reward: "tiny".into(),
        reward_labels: None,
        data: "tiny".into(),
        steps,
        save_every: 2,
        keep: Some(1),
        keep_rollouts: Some(2),
        weights: Default::default(),
        precision: Default::default(),
        ppo: ppo.clone(),
    }
}

/// Starts or continues the run in `files`, to its end or to the crash at the write after `left` more.
fn go(files: &mut InMemory, left: usize, torn: bool) -> Result<usize> {
    let json: serde_json::Value = serde_json::from_str(QUICK).unwrap();
    let mut ppo = PpoConfig::from_json(PpoConfig::default(), &json).unwrap();
    (ppo.batch_size, ppo.output_max_length) = (4, 8);
    let config = run_config(&ppo, STEPS);
    let newest = run::newest_checkpoint(&&mut *files).ok();
    let (lab, adapter) = lab(files, newest, &ppo);
    let store = Crashing { inner: files, left, torn };
    let mut trainer = match newest {
        None => Trainer::start(&lab, config, adapter, store, 1e9)?,
        Some(_) => Trainer::resume(&lab, config, adapter, store, 1e9)?,
    };
    assert!(trainer.warnings.is_empty(), "{:?}", trainer.warnings);
    block_on(trainer.run(&Peers::alone(), &mut StopAfter(usize::MAX)))?;
    Ok(left - trainer.store.left)
}

/// All files, but of TensorBoard's only the events in order, because each start makes a new file.
fn numbers(files: &InMemory) -> (BTreeMap<&str, &[u8]>, Vec<u8>) {
    let event = |name: &str| detox_lab::io::tensorboard::secs_of(name).is_some();
    let header = detox_lab::io::tensorboard::header(0.0).len();
    let others = files.0.iter().filter(|(name, _)| !event(name)).map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let events = files.0.iter().filter(|(name, _)| event(name)).flat_map(|(_, bytes)| bytes[header..].to_vec());
    (others.collect(), events.collect())
}

#[test]
fn a_crash_at_any_write_changes_nothing() {
    let mut twin = InMemory::default();
    let writes = go(&mut twin, usize::MAX, false).unwrap();
    assert!(writes > 20, "{writes} writes");
    for torn in [false, true] {
        for at in 0..writes {
            let mut files = InMemory::default();
            assert!(go(&mut files, at, torn).is_err(), "it ended before write {at} of {writes}");
            // and a second crash while it resumes
            let again = go(&mut files, at % 7, torn);
            if again.is_err() {
                go(&mut files, usize::MAX, false).unwrap();
            }
            assert!(numbers(&files) == numbers(&twin), "a crash at write {at} of {writes} changed the numbers");
        }
    }
}
