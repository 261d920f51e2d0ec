//! `evaluate` and `compare`: a run's step 0 against its newest checkpoint, or two adapters of one base.

use super::args::{self, Pair};
use super::memory::{self, Prompts};
use super::models;
use super::moved::{self, Moved};
use super::report;
use super::run_folder::{RunFolder, unzipped};
use super::shipped::{TINY, companions};
use super::terminal::Terminal;
use super::train::{load_run, settings, will_fit};
use crate::error::Result;
use crate::io::disk;
use crate::lab::evaluate::{EvaluateOptions, Paired, evaluation, pairs};
use crate::lab::models::{Actor, INITIAL, Judge, POLICY};
use crate::lab::run::{self, RunConfig, json_bytes};
use crate::lab::table::Table;
use crate::pace::block_on;
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use std::path::PathBuf;

/// Rows generated and scored at once.
const BATCH: usize = 16;
/// What needs less memory.
const LOWER: &str = "lower --max-new-tokens, or take shorter dialogues";

/// What is compared, loaded.
struct Subject {
    actor: Actor,
    judge: Judge,
    test: Vec<Dialogue>,
    config: PpoConfig,
    before: Option<&'static str>,
    after: Option<&'static str>,
    seed: u64,
    /// Name and value of what was compared, for the reader.
    about: Vec<(String, String)>,
    /// The run's folder, where results belong.
    home: Option<PathBuf>,
    /// Held so that no other process trains this run meanwhile.
    _lock: Option<RunFolder>,
}

/// The rows of `--data` that are evaluated on, or those of `data`.
fn test_rows(args: &Pair, data: &str, terminal: &mut Terminal) -> Result<Vec<Dialogue>> {
    if args.every_row { models::every_row(data, terminal) } else { Ok(models::dialogues(data, terminal)?.1) }
}

/// Loads what is compared on the first `n` rows.
fn load(args: &Pair, n: usize, terminal: &mut Terminal) -> Result<Subject> {
    let preset = |config: PpoConfig, policy: &str| match args.preset {
        Some(preset) => settings(preset, policy, None).map(|p| PpoConfig { seed: config.seed, ..p }),
        None => Ok(config),
    };
    if let Some(path) = &args.run {
        let path = &unzipped(path, terminal)?;
        let store = RunFolder::open(path)?;
        let mut config = RunConfig::read(&store)?;
        let now = Moved {
            policy: args.policy.as_deref(),
            adapter: args.adapter.as_deref(),
            reward: args.reward.as_deref(),
            labels: args.labels.reward_labels.as_ref(),
            data: args.data.as_deref(),
        };
        now.put_into(&mut config);
        moved::check_there(&config, &store)?;
        now.check_adapter(&store, terminal)?;
        let same_type = args.held.weights.is_none_or(|weights| weights == config.weights);
        config.weights = args.held.weights.unwrap_or(config.weights);
        let newest = run::newest_checkpoint(&store)?;
        let test = test_rows(args, &config.data, terminal)?;
        let prompts = Prompts::of(test.iter().take(n));
        will_fit(&config).ask_generation(BATCH, &prompts, args.max_new_tokens, LOWER, terminal)?;
        let loaded = load_run(&store, &config, newest, false, Vec::new(), terminal)?;
        if args.policy.is_some() && same_type {
            moved::check_weights(&store, &config, &loaded.lab.actor)?;
        }
        return Ok(Subject {
            actor: loaded.lab.actor,
            judge: loaded.lab.judge,
            test,
            before: Some(INITIAL),
            after: Some(POLICY),
            seed: args.seed.unwrap_or(config.ppo.seed),
            about: vec![
                ("run".into(), path.display().to_string()),
                ("before".into(), "the adapter at step 0".into()),
                ("after".into(), format!("the adapter after step {newest}")),
            ],
            config: preset(config.ppo, &config.policy)?,
            home: Some(path.clone()),
            _lock: Some(store),
        });
    }
    let policy = args.policy.as_deref().unwrap_or(TINY);
    let (reward, data) = companions(policy);
    let precision = args.held.weights.unwrap_or_default();
    let reward = args.reward.as_deref().unwrap_or(reward);
    let models = memory::Models { policy: Some(policy), reward: Some(reward), precision };
    let test = test_rows(args, args.data.as_deref().unwrap_or(data), terminal)?;
    models.ask_generation(BATCH, &Prompts::of(test.iter().take(n)), args.max_new_tokens, LOWER, terminal)?;
    let mut actor = models::actor(policy, precision, 0, terminal)?;
    let mut put = |name: &'static str, src: &str| -> Result<Option<&'static str>> {
        if src == "off" {
            return Ok(None);
        }
        let adapter = models::read_adapter(src, terminal)?;
        actor.add_adapter(name, &adapter, false)?;
        Ok(Some(name))
    };
    let (before, after) = (put(INITIAL, &args.before)?, put(POLICY, &args.after)?);
    let config = preset(PpoConfig::default(), policy)?;
    Ok(Subject {
        actor,
        judge: models::judge(reward, args.labels.reward_labels.as_ref(), precision, terminal)?,
        test,
        before,
        after,
        seed: args.seed.unwrap_or(config.seed),
        about: vec![
            ("policy".into(), policy.into()),
            ("before".into(), format!("adapter {}", args.before)),
            ("after".into(), format!("adapter {}", args.after)),
        ],
        config,
        home: None,
        _lock: None,
    })
}

impl Subject {
    fn options(&self, args: &Pair, n: usize) -> EvaluateOptions {
        EvaluateOptions {
            n,
            max_new_tokens: args.max_new_tokens,
            greedy: args.greedy,
            seed: self.seed,
            batch_size: BATCH,
        }
    }

    fn pairs(&self, options: &EvaluateOptions, terminal: &mut Terminal) -> Result<Vec<Paired>> {
        let work =
            pairs(&self.actor, &self.judge, &self.test, self.before, self.after, options, &self.config, terminal);
        block_on(work)
    }
}

/// Toxicity, score and ROUGE of both sides.
pub fn evaluate(args: &args::Evaluate) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let subject = load(&args.pair, args.n, &mut terminal)?;
    let options = subject.options(&args.pair, args.n);
    let result = evaluation(&subject.pairs(&options, &mut terminal)?, &options)?;
    let out = args.out.clone().or_else(|| Some(subject.home.as_ref()?.join("evaluation.json")));
    if let Some(path) = &out {
        disk::write_atomic(path, &json_bytes(&result)?)?;
    }
    if args.json {
        return report::json(&result);
    }
    for (name, value) in &subject.about {
        report::line(format!("{name}: {value}"))?;
    }
    report::evaluation(&result, subject.config.report_paired)?;
    match out {
        Some(path) => report::line(format!("written to {}", path.display())),
        None => Ok(()),
    }
}

/// The table of summaries.
pub fn compare(args: &args::Compare) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let subject = load(&args.pair, args.n, &mut terminal)?;
    let options = subject.options(&args.pair, args.n);
    let pairs = subject.pairs(&options, &mut terminal)?;
    let rows = pairs.iter().map(Paired::row).collect();
    let mut about = subject.about.clone();
    about.push(("seed".into(), options.seed.to_string()));
    about.push(("new tokens at most".into(), options.max_new_tokens.to_string()));
    let table = Table::new(rows, about, options.seed)?;
    let home = args.out.clone().or_else(|| subject.home.clone());
    if let Some(folder) = &home {
        disk::create_folder(folder)?;
        disk::write_atomic(&folder.join("comparison.csv"), &table.csv()?)?;
        disk::write_atomic(&folder.join("comparison.html"), table.html("Summaries before and after").as_bytes())?;
    }
    if args.json {
        return report::json(&table);
    }
    report::line(table.plain(terminal.width()))?;
    match home {
        Some(folder) => report::line(format!("written to comparison.csv and comparison.html in {}", folder.display())),
        None => Ok(()),
    }
}
