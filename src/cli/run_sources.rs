//! The models and data that a run's `config.json` names, and their new locations if they have moved.

use super::loading;
use super::sources::{self, TINY, whole_path};
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter_config::AdapterConfig;
use crate::io::disk::Folder;
use crate::io::hub::{self, RepoKind, is_id};
use crate::lab::models::{Actor, Judge, Labels};
use crate::lab::run::{CHECKPOINTS, CONFIG, RunConfig, step_name};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::lab::sources::saved::SavedPolicy;
use serde_json::Value;

/// New locations, from the options given with `--run` or `--resume`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewLocations<'a> {
    pub policy: Option<&'a str>,
    pub adapter: Option<&'a str>,
    pub reward: Option<&'a str>,
    pub labels: Option<&'a Labels>,
    pub data: Option<&'a str>,
}

impl NewLocations<'_> {
    /// Puts the new locations into a run's configuration (in memory), and reads the policy that the run saved after `step`.
    /// Returns whether the configuration changed.
    ///
    /// # Errors
    /// Models or data that do not exist, a damaged checkpoint, an adapter that is not the run's.
    pub fn apply(
        &self,
        config: &mut RunConfig,
        store: &dyn ByteSource,
        step: u64,
        terminal: &mut Terminal,
    ) -> Result<(bool, SavedPolicy)> {
        let changed = self.put_into(config);
        check_exist(config, store)?;
        let saved = saved_policy(store, step)?;
        self.check_adapter(&saved, terminal)?;
        Ok((changed, saved))
    }

    /// Puts the new locations into a run's configuration (in memory). Returns whether it changed.
    pub fn put_into(&self, config: &mut RunConfig) -> bool {
        let before = config.clone();
        let put = |into: &mut String, given: Option<&str>| *into = given.map_or_else(|| into.clone(), whole_path);
        put(&mut config.policy, self.policy);
        put(&mut config.reward, self.reward);
        put(&mut config.data, self.data);
        config.adapter = self.adapter.map(whole_path).or_else(|| config.adapter.clone());
        config.reward_labels = self.labels.cloned().or_else(|| config.reward_labels.clone());
        *config != before
    }

    /// Refuses an adapter that is not the one the run started from: the run continues from its own checkpoints.
    fn check_adapter(&self, saved: &SavedPolicy, terminal: &mut Terminal) -> Result<()> {
        let Some(src) = self.adapter else { return Ok(()) };
        let hint = "leave --adapter out: the run's checkpoints contain its adapter";
        if src == "fresh" || src == "off" {
            return Err(Error::input(format!("--adapter {src} cannot be given for an existing run"), hint));
        }
        if saved.initial.is_same(&sources::adapter(src, terminal)?)? {
            return Ok(());
        }
        let what = format!("this is not the adapter that the run started from; that one is in {}", saved.initial.name);
        Err(Error::file(src, what, hint))
    }
}

/// The policy that a run saved after `step`.
fn saved_policy(store: &dyn ByteSource, step: u64) -> Result<SavedPolicy> {
    let checkpoint = |step| Folder::open(format!("{}/{CHECKPOINTS}/{}", store.name(), step_name(step)));
    SavedPolicy::read(&checkpoint(step)?, &checkpoint(0)?)
}

/// A run's models, found but not yet loaded.
pub struct RunModels {
    pub policy: PolicySource<'static>,
    pub reward: RewardSource<'static>,
}

impl RunModels {
    /// Finds the models of a run's configuration.
    pub fn find(config: &RunConfig, terminal: &mut Terminal) -> Result<Self> {
        let mut policy = sources::policy(&config.policy, terminal)?;
        policy.find_tokenizer()?;
        Ok(Self { policy, reward: sources::reward(&config.reward, terminal)? })
    }

    /// Loads the models with the saved policy. Its adapters are `policy` (trainable or not) and, from step 0, `initial`.
    pub fn load(
        self,
        saved: SavedPolicy,
        config: &RunConfig,
        trainable: bool,
        terminal: &Terminal,
    ) -> Result<(Actor, Judge, AdapterConfig)> {
        let mut actor = self.policy.load(config.weights, config.ppo.seed)?;
        let restored = actor.restore(&saved, &config.ppo, trainable);
        restored.map_err(|e| for_another_policy(e, &config.policy))?;
        let adapter = saved.adapter.config.clone();
        drop(saved); // its tensors are now the policy's
        let labels = config.reward_labels.as_ref();
        let judge = loading::load_reward(self.reward, &config.reward, config.weights, labels, terminal)?;
        Ok((actor, judge, adapter))
    }
}

/// Whether a run's source does not exist any more: it is neither a folder or file nor an id of the hub.
fn is_gone(src: &str, kind: RepoKind) -> bool {
    src != TINY && !hub::local(src).exists() && !is_id(src, kind)
}

fn gone(store: &dyn ByteSource, key: &str, src: &str) -> Error {
    let what = format!("names {src} as the run's {}, but it does not exist any more", key.replace('_', " "));
    Error::file(store.path(CONFIG), what, format!("give its new location with --{} SRC", key.replace('_', "-")))
}

/// Refuses a run whose models or data do not exist any more, before anything is loaded. The error names the run's
/// `config.json`, the path in it, and the option for the new location.
pub fn check_exist(config: &RunConfig, store: &dyn ByteSource) -> Result<()> {
    let sources = [
        ("policy", &config.policy, RepoKind::Model),
        ("reward", &config.reward, RepoKind::Model),
        ("data", &config.data, RepoKind::Dataset),
    ];
    match sources.into_iter().find(|(_, src, kind)| is_gone(src, *kind)) {
        Some((key, src, _)) => Err(gone(store, key, src)),
        None => Ok(()),
    }
}

/// [`check_exist`] for a run of supervised training, whose sources are in `what`.
pub fn check_exist_in(what: &Value, store: &dyn ByteSource) -> Result<()> {
    for key in ["policy", "model_config", "tokenizer", "adapter", "reward", "data", "held_out", "validation"] {
        let kind = if ["data", "held_out"].contains(&key) { RepoKind::Dataset } else { RepoKind::Model };
        let sources = match &what[key] {
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect::<Vec<_>>(),
        };
        if let Some(src) = sources.into_iter().find(|src| is_gone(src, kind)) {
            return Err(gone(store, key, src));
        }
    }
    Ok(())
}

/// Changes the hint of an error about a run's adapter that does not fit the policy.
fn for_another_policy(error: Error, policy: &str) -> Error {
    let new = || format!("the run was trained with a policy other than {policy}: give that one with --policy");
    match error {
        Error::File { path, what, .. } => Error::File { path, what, hint: new() },
        Error::Input { what, .. } => Error::Input { what, hint: new() },
        Error::Shape { tensor, got, expected, .. } => Error::Shape { tensor, got, expected, hint: new() },
        other => other,
    }
}
