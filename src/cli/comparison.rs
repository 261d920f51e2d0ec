//! Loads what `evaluate` and `compare` compare: a run's step 0 and its newest checkpoint, or two adapters for one base model.

use super::args::PairArgs;
use super::launch;
use super::loading;
use super::memory;
use super::run_folder::RunFolder;
use super::run_sources::{NewLocations, RunModels};
use super::settings::settings;
use super::sources::{self, TINY};
use super::terminal::Terminal;
use crate::error::Result;
use crate::lab::evaluate::{EvaluateOptions, Paired, pairs};
use crate::lab::models::{Actor, INITIAL, Judge, POLICY, Precision};
use crate::lab::run::{self, RunConfig};
use crate::lab::same_policy::check_same_policy;
use crate::lab::sources::forecast::{self, Tokens};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::lab::train::Peers;
use crate::pace::block_on;
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use crate::text::prompt::prompt;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Rows generated and scored together.
const BATCH: usize = 16;
/// How to need less memory.
const LOWER: &str = "lower --max-new-tokens, or give shorter dialogues";

/// Loaded models and data.
pub struct Comparison {
    actor: Actor,
    judge: Judge,
    test: Vec<Dialogue>,
    pub config: PpoConfig,
    before: Option<&'static str>,
    after: Option<&'static str>,
    seed: u64,
    /// Name and value of what is compared, to be printed.
    pub about: Vec<(String, String)>,
    /// The run's folder, for the results.
    pub home: Option<PathBuf>,
    /// Held so that no other process trains this run at the same time.
    _lock: Option<RunFolder>,
}

/// The rows to evaluate on.
fn test_rows(args: &PairArgs, data: &str, terminal: &mut Terminal) -> Result<Vec<Dialogue>> {
    if args.every_row {
        sources::every_row(data, terminal)
    } else {
        Ok(sources::dialogues(data, false, terminal)?.test)
    }
}

/// Refuses to load models if generating for these rows needs too much memory.
fn check_memory(
    args: &PairArgs,
    rows: &[Dialogue],
    policy: &mut PolicySource<'_>,
    reward: &RewardSource<'_>,
    precision: Precision,
) -> Result<()> {
    let prompts = rows.iter().map(|d| prompt(&d.dialogue));
    let longest = forecast::longest(prompts, policy.find_tokenizer()?)?;
    let tokens = Tokens { prompt: longest, response: args.max_new_tokens };
    memory::check(&forecast::generation(policy, Some(reward), BATCH, tokens, precision), precision, LOWER)
}

/// The settings of `--preset` if it is given, else `config`.
fn preset(args: &PairArgs, config: PpoConfig, policy: &str) -> Result<PpoConfig> {
    match args.preset {
        Some(preset) => settings(preset, policy, None).map(|p| PpoConfig { seed: config.seed, ..p }),
        None => Ok(config),
    }
}

impl Comparison {
    /// Loads models and data, to compare on the first `n` rows.
    pub fn load(args: &PairArgs, n: usize, peers: &Peers, terminal: &mut Terminal) -> Result<Self> {
        launch::check_same_settings(peers, &json!({ "arguments": format!("{args:?}"), "n": n }))?;
        match &args.run {
            Some(path) => Self::of_run(path, args, n, peers, terminal),
            None => Self::of_adapters(args, n, terminal),
        }
    }

    /// A run's step 0 and its newest checkpoint.
    fn of_run(path: &Path, args: &PairArgs, n: usize, peers: &Peers, terminal: &mut Terminal) -> Result<Self> {
        let store = RunFolder::open_among(peers, path, terminal)?;
        let path = store.root().to_path_buf();
        let mut config = RunConfig::read(&store)?;
        let now = NewLocations {
            policy: args.policy.as_deref(),
            adapter: args.adapter.as_deref(),
            reward: args.reward.as_deref(),
            labels: args.labels.reward_labels.as_ref(),
            data: args.data.as_deref(),
        };
        let newest = run::newest_checkpoint(&store)?;
        launch::check_same_settings(peers, &json!({ "run": config, "checkpoint": newest }))?;
        let (_, saved) = now.apply(&mut config, &store, newest, terminal)?;
        let run = (config.weights, config.precision);
        config.weights = args.held.weights.unwrap_or(config.weights);
        config.precision = args.held.precision.unwrap_or(config.precision);
        let same_type = run == (config.weights, config.precision);
        loading::use_precision(config.precision, terminal);
        let test = test_rows(args, &config.data, terminal)?;
        let mut models = RunModels::find(&config, terminal)?;
        check_memory(args, &test[..n.min(test.len())], &mut models.policy, &models.reward, config.weights)?;
        let (actor, judge, _) = models.load(saved, &config, false, terminal)?;
        if args.policy.is_some() && same_type {
            check_same_policy(&store, &config, &actor, "give the policy of this run with --policy")?;
        }
        Ok(Self {
            actor,
            judge,
            test,
            before: Some(INITIAL),
            after: Some(POLICY),
            seed: args.seed.unwrap_or(config.ppo.seed),
            about: vec![
                ("run".into(), path.display().to_string()),
                ("before".into(), "the adapter at step 0".into()),
                ("after".into(), format!("the adapter after step {newest}")),
            ],
            config: preset(args, config.ppo, &config.policy)?,
            home: Some(path),
            _lock: Some(store),
        })
    }

    /// Two adapters for one base model.
    fn of_adapters(args: &PairArgs, n: usize, terminal: &mut Terminal) -> Result<Self> {
        let src = args.policy.as_deref().unwrap_or(TINY);
        let (reward, data) = sources::companions(src);
        let precision = args.held.weights.unwrap_or_default();
        loading::use_precision(args.held.precision.unwrap_or_default(), terminal);
        let reward_src = args.reward.as_deref().unwrap_or(reward);
        let test = test_rows(args, args.data.as_deref().unwrap_or(data), terminal)?;
        let mut policy = sources::policy(src, terminal)?;
        let reward = sources::reward(reward_src, terminal)?;
        check_memory(args, &test[..n.min(test.len())], &mut policy, &reward, precision)?;
        let mut actor = policy.load(precision, 0)?;
        let mut put = |name: &'static str, src: &str| -> Result<Option<&'static str>> {
            if src == "off" {
                return Ok(None);
            }
            actor.add_adapter(name, &sources::adapter(src, terminal)?, false)?;
            Ok(Some(name))
        };
        let (before, after) = (put(INITIAL, &args.before)?, put(POLICY, &args.after)?);
        let labels = args.labels.reward_labels.as_ref();
        let config = preset(args, PpoConfig::default(), src)?;
        Ok(Self {
            actor,
            judge: loading::load_reward(reward, reward_src, precision, labels, terminal)?,
            test,
            before,
            after,
            seed: args.seed.unwrap_or(config.seed),
            about: vec![
                ("policy".into(), src.into()),
                ("before".into(), format!("adapter {}", args.before)),
                ("after".into(), format!("adapter {}", args.after)),
            ],
            config,
            home: None,
            _lock: None,
        })
    }

    /// The options of the evaluation.
    pub fn options(&self, args: &PairArgs, n: usize) -> EvaluateOptions {
        EvaluateOptions {
            n,
            max_new_tokens: args.max_new_tokens,
            greedy: args.greedy,
            seed: self.seed,
            batch_size: BATCH,
        }
    }

    /// Responses of both adapters to the same dialogues.
    pub fn pairs(&self, options: &EvaluateOptions, peers: &Peers, terminal: &mut Terminal) -> Result<Vec<Paired>> {
        let Self { actor, judge, test, before, after, config, .. } = self;
        block_on(pairs(actor, judge, test, *before, *after, options, config, peers, terminal))
    }
}
