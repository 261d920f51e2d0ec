//! Chapter 1, set up: a policy and a reward model with their tokenizers, from folders that a door has found.

use super::head;
use super::run::VALUE_HEAD;
use super::tokenizers::{NoTokenizer, tokenizer};
use crate::encoding;
use crate::error::{Error, Result};
use crate::io::adapter::{Module, PeftAdapter};
use crate::io::adapter_config::AdapterConfig;
use crate::io::table::Table;
use crate::io::value_head::ValueHead as SavedHead;
use crate::io::weights::Described;
use crate::io::{ByteSource, weights};
pub use crate::model::config::T5Config;
pub use crate::model::policy::{AdapterName, INITIAL, POLICY};
use crate::model::policy::{Policy, ValueHead};
pub use crate::model::reward::Labels;
use crate::model::reward::{RewardModel, ScoreOptions, Scored};
pub use crate::model::roberta::RobertaConfig;
use crate::model::t5::T5;
use crate::model::{fresh, may_be_compact};
pub use crate::nn::cpu::work_on;
use crate::nn::lora::LoraSpec;
use crate::nn::params::Params;
pub use crate::nn::precision::Precision;
use crate::nn::rng::{Purpose, Rng};
use crate::nn::weight::Weight;
use crate::pace::Pace;
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use crate::text::tokenizer::Tokenizer;
use candle_core::{Device, Tensor, Var};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Everything a run works with.
pub struct Lab {
    /// Holds the adapter that is trained under [`POLICY`], and its copy as it was at step 0 under [`INITIAL`].
    pub actor: Actor,
    pub judge: Judge,
    /// The training split.
    pub dialogues: Vec<Dialogue>,
}

/// A policy and the tokenizer of its base model.
pub struct Actor {
    pub policy: Policy,
    /// None where the folder has no tokenizer: ids only.
    pub tokenizer: Option<Tokenizer>,
    /// What to say where there is none.
    pub no_tokenizer: NoTokenizer,
}

impl Actor {
    /// The base model in a folder with a fresh value head (seeded) and no adapter.
    pub fn load(source: &dyn ByteSource, seed: u64) -> Result<Self> {
        Self::load_as(source, Precision::F32, seed)
    }

    /// [`Actor::load`] with the base's matrices in `precision`.
    ///
    /// # Errors
    /// Also a weight that the kind cannot hold.
    pub fn load_as(source: &dyn ByteSource, precision: Precision, seed: u64) -> Result<Self> {
        let config = head::config(source)?;
        let params = Params::held(held(source, precision, looked_up(&config), &|name| head::is_used(&config, name))?);
        Self::build(config, &params, source, seed).map_err(|e| named(e, &source.name()))
    }

    /// The base model in a folder with every parameter trainable: also those, by checkpoint name.
    pub fn trainable(source: &dyn ByteSource, seed: u64) -> Result<(Self, Vec<(String, Var)>)> {
        let config = head::config(source)?;
        let params = Params::trainable(head::load(source, &config)?);
        let actor = Self::build(config, &params, source, seed).map_err(|e| named(e, &source.name()))?;
        Ok((actor, params.vars()))
    }

    /// A model of fresh weights (seeded; see [`fresh::mimetic`]), every parameter trainable; `file` is where `config` is from.
    pub fn fresh(
        file: &str,
        config: &serde_json::Value,
        tokenizer_folder: &dyn ByteSource,
        mimetic: bool,
        seed: u64,
    ) -> Result<(Self, Vec<(String, Var)>)> {
        let config = T5Config::from_json(file, config.to_string().as_bytes())?;
        if let Some(pieces) =
            tokenizer(tokenizer_folder)?.as_ref().map(Tokenizer::vocab_size).filter(|n| *n > config.vocab_size)
        {
            let what = format!("vocab_size is {}, the tokenizer has {pieces} pieces", config.vocab_size);
            return Err(Error::file(file, what, "set vocab_size to at least the tokenizer's"));
        }
        let mut weights = fresh::t5(&config, seed)?;
        if mimetic {
            fresh::mimetic(&config, &mut weights)?;
        }
        let params = Params::trainable(weights);
        let actor = Self::build(config, &params, tokenizer_folder, seed)?;
        Ok((actor, params.vars()))
    }

    fn build(config: T5Config, params: &Params, source: &dyn ByteSource, seed: u64) -> Result<Self> {
        let (tokenizer, no_tokenizer) = (tokenizer(source)?, NoTokenizer::of(source, "google/flan-t5-base"));
        let t5 = T5::load(config, params)?;
        let head = ValueHead::fresh(t5.config.d_model, &mut Rng::new(seed, Purpose::Init, 0, 0))?;
        Ok(Self { policy: Policy::new(t5, head), tokenizer, no_tokenizer })
    }

    /// Puts a PEFT adapter over the base under a name. Returns what is worth a warning.
    pub fn add_adapter(&mut self, name: &str, adapter: &PeftAdapter, trainable: bool) -> Result<Vec<String>> {
        let modules: Vec<Module> = (self.policy.t5.modules().iter())
            .map(|(name, in_dim, out_dim)| Module { name: name.clone(), in_dim: *in_dim, out_dim: *out_dim })
            .collect();
        let warnings = adapter.check(&modules)?;
        let spec = |module: &str| {
            let (a, b) = adapter.pair(module)?;
            let scale = adapter.config.scale_for(module);
            Some(LoraSpec { module: module.into(), a: a.clone(), b: b.clone(), scale })
        };
        let specs = adapter.modules().into_iter().filter_map(spec).collect();
        self.policy.add_adapter(name, specs, adapter.config.lora_dropout as f32, trainable)?;
        Ok(warnings)
    }

    /// As a run begins: this adapter to train, its copy as [`INITIAL`], a fresh value head (seeded). Returns what is worth
    /// a warning.
    pub fn begin(&mut self, adapter: &PeftAdapter, config: &PpoConfig) -> Result<Vec<String>> {
        let warnings = self.add_adapter(POLICY, adapter, true)?;
        keep_initial(self)?;
        let mut head =
            ValueHead::fresh(self.policy.t5.config.d_model, &mut Rng::new(config.seed, Purpose::Init, 0, 0))?;
        head.dropout = config.value_head_dropout as f32;
        self.policy.value_head = head;
        Ok(warnings)
    }

    /// As a run was after a step: the adapter and value head of that checkpoint's folder, and step 0's adapter.
    pub fn go_back(
        &mut self,
        checkpoint: &dyn ByteSource,
        first: &dyn ByteSource,
        config: &PpoConfig,
        trainable: bool,
    ) -> Result<AdapterConfig> {
        let adapter = PeftAdapter::read(checkpoint)?;
        self.add_adapter(POLICY, &adapter, trainable)?;
        self.add_adapter(INITIAL, &PeftAdapter::read(first)?, false)?;
        self.set_value_head(&SavedHead::read(checkpoint, VALUE_HEAD)?, config.value_head_dropout)
            .map_err(|e| named(e, &checkpoint.path(VALUE_HEAD)))?;
        Ok(adapter.config)
    }

    /// Puts a saved value head in place of the present one; `dropout` is used where a pass asks for it.
    pub fn set_value_head(&mut self, head: &SavedHead, dropout: f64) -> Result<()> {
        self.policy.value_head = ValueHead::new(&head.weight, &head.bias, self.policy.t5.config.d_model)?;
        self.policy.value_head.dropout = dropout as f32;
        Ok(())
    }

    /// The trained adapter as PEFT names its tensors.
    pub fn adapter_tensors(&self) -> BTreeMap<String, Tensor> {
        let trainable = self.policy.trainable().into_iter();
        trainable
            .filter(|(name, _)| name.contains(".lora_"))
            .map(|(name, var)| (name, var.as_tensor().clone()))
            .collect()
    }

    /// The value head as TRL names its tensors.
    pub fn value_head_tensors(&self) -> BTreeMap<String, Tensor> {
        let trainable = self.policy.trainable().into_iter();
        trainable
            .filter(|(name, _)| name.starts_with("v_head."))
            .map(|(name, var)| (name, var.as_tensor().clone()))
            .collect()
    }

    /// The tokenizer, or an error that says where one comes from.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| self.no_tokenizer.error())
    }

    /// A fresh adapter for this base: A uniform in ±1/√in (PEFT's kaiming init), B zero.
    pub fn fresh_adapter(&self, config: AdapterConfig, seed: u64) -> Result<PeftAdapter> {
        let mut tensors = BTreeMap::new();
        for (i, (module, in_dim, out_dim)) in self.policy.t5.modules().iter().enumerate() {
            if !config.targets(module) {
                continue;
            }
            let rank = config.rank_for(module);
            let mut rng = Rng::new(seed, Purpose::Init, 1, i as u64);
            let bound = 1.0 / (*in_dim as f32).sqrt();
            let a: Vec<f32> = (0..rank * in_dim).map(|_| (2.0 * rng.uniform() - 1.0) * bound).collect();
            let prefix = format!("base_model.model.{module}");
            tensors.insert(format!("{prefix}.lora_A.weight"), Tensor::from_vec(a, (rank, *in_dim), &Device::Cpu)?);
            let b = Tensor::zeros((*out_dim, rank), candle_core::DType::F32, &Device::Cpu)?;
            tensors.insert(format!("{prefix}.lora_B.weight"), b);
        }
        if tensors.is_empty() {
            let ends = self.policy.t5.modules().iter().filter_map(|m| m.0.rsplit('.').next());
            let have: std::collections::BTreeSet<&str> = ends.collect();
            return Err(Error::input(
                "no layer of the model matches the adapter's target modules",
                format!("layers end in {have:?}"),
            ));
        }
        Ok(PeftAdapter { config, tensors, name: "a fresh adapter".into() })
    }
}

/// Keeps the adapter as it is now under [`INITIAL`], for the KL and for before/after.
pub fn keep_initial(actor: &mut Actor) -> Result<()> {
    actor.policy.copy_adapter(POLICY, INITIAL)
}

/// The reward model and its tokenizer.
pub struct Judge {
    pub model: RewardModel,
    pub tokenizer: Option<Tokenizer>,
    /// What to say where there is none.
    pub no_tokenizer: NoTokenizer,
}

impl Judge {
    /// The classifier in a folder.
    pub fn load(source: &dyn ByteSource) -> Result<Self> {
        Self::load_as(source, Precision::F32)
    }

    /// [`Judge::load`] with its matrices in `precision`.
    ///
    /// # Errors
    /// Also a weight that the kind cannot hold.
    pub fn load_as(source: &dyn ByteSource, precision: Precision) -> Result<Self> {
        Self::load_with_labels(source, precision, None)
    }

    /// [`Judge::load_as`] for a checkpoint whose labels have other names than nothate and hate.
    ///
    /// # Errors
    /// As [`Judge::load_as`], and labels that the checkpoint does not have.
    pub fn load_with_labels(source: &dyn ByteSource, precision: Precision, labels: Option<&Labels>) -> Result<Self> {
        let config = encoding::text(&source.path("config.json"), &source.read("config.json")?)?.into_owned();
        let params = Params::held(held(source, precision, &WORDS, &|_| true)?);
        let model = RewardModel::load_with_labels(&params, &config, labels).map_err(|e| named(e, &source.name()))?;
        Ok(Self { model, tokenizer: tokenizer(source)?, no_tokenizer: NoTokenizer::of(source, "roberta-base") })
    }

    /// The tokenizer, or an error that says where one comes from.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| self.no_tokenizer.error())
    }

    /// Ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer()?.encode(text)
    }

    /// Scores texts, in their order.
    pub async fn score(&self, texts: &[String], truncate: bool, pace: &mut impl Pace) -> Result<Vec<Scored>> {
        let ids = texts.iter().map(|t| self.encode(t)).collect::<Result<Vec<_>>>()?;
        self.score_ids(&ids, truncate, pace).await
    }

    /// Scores rows of the reward model's ids, in their order.
    pub async fn score_ids(&self, ids: &[Vec<u32>], truncate: bool, pace: &mut impl Pace) -> Result<Vec<Scored>> {
        self.model.score(ids, ScoreOptions { truncate, ..ScoreOptions::default() }, pace).await
    }
}

/// The tables of a policy that are looked up and no more; one that is also the output matrix is not among them.
fn looked_up(config: &T5Config) -> &'static [&'static str] {
    if config.tie_word_embeddings { &[] } else { &head::TABLES }
}

/// As [`looked_up`], of a reward model.
const WORDS: [&str; 1] = ["roberta.embeddings.word_embeddings.weight"];

/// Numbers from which on a table that is only looked up stays in its file: small ones take little memory, and are read
/// faster from it.
const LARGE: usize = 1 << 22;

impl crate::nn::weight::Table for Table {
    fn dims(&self) -> (usize, usize) {
        self.dims()
    }

    fn read(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.read(ids)
    }
}

/// Those of the tables `names` that stay in their file while the model is used.
fn left_in_file(source: &dyn ByteSource, names: &[&'static str]) -> Result<HashMap<&'static str, Table>> {
    let mut tables = HashMap::new();
    for name in names {
        let table = weights::table(source, name)?;
        tables.extend(table.filter(|t| t.dims().0 * t.dims().1 >= LARGE).map(|table| (*name, table)));
    }
    Ok(tables)
}

/// What of a policy's checkpoint is in memory while it is used with frozen weights.
pub fn policy_in_memory(source: &dyn ByteSource, config: &T5Config) -> Result<Vec<Described>> {
    let all = described_in_memory(source, looked_up(config))?;
    Ok(all.into_iter().filter(|d| head::is_used(config, &d.name)).collect())
}

/// As [`policy_in_memory`], of a reward model.
pub fn reward_in_memory(source: &dyn ByteSource) -> Result<Vec<Described>> {
    described_in_memory(source, &WORDS)
}

fn described_in_memory(source: &dyn ByteSource, names: &[&'static str]) -> Result<Vec<Described>> {
    let tables = left_in_file(source, names)?;
    Ok(weights::describe(source)?.into_iter().filter(|t| !tables.contains_key(t.name.as_str())).collect())
}

/// A checkpoint's tensors that are `used`, matrices in `precision`, large ones of `names` left in their file; one tensor at a
/// time is there in f32 as well.
fn held(
    source: &dyn ByteSource,
    precision: Precision,
    names: &[&'static str],
    used: &dyn Fn(&str) -> bool,
) -> Result<HashMap<String, Weight>> {
    let tables = left_in_file(source, names)?;
    let mut all = HashMap::new();
    weights::each(source, &|name| used(name) && !tables.contains_key(name), &mut |name, tensor| {
        let kind = if may_be_compact(&name, tensor.dims()) { precision } else { Precision::F32 };
        let weight = Weight::frozen(tensor, kind).map_err(|e| match e {
            Error::NotFinite { what, hint, row } => {
                Error::NotFinite { what: format!("{}: {name}: {what}", source.name()), hint, row }
            }
            other => other,
        })?;
        all.insert(name, weight);
        Ok(())
    })?;
    all.extend(tables.into_iter().map(|(name, t)| (name.to_string(), Weight::Elsewhere(Arc::new(t), precision))));
    Ok(all)
}

/// The same error with a folder or file in front, where it does not name a file yet.
pub(super) fn named(error: Error, path: &str) -> Error {
    match error {
        Error::Input { what, hint } => Error::file(path, what, hint),
        Error::Shape { tensor, got, expected, hint } => {
            Error::Shape { tensor: format!("{path}: {tensor}"), got, expected, hint }
        }
        other => other,
    }
}
