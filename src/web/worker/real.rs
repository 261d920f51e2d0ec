//! The lab's real models in a tab: what they will need, and loading those that the browser keeps. `keep` brings them in.

use super::convert;
use super::inbox::Folder;
use super::port::Port;
use super::reporter::Reporter;
use super::session::{Models, Ready, Session, tab_settings};
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::gguf_model::{GgufModel, WEIGHTS};
use crate::io::checkpoint::weights::Described;
use crate::lab::memory::{held, longest_response};
use crate::lab::models::{Lab, Labels, Precision};
use crate::lab::sources::forecast::{self, Forecast, Tokens, longest};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::protocol::{
    Answer, Event, Id, Incoming, KeptModel, Loaded, Needs, NumberType, Phase, RealModels, RewardInfo, Role, TypeNeeds,
};
use crate::settings::Preset;
use crate::text::dialogue::{Dialogue, Split, parse, split};
use crate::text::prompt::prompt;
use std::io;
use std::rc::Rc;

/// What a tab can have at most: 32-bit addresses, without a part for the program and for what the allocator keeps back.
const MOST: u64 = (4 << 30) - (128 << 20);
/// PPO steps of a run, as the command line has it.
pub const STEPS: u64 = 10;
/// The fresh adapter, as the command line makes it: rank, alpha, dropout, layers.
const ADAPTER: (usize, f64, f64, [&str; 2]) = (32, 32.0, 0.05, ["q", "v"]);

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
pub fn folder(Folder { names, source }: Folder) -> Result<Box<dyn ByteSource>> {
    match names.iter().find(|name| name.ends_with(".gguf")) {
        Some(file) => Ok(Box::new(GgufModel::open(source, file.clone())?)),
        None => Ok(source),
    }
}

/// The headers of a policy that can be used: with a tokenizer.
pub(super) fn open_policy(source: Box<dyn ByteSource>) -> Result<PolicySource<'static>> {
    let mut policy = PolicySource::open(source)?;
    let (known, rows) = (policy.tokenizer()?.vocab_size(), policy.config.vocab_size);
    check_vocabulary(known, rows, policy.source())?;
    Ok(policy)
}

/// The headers of a reward model that can be used, with its labels.
pub(super) struct Reward {
    pub source: RewardSource<'static>,
    /// How the labels are read; none: by their names.
    pub labels: Option<Labels>,
    /// The labels that have to be chosen.
    unclear: Vec<String>,
}

impl Reward {
    pub fn open(source: Box<dyn ByteSource>, labels: Option<&str>) -> Result<Self> {
        let source = RewardSource::open(source)?;
        let unclear: Vec<String> = source.unclear_labels().into_iter().flatten().map(str::to_string).collect();
        let labels = labels.map(|labels| labels.parse().map_err(|e: String| Error::input(labels, e))).transpose()?;
        // Until they are chosen, either order will do.
        let either = || unclear.join(",").parse().ok();
        let tokenizer = source.check(labels.clone().or_else(either).as_ref())?;
        check_vocabulary(tokenizer.vocab_size(), source.config.vocab_size, source.checkpoint().source())?;
        let unclear = if labels.is_some() { Vec::new() } else { unclear };
        Ok(Self { source, labels, unclear })
    }

    /// Refuses labels that have not been chosen.
    pub fn check_labels(&self) -> Result<()> {
        match &self.unclear[..] {
            [] => Ok(()),
            labels => {
                let what = format!("the reward model's labels are {}", labels.join(" and "));
                Err(Error::input(what, "choose which of them is the harmless one"))
            }
        }
    }
}

/// A policy and a reward model.
struct Pair {
    policy: PolicySource<'static>,
    reward: Reward,
}

impl Pair {
    fn open(policy: Box<dyn ByteSource>, reward: Box<dyn ByteSource>, labels: Option<&str>) -> Result<Self> {
        Ok(Self { policy: open_policy(policy)?, reward: Reward::open(reward, labels)? })
    }

    /// The two folders that came beside a message.
    fn of(folders: Vec<Folder>, labels: Option<&str>) -> Result<Self> {
        let mut folders = folders.into_iter();
        let (Some(policy), Some(reward)) = (folders.next(), folders.next()) else {
            return Err(Error::bug("a request without the models' files"));
        };
        Self::open(folder(policy)?, folder(reward)?, labels)
    }

    fn tensors(&self) -> [Vec<Described>; 2] {
        [self.policy.tensors(), self.reward.source.checkpoint().described().to_vec()]
    }

    fn parameters(&self) -> [u64; 2] {
        let count = |d: &Described| d.shape.iter().map(|n| *n as u64).product::<u64>();
        self.tensors().map(|tensors| tensors.iter().map(count).sum())
    }

    fn storage(&self, weights: NumberType) -> [u64; 2] {
        self.tensors().map(|tensors| held(&tensors, precision(weights)))
    }

    /// What the pair will need with these dialogues.
    fn needs<'a>(&mut self, dialogues: impl Iterator<Item = &'a str>) -> Result<Needs> {
        let config = tab_settings(Preset::Corrected);
        let adapter = adapter_config("")?;
        let prompt = longest(dialogues.map(prompt), self.policy.find_tokenizer()?)?;
        let tokens = Tokens { prompt, response: longest_response(&config) };
        let of = |weights: NumberType| {
            let kind = precision(weights);
            // A kept model is read in small pieces.
            let mut loading = Forecast::new();
            loading.hold("the policy", held(&self.policy.tensors_in_memory(), kind));
            loading.hold("the reward model", held(&self.reward.source.tensors_in_memory(), kind));
            let training =
                forecast::ppo(&self.policy, Some(&self.reward.source), &adapter, &config, tokens, kind).peak();
            let loading = loading.peak();
            let fits = loading.max(training) <= MOST;
            TypeNeeds { weights, storage: self.storage(weights), loading, training, fits }
        };
        let [policy, reward] = self.parameters().map(|n| n as f64 / 1e6);
        let (batch, mini_batch, response) = (config.batch_size, config.mini_batch_size, tokens.response);
        Ok(Needs {
            download: [0; 2],
            words: format!(
                "Policy: {policy:.1} million parameters; reward model: {reward:.1} million. A PPO step has {batch} rows, {mini_batch} in a \
                 mini-batch, with prompts of up to {prompt} and responses of {response} tokens."
            ),
            types: NumberType::ALL.map(of).to_vec(),
            labels: self.reward.unclear.clone(),
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
    pub async fn needs(
        &mut self,
        id: Id,
        models: &[Incoming; 2],
        longest: Option<String>,
        folders: Vec<Folder>,
    ) -> Result<Answer> {
        let dialogues = match longest {
            Some(dialogue) => vec![dialogue],
            None => self.dialogues().await?.into_iter().map(|d| d.dialogue).collect(),
        };
        let (folders, download) = self.folders(id, models, folders).await?;
        let needs = Pair::of(folders, None)?.needs(dialogues.iter().map(String::as_str))?;
        Ok(Answer::Needs(Needs { download, ..needs }))
    }

    /// The dialogues: a person's own ones, or those that ship with the page.
    pub(super) async fn dialogues(&mut self) -> Result<Vec<Dialogue>> {
        if let Some(data) = &self.data {
            return Ok(data.rows.clone());
        }
        let files = self.port.fetch(&["dialogues.jsonl".into()], &mut |_, _| Ok(())).await?;
        parse("dialogues.jsonl", files.first().map_or(&[], Vec::as_slice))
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
            let whole = |model: &&KeptModel| model.key == *key && model.role == role && model.downloaded.is_none();
            let found = kept.iter().find(whole);
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
        pair.reward.check_labels()?;
        let needs = pair.needs(dialogues.iter().map(|d| d.dialogue.as_str()))?;
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
        let judge = pair.reward.source.load(kind, pair.reward.labels.as_ref())?;
        at(&mut reporter, 2);
        let adapter = actor.fresh_adapter(adapter_config(&policy.name)?, config.seed)?;
        actor.begin(&adapter, &config)?;
        for model in [&policy, &reward] {
            self.port.model_used(&model.key).await;
            // Its download stayed if the worker was lost just after the conversion. Another tab may be reading it now.
            drop(self.port.end_download(&model.key).await);
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
        let (labels, real) = (pair.reward.labels, Some(real));
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
