//! The lab's real models in a tab: what they will need, converting them into files that the browser keeps, and loading those. A
//! second worker converts, so that the first one goes on working; the first one loads.

use super::convert;
use super::inbox::Folder;
use super::port::{ModelFile, Port};
use super::reporter::{PROGRESS, Reporter};
use super::session::{Models, Ready, Session, tab_settings};
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::gguf_model::{GgufModel, WEIGHTS};
use crate::io::checkpoint::weights::Described;
use crate::lab::memory::{held, longest_response};
use crate::lab::models::{Lab, Labels, Precision};
use crate::lab::quantize;
use crate::lab::sources::forecast::{self, Forecast, Tokens, longest};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::protocol::{
    Answer, Event, Id, Incoming, KeptModel, Loaded, Needs, NumberType, Phase, RealModels, Reply, RewardInfo, Role,
    TypeNeeds,
};
use crate::settings::Preset;
use crate::text::dialogue::{Dialogue, Split, parse, split};
use crate::text::prompt::prompt;
use std::io::{self, Write};
use std::rc::Rc;

/// What a tab can have at most: 32-bit addresses, without a part for the program and for what the allocator keeps back.
const MOST: u64 = (4 << 30) - (128 << 20);
/// PPO steps of a run, as the command line has it.
pub const STEPS: u64 = 10;
/// The fresh adapter, as the command line makes it: rank, alpha, dropout, layers.
const ADAPTER: (usize, f64, f64, [&str; 2]) = (32, 32.0, 0.05, ["q", "v"]);
/// Bytes that are written to the browser's storage at once.
const CHUNK: usize = 1 << 20;

pub(super) fn precision(of: NumberType) -> Precision {
    match of {
        NumberType::Q8_0 => Precision::Q8_0,
        NumberType::F16 => Precision::F16,
        NumberType::F32 => Precision::F32,
    }
}

fn adapter_config(base: &str) -> Result<AdapterConfig> {
    let (rank, alpha, dropout, layers) = ADAPTER;
    AdapterConfig::new(rank, alpha, dropout, &layers, base)
}

/// A model's files as its folder: a GGUF file is a whole model.
fn folder(Folder { names, source }: Folder) -> Result<Box<dyn ByteSource>> {
    match names.iter().find(|name| name.ends_with(".gguf")) {
        Some(file) => Ok(Box::new(GgufModel::open(source, file.clone())?)),
        None => Ok(source),
    }
}

/// The headers of a policy and of a reward model that can be used: with tokenizers.
pub(super) struct Pair {
    pub policy: PolicySource<'static>,
    pub reward: RewardSource<'static>,
    /// How the reward model's labels are read; none: by their names.
    pub labels: Option<Labels>,
    /// The labels that have to be chosen.
    unclear: Vec<String>,
}

impl Pair {
    fn open(policy: Box<dyn ByteSource>, reward: Box<dyn ByteSource>, labels: Option<&str>) -> Result<Self> {
        let mut policy = PolicySource::open(policy)?;
        let (known, rows) = (policy.tokenizer()?.vocab_size(), policy.config.vocab_size);
        check_vocabulary(known, rows, policy.source())?;
        let reward = RewardSource::open(reward)?;
        let unclear: Vec<String> = reward.unclear_labels().into_iter().flatten().map(str::to_string).collect();
        let labels = labels.map(|labels| labels.parse().map_err(|e: String| Error::input(labels, e))).transpose()?;
        // Until they are chosen, either order will do.
        let either = || unclear.join(",").parse().ok();
        let tokenizer = reward.check(labels.clone().or_else(either).as_ref())?;
        check_vocabulary(tokenizer.vocab_size(), reward.config.vocab_size, reward.checkpoint().source())?;
        let unclear = if labels.is_some() { Vec::new() } else { unclear };
        Ok(Self { policy, reward, labels, unclear })
    }

    /// Refuses labels that have not been chosen.
    fn check_labels(&self) -> Result<()> {
        match &self.unclear[..] {
            [] => Ok(()),
            labels => {
                let what = format!("the reward model's labels are {}", labels.join(" and "));
                Err(Error::input(what, "choose which of them is the harmless one"))
            }
        }
    }

    /// The two folders that came beside a message.
    fn of(folders: Vec<Folder>, labels: Option<&str>) -> Result<Self> {
        let mut folders = folders.into_iter();
        let (Some(policy), Some(reward)) = (folders.next(), folders.next()) else {
            return Err(Error::bug("a request without the models' files"));
        };
        Self::open(folder(policy)?, folder(reward)?, labels)
    }

    pub fn tensors(&self) -> [Vec<Described>; 2] {
        [self.policy.tensors(), self.reward.checkpoint().described().to_vec()]
    }

    fn parameters(&self) -> [u64; 2] {
        let count = |d: &Described| d.shape.iter().map(|n| *n as u64).product::<u64>();
        self.tensors().map(|tensors| tensors.iter().map(count).sum())
    }

    fn storage(&self, weights: NumberType) -> u64 {
        self.tensors().iter().map(|tensors| held(tensors, precision(weights))).sum()
    }

    /// What the pair will need with these dialogues.
    fn needs(&mut self, dialogues: &[Dialogue]) -> Result<Needs> {
        let config = tab_settings(Preset::Corrected);
        let adapter = adapter_config("")?;
        let prompts = dialogues.iter().map(|d| prompt(&d.dialogue));
        let prompt = longest(prompts, self.policy.find_tokenizer()?)?;
        let tokens = Tokens { prompt, response: longest_response(&config) };
        let of = |weights: NumberType| {
            let kind = precision(weights);
            // A kept model is read in small pieces.
            let mut loading = Forecast::new();
            loading.hold("the policy", held(&self.policy.tensors_in_memory(), kind));
            loading.hold("the reward model", held(&self.reward.tensors_in_memory(), kind));
            let training = forecast::ppo(&self.policy, Some(&self.reward), &adapter, &config, tokens, kind).peak();
            let loading = loading.peak();
            let fits = loading.max(training) <= MOST;
            TypeNeeds { weights, storage: self.storage(weights), loading, training, fits }
        };
        let [policy, reward] = self.parameters().map(|n| n as f64 / 1e6);
        let (batch, mini_batch, response) = (config.batch_size, config.mini_batch_size, tokens.response);
        Ok(Needs {
            words: format!(
                "Policy: {policy:.1} million parameters; reward model: {reward:.1} million. A PPO step has {batch} rows, {mini_batch} in a \
                 mini-batch, with prompts of up to {prompt} and responses of {response} tokens."
            ),
            types: NumberType::ALL.map(of).to_vec(),
            labels: self.unclear.clone(),
        })
    }
}

/// Refuses a tokenizer that has more tokens than the model.
fn check_vocabulary(known: usize, rows: usize, source: &dyn ByteSource) -> Result<()> {
    if known <= rows {
        return Ok(());
    }
    let what = format!("its tokenizer has {known} tokens, but the model only {rows}");
    Err(Error::file(source.name(), what, "choose the tokenizer.json of this model"))
}

impl<P: Port> Session<P> {
    /// What a pair of models will need.
    pub async fn needs(&mut self, folders: Vec<Folder>) -> Result<Answer> {
        let dialogues = self.dialogues().await?;
        Ok(Answer::Needs(Pair::of(folders, None)?.needs(&dialogues)?))
    }

    /// The dialogues: a person's own ones, or those that ship with the page.
    pub(super) async fn dialogues(&mut self) -> Result<Vec<Dialogue>> {
        if let Some(data) = &self.data {
            return Ok(data.rows.clone());
        }
        let files = self.port.fetch(&["dialogues.jsonl".into()], &mut |_, _| Ok(())).await?;
        parse("dialogues.jsonl", files.first().map_or(&[], Vec::as_slice))
    }

    /// Converts a pair of models into files that this browser keeps.
    pub async fn keep_models(
        &mut self,
        id: Id,
        models: &[Incoming; 2],
        weights: NumberType,
        folders: Vec<Folder>,
    ) -> Result<Answer> {
        let pair = Pair::of(folders, models[1].labels.as_deref())?;
        pair.check_labels()?;
        let (of, parameters) = (pair.storage(weights), pair.parameters());
        if let Some(free) = self.port.free().await.filter(|free| *free < of) {
            let what = format!("the models take {} MB and this browser's storage has {} MB left", of >> 20, free >> 20);
            return Err(Error::input(what, "remove models that you do not need, or choose q8_0"));
        }
        let before = self.port.models().await?;
        let mut records = Vec::new();
        let (mut done, mut told) = (0, f64::NEG_INFINITY);
        for (model, parameters) in models.iter().zip(parameters) {
            let key = key(model, weights);
            let mut file = self.port.new_model(&key).await?;
            let port = &mut self.port;
            let mut wrote = |bytes: u64| {
                done += bytes;
                if port.seconds() - told >= PROGRESS {
                    told = port.seconds();
                    port.reply(&Reply::Event { id, event: Event::Bytes { done: done.min(of), of } }, None);
                }
            };
            let mut out = Counted { file: &mut *file, bytes: 0, wrote: &mut wrote };
            let path = format!("{} in this browser's storage", model.name);
            let written = pair.write(model.role, &mut out, weights, &path);
            let bytes = out.bytes;
            let record = KeptModel {
                key: key.clone(),
                role: model.role,
                name: own_name(model, &before),
                source: model.source.clone(),
                revision: None,
                weights,
                parameters,
                bytes,
                used: self.port.unix_seconds(),
                labels: model.labels.clone(),
                accuracy: String::new(),
            };
            if let Err(error) = written.and_then(|()| file.finish(&record)) {
                drop(file);
                self.port.remove_model(&key).await?;
                return Err(error);
            }
            records.push(record);
        }
        if let Ok(records) = <&[KeptModel; 2]>::try_from(&records[..]) {
            // The models are whole; without this the list does not say what their type costs.
            drop(self.note_accuracy(pair, records).await);
        }
        let mut kept = self.port.models().await?;
        kept.sort_by_key(|model| records.iter().position(|new| new.key == model.key).unwrap_or(records.len()));
        Ok(Answer::Kept(kept))
    }

    /// Removes kept models.
    pub async fn remove_models(&mut self, keys: &[String]) -> Result<Answer> {
        for key in keys {
            self.port.remove_model(key).await?;
        }
        Ok(Answer::Kept(self.port.models().await?))
    }

    /// Loads a kept pair, with a fresh adapter. Real models that are loaded are dropped first, for their memory; the shipped ones stay
    /// until the new ones are there.
    pub async fn use_models(&mut self, id: Id, keys: [String; 2]) -> Result<Loaded> {
        let started = self.port.seconds();
        if self.ready.as_ref().is_some_and(|ready| ready.models.real.is_some()) {
            (self.run, self.ready) = (None, None);
        }
        let kept = self.port.models().await?;
        let [policy, reward] = [(&keys[0], Role::Policy), (&keys[1], Role::Reward)].map(|(key, role)| {
            let found = kept.iter().find(|model| model.key == *key && model.role == role);
            found.cloned().ok_or_else(|| {
                Error::input("this browser does not have the model any more", "bring it in again from its files")
            })
        });
        let (policy, reward) = (policy?, reward?);
        if policy.weights != reward.weights {
            let what = format!(
                "{} is {} and {} is {}",
                policy.name,
                policy.weights.name(),
                reward.name,
                reward.weights.name()
            );
            return Err(Error::input(what, "choose two models of one number type"));
        }
        let dialogues = self.dialogues().await?;
        let labels = reward.labels.as_deref();
        let mut pair = Pair::open(self.kept(&policy).await?, self.kept(&reward).await?, labels)?;
        pair.check_labels()?;
        let needs = pair.needs(&dialogues)?;
        if let Some(too_large) = needs.types.iter().find(|needs| needs.weights == policy.weights && !needs.fits) {
            let what = format!("these models need {} MB of memory, and a tab has 4,096 MB", too_large.training >> 20);
            return Err(Error::input(what, "choose the number type q8_0, or flan-t5-small instead of -base"));
        }
        let (kind, config) = (precision(policy.weights), tab_settings(Preset::Corrected));
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, None);
        let at = |reporter: &mut Reporter<'_, P>, done| {
            reporter.tell(Event::Progress { phase: Phase::Load, done, of: 2 });
        };
        at(&mut reporter, 0);
        reporter.rest().await?;
        let mut actor = pair.policy.load(kind, config.seed)?;
        at(&mut reporter, 1);
        reporter.rest().await?;
        let judge = pair.reward.load(kind, pair.labels.as_ref())?;
        at(&mut reporter, 2);
        let adapter = actor.fresh_adapter(adapter_config(&policy.name)?, config.seed)?;
        actor.begin(&adapter, &config)?;
        for model in [&policy, &reward] {
            self.port.model_used(&model.key).await;
        }
        let told = dialogues.iter().map(|d| convert::dialogue(d, d.split == Some(Split::Test))).collect();
        let (train, test) = split(dialogues);
        let real = RealModels {
            keys: [policy.key.clone(), reward.key.clone()],
            names: [policy.name.clone(), reward.name.clone()],
            weights: policy.weights,
            accuracy: [(&policy.name, &policy.accuracy), (&reward.name, &reward.accuracy)]
                .into_iter()
                .filter(|(_, accuracy)| !accuracy.is_empty())
                .map(|(name, accuracy)| format!("{name}: {accuracy}. "))
                .collect(),
        };
        let (labels, real) = (pair.labels, Some(real));
        let models = Models { policy: policy.name, reward: reward.name, weights: kind, labels, real: real.clone() };
        let loaded = Loaded {
            bytes: policy.bytes + reward.bytes,
            policy: convert::policy(&actor, &adapter.config, policy.bytes)?,
            reward: RewardInfo { parameters: judge.model.parameter_count(), bytes: reward.bytes },
            dialogues: Vec::new(),
            corrected: Box::new(config),
            published: Box::new(tab_settings(Preset::Published)),
            steps: STEPS,
            seconds: self.port.seconds() - started,
            real: real.map(Box::new),
            data: self.data_words(),
        };
        let answer = Loaded { dialogues: told, ..loaded.clone() };
        let lab = Rc::new(Lab { actor, judge, dialogues: train });
        self.run = None;
        self.ready = Some(Ready { lab, adapter, adapter_name: None, test, models, loaded });
        Ok(answer)
    }

    /// The folder of a kept model, if its file is whole.
    pub(super) async fn kept(&mut self, model: &KeptModel) -> Result<Box<dyn ByteSource>> {
        let source = self.port.model(&model.key, &model.name).await?;
        let bytes = source.open(WEIGHTS)?.seek(io::SeekFrom::End(0)).unwrap_or(0);
        if bytes != model.bytes {
            let what = format!("{bytes} bytes instead of {}", model.bytes);
            return Err(Error::file(source.path(WEIGHTS), what, "remove the model and bring it in again"));
        }
        Ok(Box::new(GgufModel::open(source, WEIGHTS.into())?))
    }
}

impl Pair {
    fn write(&self, role: Role, out: &mut dyn Write, weights: NumberType, path: &str) -> Result<()> {
        let mut out = io::BufWriter::with_capacity(CHUNK, out);
        match role {
            Role::Policy => quantize::policy(&mut out, &self.policy, precision(weights), path),
            Role::Reward => quantize::reward(&mut out, &self.reward, precision(weights), path),
        }?;
        out.flush().map_err(|e| Error::file(path, e, "remove models that you do not need"))
    }
}

/// Counts what is written into a file.
struct Counted<'a> {
    file: &'a mut dyn ModelFile,
    bytes: u64,
    wrote: &'a mut dyn FnMut(u64),
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        (self.wrote)(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A name that no other model of this role has: the model's, or the same with a number. A run finds its models by their names.
fn own_name(model: &Incoming, kept: &[KeptModel]) -> String {
    let taken = |name: &str| kept.iter().any(|k| k.role == model.role && k.name == name && k.source != model.source);
    let numbered = (2..).map(|n| format!("{} {n}", model.name));
    std::iter::once(model.name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The folder's name of a model: FNV-1a of what distinguishes it.
fn key(model: &Incoming, weights: NumberType) -> String {
    let text = format!("{}\n{}\n{:?}\n{}", model.source, model.name, model.role, weights.name());
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}
