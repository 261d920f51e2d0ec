//! Brings models into this browser: downloads them where their files are on a server, converts them into GGUF files, and writes
//! their records last. Only one worker at a time does this with a model, in whichever tab it is.

use super::inbox::Folder;
use super::port::{Lock, ModelFile, Port};
use super::real::{Reward, folder, open_policy, precision};
use super::remote::{Plan, Remote};
use super::reporter::PROGRESS;
use super::session::Session;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::checkpoint::weights::Described;
use crate::lab::memory::held;
use crate::lab::quantize;
use crate::lab::sources::policy::PolicySource;
use crate::protocol::{Answer, Event, Id, Incoming, KeptModel, NumberType, Reply, Role};
use std::io::{self, Write};

/// Bytes that are written to the browser's storage at once.
const CHUNK: usize = 1 << 20;
const FREE_STORAGE: &str = "remove models that you do not need, or choose q8_0";

/// A model whose headers are read and that can be used.
pub(super) enum Opened {
    Policy(Box<PolicySource<'static>>),
    Reward(Box<Reward>),
}

impl Opened {
    fn new(model: &Incoming, source: Box<dyn ByteSource>) -> Result<Self> {
        if model.role == Role::Policy {
            return Ok(Self::Policy(Box::new(open_policy(source)?)));
        }
        let reward = Reward::open(source, model.labels.as_deref())?;
        reward.check_labels()?;
        Ok(Self::Reward(Box::new(reward)))
    }

    pub fn tensors(&self) -> Vec<Described> {
        match self {
            Self::Policy(policy) => policy.tensors(),
            Self::Reward(reward) => reward.source.checkpoint().described().to_vec(),
        }
    }

    fn parameters(&self) -> u64 {
        self.tensors().iter().map(|d| d.shape.iter().map(|n| *n as u64).product::<u64>()).sum()
    }

    fn storage(&self, weights: NumberType) -> u64 {
        held(&self.tensors(), precision(weights))
    }

    fn write(&self, out: &mut dyn Write, weights: NumberType, path: &str) -> Result<()> {
        let mut out = io::BufWriter::with_capacity(CHUNK, out);
        match self {
            Self::Policy(policy) => quantize::policy(&mut out, policy, precision(weights), path),
            Self::Reward(reward) => quantize::reward(&mut out, &reward.source, precision(weights), path),
        }?;
        out.flush().map_err(|e| Error::file(path, e, FREE_STORAGE))
    }
}

/// The progress of a request: bytes that are downloaded and written, of all its models.
struct Progress {
    id: Id,
    /// Of what has ended.
    before: u64,
    of: u64,
    told: f64,
}

impl Progress {
    fn tell<P: Port>(&mut self, port: &mut P, done: u64) {
        let (id, done) = (self.id, (self.before + done).min(self.of));
        if port.seconds() - self.told >= PROGRESS {
            self.told = port.seconds();
            port.reply(&Reply::Event { id, event: Event::Bytes { done, of: self.of } }, None);
        }
    }

    fn ended(&mut self, bytes: u64) {
        self.before += bytes;
    }
}

impl<P: Port> Session<P> {
    /// The folders of models: the files that came beside the message, or on a server; and the bytes to download of each.
    pub async fn folders(
        &mut self,
        id: Id,
        models: &[Incoming],
        folders: Vec<Folder>,
    ) -> Result<(Vec<Folder>, [u64; 2])> {
        let (mut all, mut download) = (Vec::new(), [0; 2]);
        for (model, folder) in models.iter().zip(folders) {
            if !folder.names.is_empty() {
                all.push(folder);
                continue;
            }
            let remote = self.look(id, &model.source).await?;
            download[model.role.index()] = remote.bytes();
            all.push(Folder { names: names(&remote), source: self.port.remote(&remote)? });
        }
        Ok((all, download))
    }

    /// Downloads models if necessary, and converts them into files that this browser keeps.
    pub async fn keep_models(
        &mut self,
        id: Id,
        models: &[Incoming],
        weights: NumberType,
        folders: Vec<Folder>,
    ) -> Result<Answer> {
        let mut progress = Progress { id, before: 0, of: 0, told: f64::NEG_INFINITY };
        // A fault in files that are here shows before anything is written; of downloads the sizes are found first.
        let (mut opened, mut locks, mut plans, mut room) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (model, files) in models.iter().zip(folders) {
            let key = model.key(weights);
            locks.push(self.locked(&key, if model.name.is_empty() { &model.source } else { &model.name }).await?);
            if !self.port.models().await?.iter().any(|kept| kept.key == key && kept.downloaded.is_none()) {
                self.port.clear_model(&key).await?; // what an interrupted conversion left
            }
            let local = !files.names.is_empty();
            let model_opened = if local { Some(Opened::new(model, folder(files)?)?) } else { None };
            let storage = model_opened.as_ref().map_or(0, |opened| opened.storage(weights));
            progress.of += storage;
            room += storage;
            let plan = if local { None } else { self.begin(id, model, weights).await? };
            let download = plan.as_ref().map_or(0, |plan| plan.remote.bytes());
            progress.of += download;
            room += download + smallest(download, weights);
            opened.push(model_opened);
            plans.push(plan);
        }
        self.check_room(room, &plans).await?;
        let (mut keys, mut new) = (Vec::new(), Vec::new());
        for ((model, opened), plan) in models.iter().zip(opened).zip(plans) {
            keys.push(model.key(weights));
            match (opened, plan) {
                (Some(opened), _) => {
                    let record = self.convert(&mut progress, model, weights, &opened, None).await?;
                    new.push((opened, record));
                }
                (None, Some(plan)) => new.push(self.bring(&mut progress, model, weights, &plan.remote).await?),
                (None, None) => {} // it is kept already
            }
        }
        for (opened, record) in new {
            // The models are whole; without this the list does not say what their type costs.
            drop(self.note_accuracy(opened, &record).await);
            self.port.end_download(&record.key).await?;
        }
        drop(locks);
        let mut kept = self.port.models().await?;
        kept.sort_by_key(|model| keys.iter().position(|key| *key == model.key).unwrap_or(keys.len()));
        Ok(Answer::Kept(kept))
    }

    /// The plan of a download: that of an earlier one, or a new one. None if the model is kept already.
    async fn begin(&mut self, id: Id, model: &Incoming, weights: NumberType) -> Result<Option<Plan>> {
        let key = model.key(weights);
        if self.port.models().await?.iter().any(|kept| kept.key == key && kept.downloaded.is_none()) {
            self.port.end_download(&key).await?;
            return Ok(None);
        }
        if let Some(plan) = self.port.plan(&key).await {
            return Ok(Some(plan));
        }
        let remote = self.look(id, &model.source).await?;
        let record = KeptModel {
            key,
            role: model.role,
            name: remote.name.clone(),
            source: model.source.clone(),
            revision: remote.revision.clone(),
            weights,
            parameters: 0,
            bytes: remote.bytes(),
            downloaded: Some(0),
            used: self.port.unix_seconds(),
            labels: model.labels.clone(),
            accuracy: String::new(),
        };
        let plan = Plan { model: record, remote };
        self.port.set_plan(&plan).await?;
        Ok(Some(plan))
    }

    async fn check_room(&mut self, all: u64, plans: &[Option<Plan>]) -> Result<()> {
        let (mut here, mut begun) = (0, Vec::new());
        for plan in plans.iter().flatten() {
            let key = &plan.model.key;
            match self.port.plan(key).await.and_then(|plan| plan.model.downloaded) {
                None | Some(0) => begun.push(key),
                Some(bytes) => here += bytes,
            }
        }
        let of = all.saturating_sub(here);
        if let Some(free) = self.port.free().await.filter(|free| *free < of) {
            for key in begun {
                self.port.remove_model(key).await?;
            }
            let what = format!("the models take {} MB and this browser's storage has {} MB left", of >> 20, free >> 20);
            return Err(Error::input(what, FREE_STORAGE));
        }
        Ok(())
    }

    /// Downloads a model, or what is missing of it, and converts it.
    async fn bring(
        &mut self,
        progress: &mut Progress,
        model: &Incoming,
        weights: NumberType,
        remote: &Remote,
    ) -> Result<(Opened, KeptModel)> {
        let key = model.key(weights);
        let id = progress.id;
        self.download(id, &key, remote, &mut |port, done| progress.tell(port, done)).await?;
        progress.ended(remote.bytes());
        let source = self.port.downloaded(&key, remote).await?;
        let opened = folder(Folder { names: names(remote), source }).and_then(|source| Opened::new(model, source));
        let opened = match opened {
            Ok(opened) => opened,
            // Its files are as the server has them: to continue would not help.
            Err(error) => {
                self.port.remove_model(&key).await?;
                return Err(error);
            }
        };
        progress.of += opened.storage(weights);
        let record = self.convert(progress, model, weights, &opened, Some(remote)).await?;
        Ok((opened, record))
    }

    /// Writes a model's file, and its record last.
    async fn convert(
        &mut self,
        progress: &mut Progress,
        model: &Incoming,
        weights: NumberType,
        opened: &Opened,
        remote: Option<&Remote>,
    ) -> Result<KeptModel> {
        let key = model.key(weights);
        let before = self.port.models().await?;
        let mut file = self.port.new_model(&key).await?;
        let name = own_name(model, remote.map_or(&model.name, |remote| &remote.name), &before);
        let path = format!("{name} in this browser's storage");
        let port = &mut self.port;
        let mut wrote = |bytes: u64| progress.tell(port, bytes);
        let mut out = Counted { file: &mut *file, bytes: 0, full: false, wrote: &mut wrote };
        let written = opened.write(&mut out, weights, &path);
        let (bytes, full) = (out.bytes, out.full);
        progress.ended(bytes);
        let record = KeptModel {
            key: key.clone(),
            role: model.role,
            name,
            source: model.source.clone(),
            revision: remote.and_then(|remote| remote.revision.clone()),
            weights,
            parameters: opened.parameters(),
            bytes,
            downloaded: None,
            used: self.port.unix_seconds(),
            labels: model.labels.clone(),
            accuracy: String::new(),
        };
        let damaged = written.is_err() && !full;
        if let Err(error) = written.and_then(|()| file.finish(&record)) {
            drop(file);
            // A download stays, unless its files are damaged: after some storage is freed, the conversion can be repeated.
            if remote.is_none() || damaged {
                self.port.remove_model(&key).await?;
            } else {
                self.port.clear_model(&key).await?;
            }
            return Err(if full { Error::file(&path, "this browser's storage is full", FREE_STORAGE) } else { error });
        }
        Ok(record)
    }

    /// Removes kept models, or only partial downloads.
    pub async fn remove_models(&mut self, id: Id, keys: &[String], partial: bool) -> Result<Answer> {
        for key in keys {
            let kept = self.port.models().await?;
            let found = kept.iter().find(|kept| kept.key == *key);
            if partial && found.is_some_and(|kept| kept.downloaded.is_none()) {
                continue;
            }
            match self.locked(key, found.map_or("this model", |kept| &kept.name)).await {
                Ok(_lock) => self.port.remove_model(key).await?,
                Err(error) => {
                    self.port.reply(&Reply::Event { id, event: Event::Warning(error.what()) }, None);
                }
            }
        }
        Ok(Answer::Kept(self.port.models().await?))
    }

    async fn locked(&mut self, key: &str, name: &str) -> Result<Lock> {
        self.port.lock(key).await?.ok_or_else(|| {
            let what = format!("{name} is just being brought in, here or in another tab");
            Error::input(what, "wait until it is there, or cancel that")
        })
    }
}

/// A name that no other model of this role has: `name`, or the same with a number. A run finds its models by their names.
fn own_name(model: &Incoming, name: &str, kept: &[KeptModel]) -> String {
    let taken = |name: &str| kept.iter().any(|k| k.role == model.role && k.name == name && k.source != model.source);
    let numbered = (2..).map(|n| format!("{name} {n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The least that a model can take in the storage, by the size of its download, which has f32 or smaller numbers.
fn smallest(download: u64, weights: NumberType) -> u64 {
    match weights {
        NumberType::Q8_0 => download / 128 * 34,
        NumberType::F16 => download / 2,
        NumberType::F32 => download,
    }
}

fn names(remote: &Remote) -> Vec<String> {
    remote.files.iter().map(|file| file.name.clone()).collect()
}

/// Counts what is written into a file.
struct Counted<'a> {
    file: &'a mut dyn ModelFile,
    bytes: u64,
    /// The storage refused to take more.
    full: bool,
    wrote: &'a mut dyn FnMut(u64),
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes).inspect_err(|_| self.full = true)?;
        self.bytes += n as u64;
        (self.wrote)(self.bytes);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
