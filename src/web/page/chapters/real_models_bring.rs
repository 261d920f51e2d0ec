//! Bringing real models into this browser: what is chosen, and the second worker's job with it. `real_models` displays it.

use crate::protocol::{Answer, Ask, Dialogue, Event, Incoming, KeptModel, Needs, NumberType, Role};
use crate::web::page::browser::{self, now};
use crate::web::page::channel::Chosen;
use crate::web::page::engine::{Engine, engine};
use crate::web::page::importer::{End, Job};
use crate::web::page::parts::format;
use crate::web::page::state::Counted;
use leptos::prelude::*;
use std::cell::Cell;
use std::sync::Arc;
use web_sys::File;

/// The lab's models on the hub.
const ADDRESSES: [&str; 2] = ["google/flan-t5-small", "facebook/roberta-hate-speech-dynabench-r4-target"];

/// The files chosen so far, and the second worker's job with them.
#[derive(Clone, Copy)]
pub struct Choice {
    engine: Engine,
    inside: StoredValue<Inside, LocalStorage>,
    /// What is chosen, in words: of the policy, of the reward model.
    pub said: [RwSignal<String>; 2],
    pub needs: RwSignal<Option<Arc<Needs>>>,
    /// The chosen number type, by its place in `NumberType::ALL`.
    pub weights: RwSignal<usize>,
    /// The reward model's harmless label, if it had to be chosen.
    pub harmless: RwSignal<String>,
    /// What the job does; empty: there is none.
    pub doing: RwSignal<String>,
    /// Its progress.
    pub counted: RwSignal<Option<Counted>>,
    /// Hub ids or addresses: of the policy, of the reward model.
    pub addresses: [RwSignal<String>; 2],
    /// Whether a download is paused; none: there is none.
    pub paused: RwSignal<Option<bool>>,
    /// Why a download waits.
    pub note: RwSignal<String>,
}

#[derive(Default)]
struct Inside {
    files: Vec<Chosen>,
    job: Option<Job>,
    /// What is being brought in, also while it is paused; none while only headers are read.
    bringing: Option<(Vec<Incoming>, NumberType)>,
}

impl Choice {
    pub fn new() -> Self {
        Self {
            engine: engine(),
            inside: StoredValue::new_local(Inside::default()),
            said: [RwSignal::default(), RwSignal::default()],
            needs: RwSignal::default(),
            weights: RwSignal::default(),
            harmless: RwSignal::default(),
            doing: RwSignal::default(),
            counted: RwSignal::default(),
            addresses: ADDRESSES.map(|address| RwSignal::new(address.into())),
            paused: RwSignal::default(),
            note: RwSignal::default(),
        }
    }

    /// Takes the files of one model. When both models are chosen, their headers are read.
    pub fn choose(self, role: Role, files: Vec<File>) {
        self.forget_needs();
        let size: f64 = files.iter().map(|file| file.size()).sum();
        let words = format!("{} files, {}", files.len(), format::bytes(size as u64));
        self.said[role.index()].set(words);
        let mut both = false;
        self.inside.update_value(|Inside { files: all, .. }| {
            all.retain(|(of, _)| *of != role);
            both = !all.is_empty();
            all.extend(files.into_iter().map(|file| (role, file)));
        });
        if both {
            self.ask();
        }
    }

    /// Asks the servers what the models at the addresses will need.
    pub fn ask_servers(self) {
        self.inside.update_value(|inside| inside.files.clear());
        self.said.iter().for_each(|said| said.set(String::new()));
        self.ask();
    }

    /// What was said about other models, or is just being asked, is no longer true.
    pub fn forget_needs(self) {
        self.needs.set(None);
        if self.inside.with_value(|inside| inside.bringing.is_none()) {
            self.end_job();
        }
    }

    /// Reads the headers of the models' files.
    fn ask(self) {
        self.end_job();
        self.needs.set(None);
        self.paused.set(None);
        self.inside.update_value(|inside| inside.bringing = None);
        let longest =
            |dialogues: &Arc<Vec<Dialogue>>| dialogues.iter().map(|d| &d.dialogue).max_by_key(|d| d.len()).cloned();
        let longest = self.engine.state.dialogues.with_untracked(longest);
        self.start("Reading the files' headers", Ask::Needs { models: self.models(), longest }, move |answer| {
            if let Answer::Needs(needs) = answer {
                self.weights.set(needs.types.iter().position(|needs| needs.fits).unwrap_or(0));
                self.harmless.set(String::new());
                self.needs.set(Some(Arc::new(needs)));
            }
        });
    }

    /// The reward model's labels, the harmless one first; none if their names say it.
    fn labels(self) -> Option<String> {
        let harmless = self.harmless.get_untracked();
        let other = self.needs.get_untracked()?.labels.iter().find(|label| **label != harmless)?.clone();
        Some(format!("{harmless},{other}"))
    }

    pub fn models(self) -> [Incoming; 2] {
        self.inside.with_value(|Inside { files: all, .. }| {
            [Role::Policy, Role::Reward].map(|role| {
                let files: Vec<&File> = all.iter().filter(|(of, _)| *of == role).map(|(_, file)| file).collect();
                let labels = if role == Role::Reward { self.labels() } else { None };
                if files.is_empty() {
                    let source = self.addresses[role.index()].get_untracked().trim().to_owned();
                    return Incoming { role, name: String::new(), source, labels };
                }
                Incoming { role, name: name(role, &files), source: source(&files), labels }
            })
        })
    }

    /// Starts the second worker; an error is shown as a notice.
    fn start(self, doing: &'static str, ask: Ask, on_answer: impl FnOnce(Answer) + 'static) {
        let s = self.engine.state;
        self.counted.set(None);
        self.doing.set(doing.into());
        let first = Cell::new(None);
        let on_event = move |event| match event {
            Event::Bytes { done, of } => {
                let (done, of, now) = (done as f64, of as f64, now());
                let (from, at) = first.get().unwrap_or((done, now));
                first.set(Some((from, at)));
                // What was here before counts as downloaded at the present speed.
                let since = now - (now - at) * done / (done - from).max(1.0);
                self.note.set(String::new());
                self.counted.set(Some(Counted { id: 0, phase: None, done, of, since, now }));
            }
            Event::Warning(text) => self.note.set(text),
            _ => {}
        };
        let on_end = move |end: End| {
            self.note.set(String::new());
            if self.paused.get_untracked() == Some(true) {
                return self.doing.set("Paused".into());
            }
            self.doing.set(String::new());
            self.paused.set(None);
            match end {
                Ok(answer) => on_answer(answer),
                Err(crate::error::Error::Stopped) => s.say("Stopped".into()),
                Err(error) => {
                    s.tell(true, error.what(), error.hint().into());
                    self.discard(Vec::new());
                }
            }
        };
        let local = match &ask {
            Ask::Keep { models, .. } => models.iter().any(|model| !model.name.is_empty()),
            _ => true,
        };
        let files = if local { self.inside.with_value(|inside| inside.files.clone()) } else { Vec::new() };
        let job = Job::start(ask, files, Box::new(on_event), Box::new(on_end));
        self.inside.update_value(|inside| inside.job = Some(job));
    }

    fn end_job(self) {
        if let Some(job) = self.inside.with_value(|inside| inside.job.clone()) {
            job.cancel();
        }
    }

    /// Removes partial downloads, and asks what is kept now.
    fn discard(self, keys: Vec<String>) {
        self.engine.ask(Ask::Remove { keys, partial: true });
    }

    /// Ends the job, and removes what it has downloaded.
    pub fn cancel(self) {
        self.paused.set(None);
        self.doing.set(String::new());
        self.end_job();
        if let Some(Some((models, weights))) = self.inside.try_update_value(|inside| inside.bringing.take()) {
            self.discard(models.iter().map(|model| model.key(weights)).collect());
        }
    }

    /// Pauses a download, or continues it: it is here as far as it came.
    pub fn pause(self) {
        if let (Some(true), Some((models, weights))) =
            (self.paused.get_untracked(), self.inside.with_value(|inside| inside.bringing.clone()))
        {
            return self.bring(models, weights);
        }
        self.paused.set(Some(true));
        self.end_job();
    }

    /// Continues the downloads that this browser has in one number type.
    pub fn resume(self) {
        let mut all = self.engine.state.models.get_untracked();
        all.retain(|model| model.downloaded.is_some());
        let Some(weights) = all.first().map(|model| model.weights) else { return };
        all.retain(|model| model.weights == weights);
        let incoming = |model: KeptModel| {
            let KeptModel { role, source, labels, .. } = model;
            Incoming { role, name: String::new(), source, labels }
        };
        self.bring(all.into_iter().map(incoming).collect(), weights);
    }

    /// Brings models into this browser, and loads a policy and a reward model if both are there.
    pub fn bring(self, models: Vec<Incoming>, weights: NumberType) {
        let e = self.engine;
        self.end_job();
        browser::ask_to_persist();
        let remote = models.iter().all(|model| model.name.is_empty());
        self.paused.set(remote.then_some(false));
        self.inside.update_value(|inside| inside.bringing = Some((models.clone(), weights)));
        let doing = if remote { "Downloading and converting" } else { "Converting the models" };
        self.start(doing, Ask::Keep { models, weights }, move |answer| {
            let Answer::Kept(models) = answer else { return };
            let whole = |role| {
                let mut all = models.iter().filter(|model| model.downloaded.is_none() && model.weights == weights);
                all.find(|model| model.role == role).map(|model| model.key.clone())
            };
            let keys = (whole(Role::Policy), whole(Role::Reward));
            e.state.models.set(models);
            if let (Some(policy), Some(reward)) = keys {
                e.use_models([policy, reward]);
            }
        });
    }
}

/// A model's name: its folder's, or that of its GGUF file.
fn name(role: Role, files: &[&File]) -> String {
    let folder = files.first().and_then(|file| path(file)).and_then(|path| Some(path.split_once('/')?.0.to_owned()));
    let gguf = files.iter().find_map(|file| Some(file.name().strip_suffix(".gguf")?.to_owned()));
    let other = if role == Role::Policy { "policy from files" } else { "reward model from files" };
    gguf.or(folder).unwrap_or_else(|| other.into())
}

/// What distinguishes these files from others.
fn source(files: &[&File]) -> String {
    let one = |file: &&File| format!("{} ({} bytes, {})", file.name(), file.size(), file.last_modified());
    files.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A file's path below the chosen folder; none where single files were chosen.
pub fn path(file: &File) -> Option<String> {
    js_sys::Reflect::get(file, &"webkitRelativePath".into()).ok()?.as_string().filter(|path| !path.is_empty())
}
