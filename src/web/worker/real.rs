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
use crate::lab::models::{Lab, Precision};
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

pub fn precision(of: NumberType) -> Precision {
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

/// The headers of a policy and of a reward model that can be used: with tokenizers.
struct Pair {
    policy: PolicySource<'static>,
    reward: RewardSource<'static>,
}

impl Pair {
    fn open(policy: Box<dyn ByteSource>, reward: Box<dyn ByteSource>) -> Result<Self> {
        let mut policy = PolicySource::open(policy)?;
        policy.tokenizer()?;
        let reward = RewardSource::open(reward)?;
        reward.check(None).map_err(without_option)?;
        Ok(Self { policy, reward })
    }

    /// The two folders that came beside a message.
    fn of(folders: Vec<Folder>) -> Result<Self> {
        let mut folders = folders.into_iter();
        let (Some(policy), Some(reward)) = (folders.next(), folders.next()) else {
            return Err(Error::bug("a request without the models' files"));
        };
        Self::open(folder(policy)?, folder(reward)?)
    }

    fn tensors(&self) -> [Vec<Described>; 2] {
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
            let mut loading = Forecast::new();
            loading.weights("the policy", &self.policy.tensors_in_memory(), kind);
            loading.weights("the reward model", &self.reward.tensors_in_memory(), kind);
            let training = forecast::ppo(&self.policy, Some(&self.reward), &adapter, &config, tokens, kind).peak();
            let loading = loading.peak();
            let fits = loading.max(training) <= MOST;
            TypeNeeds { weights, storage: self.storage(weights), loading, training, fits }
        };
        Ok(Needs {
            download: 0,
            parameters: self.parameters(),
            prompt,
            response: tokens.response,
            batch: config.batch_size,
            mini_batch: config.mini_batch_size,
            types: NumberType::ALL.map(of).to_vec(),
        })
    }
}

/// The command line's advice about labels is an option that the page does not have.
pub fn without_option(error: Error) -> Error {
    match error {
        Error::File { path, what, hint } if hint.contains("--reward-labels") => {
            let hint =
                "choose a classifier with the labels nothate and hate; the command line takes others (--reward-labels)";
            Error::file(path, what, hint)
        }
        other => other,
    }
}

impl<P: Port> Session<P> {
    /// What a pair of models will need.
    pub async fn needs(&mut self, id: Id, models: &[Incoming; 2], folders: Vec<Folder>) -> Result<Answer> {
        let dialogues = self.dialogues().await?;
        let (folders, download) = self.folders(id, models, folders).await?;
        Ok(Answer::Needs(Needs { download, ..Pair::of(folders)?.needs(&dialogues)? }))
    }

    async fn dialogues(&mut self) -> Result<Vec<Dialogue>> {
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
        let mut pair = Pair::open(self.kept(&policy).await?, self.kept(&reward).await?)?;
        let needs = pair.needs(&dialogues)?;
        if let Some(too_large) = needs.types.iter().find(|needs| needs.weights == policy.weights && !needs.fits) {
            let what = format!("these models need {} MB of memory, and a tab has 4,096 MB", too_large.training >> 20);
            return Err(Error::input(what, "choose the number type q8_0, or smaller models"));
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
        let judge = pair.reward.load(kind, None)?;
        at(&mut reporter, 2);
        let adapter = actor.fresh_adapter(adapter_config(&policy.name)?, config.seed)?;
        actor.begin(&adapter, &config)?;
        for model in [&policy, &reward] {
            self.port.model_used(&model.key).await;
        }
        let told = dialogues.iter().map(|d| convert::dialogue(d, d.split == Some(Split::Test))).collect();
        let (train, test) = split(dialogues);
        let real = RealModels {
            keys: [policy.key, reward.key],
            names: [policy.name.clone(), reward.name.clone()],
            weights: policy.weights,
        };
        let models = Models { policy: policy.name, reward: reward.name, weights: kind, real: Some(real.clone()) };
        let loaded = Loaded {
            bytes: policy.bytes + reward.bytes,
            policy: convert::policy(&actor, &adapter.config, policy.bytes)?,
            reward: RewardInfo { parameters: judge.model.parameter_count(), bytes: reward.bytes },
            dialogues: told,
            corrected: Box::new(config),
            published: Box::new(tab_settings(Preset::Published)),
            steps: STEPS,
            seconds: self.port.seconds() - started,
            real: Some(Box::new(real)),
        };
        let lab = Rc::new(Lab { actor, judge, dialogues: train });
        self.run = None;
        self.ready = Some(Ready { lab, adapter, adapter_name: None, test, models });
        Ok(loaded)
    }

    /// The folder of a kept model, if its file is whole.
    async fn kept(&mut self, model: &KeptModel) -> Result<Box<dyn ByteSource>> {
        let source = self.port.model(&model.key, &model.name).await?;
        let bytes = source.open(WEIGHTS)?.seek(io::SeekFrom::End(0)).unwrap_or(0);
        if bytes != model.bytes {
            let what = format!("{bytes} bytes instead of {}", model.bytes);
            return Err(Error::file(source.path(WEIGHTS), what, "remove the model and bring it in again"));
        }
        Ok(Box::new(GgufModel::open(source, WEIGHTS.into())?))
    }
}
