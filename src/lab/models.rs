//! The models in memory, each with its tokenizer: the policy with its adapters and value head, and the reward model. `sources`
//! loads them.

use super::sources::tokenizer::NoTokenizer;
use crate::error::{Error, Result};
use crate::io::adapter::{Module, PeftAdapter};
use crate::io::adapter_config::AdapterConfig;
use crate::io::value_head::SavedHead;
pub use crate::kernels::choice::{Products, kernel};
pub use crate::kernels::pool::{threads, work_in_tab, work_on};
pub use crate::kernels::quantized::Precision;
pub use crate::model::config::T5Config;
pub use crate::model::policy::{AdapterName, Given, INITIAL, POLICY, TrainablePolicy};
use crate::model::policy::{Policy, ValueHead};
pub use crate::model::reward::Labels;
use crate::model::reward::{RewardModel, ScoreOptions, Scored};
pub use crate::model::roberta::RobertaConfig;
use crate::nn::lora::LoraSpec;
use crate::nn::rng::{Purpose, Rng};
use crate::pace::Pace;
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use crate::text::tokenizer::Tokenizer;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// The models and data of a run.
pub struct Lab {
    /// Contains the trained adapter as [`POLICY`], and its copy from step 0 as [`INITIAL`].
    pub actor: Actor,
    pub judge: Judge,
    /// The training split.
    pub dialogues: Vec<Dialogue>,
}

/// A policy and the tokenizer of its base model.
pub struct Actor {
    pub policy: Policy,
    /// None if the folder has no tokenizer; then only ids can be used.
    pub tokenizer: Option<Tokenizer>,
    /// The message if there is none.
    pub no_tokenizer: NoTokenizer,
}

impl Actor {
    /// Adds a PEFT adapter to the base model under a name. Returns warnings.
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

    /// Prepares the start of a run: this adapter to train, its copy as [`INITIAL`], a new value head (seeded). Returns
    /// warnings.
    pub fn begin(&mut self, adapter: &PeftAdapter, config: &PpoConfig) -> Result<Vec<String>> {
        let warnings = self.add_adapter(POLICY, adapter, true)?;
        keep_initial(self)?;
        let mut head =
            ValueHead::fresh(self.policy.t5.config.d_model, &mut Rng::new(config.seed, Purpose::Init, 0, 0))?;
        head.dropout = config.value_head_dropout as f32;
        self.policy.value_head = head;
        Ok(warnings)
    }

    /// Replaces the value head by a saved one; `dropout` is used in passes with dropout.
    pub fn set_value_head(&mut self, head: &SavedHead, dropout: f64) -> Result<()> {
        self.policy.value_head = ValueHead::new(&head.weight, &head.bias, self.policy.t5.config.d_model)?;
        self.policy.value_head.dropout = dropout as f32;
        Ok(())
    }

    /// The trained adapter with PEFT's tensor names.
    pub fn adapter_tensors(&self) -> BTreeMap<String, Tensor> {
        self.trained_tensors(".lora_")
    }

    /// The value head with TRL's tensor names.
    pub fn value_head_tensors(&self) -> BTreeMap<String, Tensor> {
        self.trained_tensors("v_head.")
    }

    fn trained_tensors(&self, part: &str) -> BTreeMap<String, Tensor> {
        let trained = self.policy.trainable().into_iter().filter(|(name, _)| name.contains(part));
        trained.map(|(name, var)| (name, var.as_tensor().clone())).collect()
    }

    /// The tokenizer, or an error that says how to get one.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| self.no_tokenizer.error())
    }

    /// A new adapter for this base model: A uniform in ±1/√in (PEFT's kaiming init), B zero.
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
                format!("choose from the endings of the layers' names: {have:?}"),
            ));
        }
        Ok(PeftAdapter { config, tensors, name: "a new adapter".into() })
    }
}

/// Keeps a copy of the current adapter as [`INITIAL`], for the KL and for before/after.
pub fn keep_initial(actor: &mut Actor) -> Result<()> {
    actor.policy.copy_adapter(POLICY, INITIAL)
}

/// The reward model and its tokenizer.
pub struct Judge {
    pub model: RewardModel,
    pub tokenizer: Option<Tokenizer>,
    /// The message if there is none.
    pub no_tokenizer: NoTokenizer,
}

impl Judge {
    /// The tokenizer, or an error that says how to get one.
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
