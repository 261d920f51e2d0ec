//! The requests about a run: start, train, save, open, restore. An interrupted step is undone: the run returns to its last
//! complete step.

use super::convert;
use super::kept_run::KeptRun;
use super::port::Port;
use super::reporter::Reporter;
use super::session::{Models, Ready, Run, Session};
use crate::error::{Error, Result};
use crate::io::adapter::PeftAdapter;
use crate::io::{ByteSource, Memory, zip};
use crate::lab::models::{Lab, Labels, Products};
use crate::lab::replay::Row;
use crate::lab::run::{self, RunConfig, newest_checkpoint, step_name};
use crate::lab::same_policy::check_same_policy;
use crate::lab::shipped::TINY;
use crate::lab::train::{Peers, Stepped, Trainer, adapter_files, row};
use crate::lab::what_if::what_if;
use crate::protocol::{Answer, Event, Id, RunInfo, Saved, Statistics};
use crate::settings::{PpoConfig, Preset};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The checkpoint of every N-th step is kept, with the newest one and that of step 0.
const SAVE_EVERY: u64 = 10;
/// The file that marks a folder as a PEFT adapter.
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// A run without the models, from which it can be restored.
struct Aside {
    kept: KeptRun,
    config: RunConfig,
    last: Option<Stepped>,
}

impl From<Run> for Aside {
    fn from(Run { trainer, last }: Run) -> Self {
        Self { kept: trainer.store, config: trainer.config, last }
    }
}

/// The lines of a run's metrics, without lines that cannot be read.
fn metrics(kept: &KeptRun) -> Result<Vec<Statistics>> {
    let lines = if kept.has(run::METRICS) { kept.read(run::METRICS)? } else { Vec::new() };
    let lines = String::from_utf8_lossy(&lines).into_owned();
    Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A run as described by its files.
fn info(kept: &KeptRun, config: &RunConfig, metrics: Vec<Statistics>) -> Result<RunInfo> {
    Ok(RunInfo {
        step: newest_checkpoint(kept)?,
        steps: config.steps,
        config: Box::new(config.ppo.clone()),
        metrics,
        command: command(config),
        models: [config.policy.clone(), config.reward.clone()],
        weights: config.weights.name().into(),
        labels: config.reward_labels.as_ref().map(ToString::to_string).unwrap_or_default(),
        saved: kept.saved(),
    })
}

impl<P: Port> Session<P> {
    /// The run that this browser saved; none if it cannot be read.
    pub async fn kept_info(&mut self) -> Option<RunInfo> {
        let kept = KeptRun::kept(self.port.kept().await.ok()?);
        info(&kept, &RunConfig::read(&kept).ok()?, metrics(&kept).ok()?).ok()
    }

    /// Begins a run from the current adapter.
    pub async fn start(&mut self, id: Id, config: Map<String, Value>, preset: Preset, steps: u64) -> Result<Answer> {
        let ppo = PpoConfig::from_json(self.ready()?.models.settings(preset)?, &Value::Object(config))?;
        ppo.validate_run()?;
        if steps == 0 {
            return Err(Error::input("a run of 0 steps", "ask for at least 1"));
        }
        self.run = None;
        let ready =
            self.ready.as_mut().ok_or_else(|| Error::input("the models are not loaded yet", "load them first"))?;
        let lab = alone(&mut ready.lab)?;
        if ready.adapter_name.is_none() {
            ready.adapter = lab.actor.fresh_adapter(ready.adapter.config.clone(), ppo.seed)?;
        }
        let adapter = &ready.adapter;
        for warning in lab.actor.begin(adapter, &ppo)? {
            Reporter::new(&mut self.port, self.inbox.clone(), id, None).tell(Event::Warning(warning));
        }
        let config = RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            policy: ready.models.policy.clone(),
            adapter: ready.adapter_name.clone(),
            reward: ready.models.reward.clone(),
            reward_labels: ready.models.labels.clone(),
            data: self.data.as_ref().map_or(TINY, |data| &data.name).into(),
            steps,
            save_every: SAVE_EVERY,
            weights: ready.models.weights,
            precision: Products::F32,
            keep: None,
            keep_rollouts: None,
            ppo,
        };
        let now = self.port.unix_seconds();
        let trainer = Trainer::start(ready.lab.clone(), config, adapter.config.clone(), KeptRun::default(), now)?;
        self.run = Some(Run { trainer, last: None });
        self.keep().await?;
        self.run_answer()
    }

    /// Runs `steps` PPO steps. If it ends early, the run goes back to its last complete step.
    pub async fn train(&mut self, id: Id, steps: u64) -> Result<Answer> {
        let lab = self.ready()?.lab.clone();
        let tokenizer = lab.actor.tokenizer()?;
        for _ in 0..steps {
            let run = self.run.as_mut().ok_or_else(no_run)?;
            let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, Some(tokenizer));
            match run.trainer.step(&Peers::alone(), &mut reporter).await {
                Ok(stepped) => {
                    let text = |id: &str| {
                        lab.dialogues.iter().find(|d| d.id == id).map_or_else(String::new, |d| d.dialogue.clone())
                    };
                    let step = convert::step(&stepped, tokenizer, text);
                    reporter.tell(Event::Step(Box::new(step)));
                    run.last = Some(stepped);
                    self.keep().await?;
                }
                Err(error) => {
                    drop(lab);
                    if let Some(run) = self.run.take() {
                        self.go_back(run.into())?;
                    }
                    return Err(error);
                }
            }
        }
        let Trainer { store, config, .. } = &self.run.as_ref().ok_or_else(no_run)?.trainer;
        Ok(Answer::Run(Box::new(info(store, config, Vec::new())?)))
    }

    /// The last step's rollout with other settings.
    pub fn what_if(&self, config: Map<String, Value>, preset: Preset) -> Result<Answer> {
        let run = self.run.as_ref().ok_or_else(no_run)?;
        let none = || Error::input("no step of this run was made here yet", "make one step first");
        let last = run.last.as_ref().ok_or_else(none)?;
        let was = &run.trainer.config.ppo;
        let mut base = serde_json::to_value(self.ready()?.models.settings(preset)?).map_err(Error::bug)?;
        if let Some(base) = base.as_object_mut() {
            base.extend(config);
        }
        let config = PpoConfig::from_json(was.clone(), &base)?;
        let rows: Vec<Row> = last.samples.iter().map(|sample| row(sample, was)).collect();
        let found = what_if(&rows, &last.samples, &last.outcome, was, &config)?;
        Ok(Answer::WhatIf(Box::new(convert::what_if(found, &last.outcome))))
    }

    /// The adapter or the whole run as a zip.
    pub fn save(&self, what: Saved) -> Result<(Answer, Option<Vec<u8>>)> {
        let (name, files) = match (what, &self.run) {
            (Saved::Run, None) => return Err(no_run()),
            (Saved::Run, Some(run)) => ("run.zip", run.trainer.store.files().clone()),
            (Saved::Adapter, run) => {
                let ready = self.ready()?;
                let config = run.as_ref().map_or(&ready.adapter.config, |run| &run.trainer.adapter_config);
                ("adapter.zip", adapter_files(&ready.lab.actor, config)?)
            }
        };
        Ok((Answer::Zip { name: name.into() }, Some(zip::pack(&files)?)))
    }

    /// Opens a run or an adapter from a zip, or an adapter from the files of its folder, whose bytes follow one another. The current
    /// run stays until all has been checked.
    pub async fn open(&mut self, id: Id, name: &str, parts: &[(String, usize)], bytes: &[u8]) -> Result<Answer> {
        self.ready()?;
        let ours = |files: &BTreeMap<_, _>| [run::CONFIG, ADAPTER_CONFIG].iter().any(|file| files.contains_key(*file));
        let files = if parts.is_empty() { zip::unpack_folder(bytes, name, ours)? } else { divided(parts, bytes)? };
        if files.contains_key(run::CONFIG) {
            let kept = KeptRun::opened(files);
            self.resume(id, kept).await?;
            self.keep().await?;
            return self.run_answer();
        }
        if !files.contains_key(ADAPTER_CONFIG) {
            let hint = "give a zip that was saved here, or all files of a PEFT adapter's folder";
            return Err(Error::file(
                name,
                "neither a run (config.json) nor an adapter (adapter_config.json) is in it",
                hint,
            ));
        }
        let adapter = PeftAdapter::read(&Memory::new(name, files))?;
        let (lora_r, lora_alpha) = (adapter.config.r, adapter.config.lora_alpha);
        let before = self.run.take().map(Aside::from);
        if let Err(error) = self.begin_from(&adapter) {
            match before {
                Some(run) => self.go_back(run)?,
                None => {
                    let adapter = self.ready()?.adapter.clone();
                    self.begin_from(&adapter)?;
                }
            }
            return Err(error);
        }
        let ready = self.ready.as_mut().ok_or_else(no_run)?;
        (ready.adapter, ready.adapter_name) = (adapter, Some(name.to_string()));
        Ok(Answer::Adapter { name: name.into(), lora_r, lora_alpha })
    }

    /// Sets the adapter that generates from now on, outside any run.
    fn begin_from(&mut self, adapter: &PeftAdapter) -> Result<()> {
        let ready = self.ready.as_mut().ok_or_else(no_run)?;
        alone(&mut ready.lab)?.actor.begin(adapter, &ready.models.settings(Preset::Corrected)?).map(drop)
    }

    /// Continues the run that this browser saved.
    pub async fn restore(&mut self, id: Id) -> Result<Answer> {
        self.ready()?;
        let kept = KeptRun::kept(self.port.kept().await?);
        if kept.files().is_empty() {
            return Err(Error::input("this browser has no saved run", "start one"));
        }
        self.resume(id, kept).await?;
        self.run_answer()
    }

    /// Continues from a run's newest checkpoint. With an error the previous run stays.
    async fn resume(&mut self, id: Id, kept: KeptRun) -> Result<()> {
        let mut config = RunConfig::read(&kept)?;
        config.ppo.validate()?;
        let warnings = fits(&config, &self.ready()?.models, self.data.as_ref().map_or(TINY, |data| &data.name))?;
        for warning in warnings {
            Reporter::new(&mut self.port, self.inbox.clone(), id, None).tell(Event::Warning(warning));
        }
        let models = &self.ready()?.models;
        let same_type = config.weights == models.weights && config.precision == Products::F32;
        (config.weights, config.precision) = (models.weights, Products::F32);
        if models.real.is_some() {
            // As natively: the run now names the models with which it continues.
            (config.policy, config.reward) = (models.policy.clone(), models.reward.clone());
        }
        let (newest, first) = (kept.folder(&checkpoint(newest_checkpoint(&kept)?)), kept.folder(&checkpoint(0)));
        PeftAdapter::read(&newest)?;
        PeftAdapter::read(&first)?;
        let before = self.run.take().map(Aside::from);
        let mut resumed = self.resume_checked(kept, config, &newest, &first);
        if resumed.is_ok() && same_type {
            resumed = self.check_policy();
        }
        if resumed.is_err() {
            self.run = None;
            if let Some(run) = before {
                self.go_back(run)?;
            }
        }
        resumed
    }

    /// Refuses a real policy that is not the one that the run was trained with.
    fn check_policy(&self) -> Result<()> {
        let Ready { lab, models, .. } = self.ready()?;
        let Trainer { store, config, .. } = &self.run.as_ref().ok_or_else(no_run)?.trainer;
        if models.real.is_none() {
            return Ok(());
        }
        check_same_policy(store, config, &lab.actor, "load the policy of this run (chapter 1, The lab's own models)")
    }

    fn resume_checked(&mut self, kept: KeptRun, config: RunConfig, newest: &Memory, first: &Memory) -> Result<()> {
        let now = self.port.unix_seconds();
        let ready = self.ready.as_mut().ok_or_else(no_run)?;
        let adapter = alone(&mut ready.lab)?.actor.go_back(newest, first, &config.ppo, true)?;
        let trainer = Trainer::resume(ready.lab.clone(), config, adapter, kept, now)?;
        self.run = Some(Run { trainer, last: None });
        Ok(())
    }

    /// Goes back to a run's last complete step.
    fn go_back(&mut self, Aside { kept, config, last }: Aside) -> Result<()> {
        let (newest, first) = (kept.folder(&checkpoint(newest_checkpoint(&kept)?)), kept.folder(&checkpoint(0)));
        self.resume_checked(kept, config, &newest, &first)?;
        if let Some(run) = &mut self.run {
            run.last = last;
        }
        Ok(())
    }

    /// Saves everything that changed in the run. With an error the run stays in memory.
    async fn keep(&mut self) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let kept = &mut run.trainer.store;
        let Some(changes) = kept.changes() else { return Ok(()) };
        // Two tabs have different stamps, because they do not save in the same microsecond.
        let stamp = format!("{:.6} {:.6}", self.port.unix_seconds(), self.port.seconds()).into_bytes();
        self.port.keep(changes, kept.files(), &stamp).await?;
        kept.is_kept(stamp);
        Ok(())
    }

    fn run_answer(&self) -> Result<Answer> {
        let Trainer { store, config, .. } = &self.run.as_ref().ok_or_else(no_run)?.trainer;
        Ok(Answer::Run(Box::new(info(store, config, metrics(store)?)?)))
    }
}

fn no_run() -> Error {
    Error::input("there is no run yet", "start one first (chapter 3.1)")
}

/// The command that continues a run natively. It finds the shipped models and those of the hub by their names.
fn command(config: &RunConfig) -> String {
    let place = |name: &str, option: &str, folder: &str| {
        if name == TINY || name.contains('/') { String::new() } else { format!(" {option} {folder}") }
    };
    let (policy, reward) = (place(&config.policy, "--policy", "POLICY"), place(&config.reward, "--reward", "REWARD"));
    let data = place(&config.data, "--data", "DATA");
    format!("detox-lab train --resume run.zip{policy}{reward}{data} --steps {}", config.steps)
}

/// Refuses a run that the loaded models cannot continue; returns what is worth a warning.
fn fits(config: &RunConfig, models: &Models, data: &str) -> Result<Vec<String>> {
    let natively = "or continue it natively: detox-lab train --resume RUN";
    let tiny = |names: [&str; 2]| names.into_iter().all(|name| name == TINY);
    let (run, here) = (tiny([&config.policy, &config.reward]), models.real.is_none());
    // Natively a run names its data by their path.
    if config.data.rsplit(['/', '\\']).next() != Some(data) {
        let what = format!("this run trains on the dialogues {}, and this page now has others", config.data);
        let hint = "choose that file in chapter 1, Your own dialogues, or go back to the shipped ones there";
        return Err(Error::input(what, format!("{hint}, {natively}")));
    }
    let labels = |of: &Option<Labels>| of.clone().filter(|labels| !labels.are("nothate", "hate"));
    if labels(&config.reward_labels) != labels(&models.labels) {
        let read = |of| labels(of).map_or("nothate,hate".into(), |labels| labels.to_string());
        let (run, here) = (read(&config.reward_labels), read(&models.labels));
        let what = format!("this run reads its reward model's labels as {run}, the loaded one's are read as {here}");
        return Err(Error::input(what, format!("choose the labels when you bring the model in, {natively}")));
    }
    if run != here {
        let what = format!("this run trains {} with {}, which are not loaded", config.policy, config.reward);
        let hint = if run {
            "load the small models (chapter 1)"
        } else {
            "load these models (chapter 1, The lab's own models)"
        };
        return Err(Error::input(what, format!("{hint}, {natively}")));
    }
    let mut warnings = Vec::new();
    if (&config.policy, &config.reward) != (&models.policy, &models.reward) {
        let (policy, reward) = (&models.policy, &models.reward);
        let run = format!("{} with {}", config.policy, config.reward);
        warnings.push(format!("This run was begun on {run}; it continues on {policy} with {reward}"));
    }
    if config.weights != models.weights {
        let (was, is) = (config.weights.name(), models.weights.name());
        warnings.push(format!("This run had weights in {was}; it continues with {is}, so numbers differ slightly"));
    }
    if config.precision != Products::F32 {
        warnings.push(
            "This run multiplied numbers rounded to bf16; it continues with f32, so numbers differ slightly".into(),
        );
    }
    Ok(warnings)
}

/// Files whose bytes follow one another.
fn divided(parts: &[(String, usize)], mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for (name, size) in parts {
        let (file, rest) = bytes.split_at_checked(*size).ok_or_else(|| Error::bug("files of other sizes"))?;
        files.insert(name.clone(), file.to_vec());
        bytes = rest;
    }
    Ok(files)
}

fn checkpoint(step: u64) -> String {
    format!("{}/{}", run::CHECKPOINTS, step_name(step))
}

/// The lab, if nothing else uses it.
fn alone(lab: &mut Rc<Lab>) -> Result<&mut Lab> {
    Rc::get_mut(lab)
        .ok_or_else(|| Error::input("the models are in use", "wait until the current computation has ended"))
}
