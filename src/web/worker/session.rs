//! Answers requests one after the other. Requests about a run (start, train, save, open, …) are in `run`.

use super::convert;
use super::inbox::{Folder, Inbox, Waiting};
use super::kept_run::KeptRun;
use super::own_data::Data;
use super::port::Port;
use super::reporter::{PROGRESS, Reporter};
use crate::error::{Error, Result};
use crate::io::Memory;
use crate::io::adapter::PeftAdapter;
use crate::lab::evaluate::{EvaluateOptions, evaluation, pairs};
use crate::lab::models::{Actor, INITIAL, Judge, Lab, Labels, POLICY, Precision, kernel, threads};
use crate::lab::responses::{Sampling, responses};
use crate::lab::shipped;
use crate::lab::train::{Peers, Stepped, Trainer};
use crate::pace::Pace;
use crate::protocol::{Adapter, Answer, Ask, Event, Generate, Id, Loaded, Reader, RealModels, Reply, RewardInfo, Word};
use crate::settings::{PpoConfig, Preset};
use crate::text::dialogue::{Dialogue, parse, split};
use crate::text::prompt::Query;
use std::collections::BTreeMap;
use std::rc::Rc;

const POLICY_FILES: [&str; shipped::POLICY.len()] = shipped::names(shipped::POLICY);
const ADAPTER_FILES: [&str; shipped::ADAPTER.len()] = shipped::names(shipped::ADAPTER);
const REWARD_FILES: [&str; shipped::REWARD.len()] = shipped::names(shipped::REWARD);
const POLICY_BYTES: u64 = shipped::bytes(shipped::POLICY);
const REWARD_BYTES: u64 = shipped::bytes(shipped::REWARD);
const ALL_BYTES: u64 = POLICY_BYTES + REWARD_BYTES + shipped::bytes(shipped::ADAPTER) + shipped::DIALOGUES.len() as u64;

/// Rows generated and scored at once in an evaluation, as the command line does; of real models fewer, for memory.
const BATCH: usize = 16;
const REAL_BATCH: usize = 4;
/// Maximum length of a summary in an evaluation, in tokens.
const EVALUATED_TOKENS: usize = 100;
/// Variants of a text that are scored at once.
const VARIANTS: usize = 16;

/// The models and data, once they are loaded.
pub struct Ready {
    pub lab: Rc<Lab>,
    /// The adapter that a new run starts from, and its name in the run's `config.json`.
    pub adapter: PeftAdapter,
    /// None: a fresh one, which every run makes from its own seed.
    pub adapter_name: Option<String>,
    pub test: Vec<Dialogue>,
    pub models: Models,
    /// What the page was told, without the dialogues.
    pub loaded: Loaded,
}

/// Which models are loaded: their names in a run's `config.json`, and the type of their matrices.
pub struct Models {
    pub policy: String,
    pub reward: String,
    pub weights: Precision,
    /// The reward model's labels if they are not nothate and hate.
    pub labels: Option<Labels>,
    /// None: the shipped ones.
    pub real: Option<RealModels>,
}

impl Models {
    /// The settings that a preset has for these models.
    pub fn settings(&self, preset: Preset) -> Result<PpoConfig> {
        if self.real.is_some() { Ok(tab_settings(preset)) } else { shipped::ppo(preset) }
    }
}

/// The lab's settings with batch and lengths that a tab can compute.
pub fn tab_settings(preset: Preset) -> PpoConfig {
    PpoConfig {
        batch_size: 4,
        mini_batch_size: 1,
        output_min_length: 32,
        output_max_length: 33,
        ..PpoConfig::preset(preset)
    }
}

/// A run and its last step.
pub struct Run {
    pub trainer: Trainer<Rc<Lab>, KeptRun>,
    /// What `what_if` recomputes; none before a step was made here.
    pub last: Option<Stepped>,
}

/// What stays from one request to the next.
pub struct Session<P> {
    pub port: P,
    pub inbox: Inbox,
    pub ready: Option<Ready>,
    pub run: Option<Run>,
    /// A person's own dialogues; none: the shipped ones.
    pub data: Option<Data>,
}

/// Answers requests until the inbox is closed. Sends `Ready` first.
pub async fn work<P: Port>(port: P, inbox: Inbox) {
    let mut engine = Session { port, inbox, ready: None, run: None, data: None };
    let kept = engine.kept_info().await;
    // A browser without this storage keeps no models.
    let models = engine.port.models().await.unwrap_or_default();
    let (version, threads, kernel) = (env!("CARGO_PKG_VERSION").into(), threads(), kernel().name().into());
    engine.port.reply(&Reply::Ready { version, threads, kernel, kept, models }, None);
    let inbox = engine.inbox.clone();
    let mut memory = 0;
    while let Some(Waiting { id, ask, bytes, folders }) = inbox.next().await {
        let answered = engine.answer(id, ask, bytes, folders).await;
        inbox.ended(id);
        if let Some(now) = engine.port.memory().filter(|now| *now > memory) {
            memory = now;
            engine.port.reply(&Reply::Event { id, event: Event::Memory(now) }, None);
        }
        match answered {
            Ok((answer, bytes)) => engine.port.reply(&Reply::Done { id, answer }, bytes.as_deref()),
            Err(error) => engine.port.reply(&Reply::Failed { id, error }, None),
        }
    }
}

impl<P: Port> Session<P> {
    async fn answer(
        &mut self,
        id: Id,
        ask: Ask,
        bytes: Option<Vec<u8>>,
        folders: Vec<Folder>,
    ) -> Result<(Answer, Option<Vec<u8>>)> {
        let answer = match ask {
            Ask::Load => Answer::Loaded(self.load(id).await?),
            Ask::Tokens { text, by } => self.tokens(&text, by)?,
            Ask::Generate(how) => self.generate(id, &how).await?,
            Ask::Score { texts } => self.score(id, &texts).await?,
            Ask::Words { text } => self.words(id, &text).await?,
            Ask::Evaluate { n, seed, greedy, before, after } => {
                self.evaluate(id, n, seed, greedy, before, after).await?
            }
            Ask::Start { config, preset, steps } => self.start(id, config, preset, steps).await?,
            Ask::Train { steps } => self.train(id, steps).await?,
            Ask::WhatIf { config, preset } => self.what_if(config, preset)?,
            Ask::Save { what } => return self.save(what),
            Ask::Open { name, files } => self.open(id, &name, &files, &bytes.unwrap_or_default()).await?,
            Ask::Restore => self.restore(id).await?,
            Ask::Forget => {
                self.port.keep(Default::default(), &BTreeMap::new(), &[]).await?;
                Answer::Nothing
            }
            Ask::Needs { models, longest } => self.needs(id, &models, longest, folders).await?,
            Ask::Keep { models, weights } => self.keep_models(id, &models, weights, folders).await?,
            Ask::Use { keys } => Answer::Loaded(self.use_models(id, keys).await?),
            Ask::Data { name } => self.use_data(&name, &bytes.unwrap_or_default()).await?,
            Ask::Remove { keys, partial } => self.remove_models(id, &keys, partial).await?,
        };
        Ok((answer, None))
    }

    /// The loaded models, or an error that says to load them.
    pub fn ready(&self) -> Result<&Ready> {
        let missing = || Error::input("the models are not loaded yet", "load them first (chapter 1)");
        self.ready.as_ref().ok_or_else(missing)
    }

    async fn load(&mut self, id: Id) -> Result<Loaded> {
        let started = self.port.seconds();
        let mut files = self.fetch(id).await?.into_iter();
        let mut folder = |name: &str, names: &[&str]| {
            let files = names.iter().map(|name| name.to_string()).zip(&mut files).collect();
            Memory::new(format!("tiny {name}"), files)
        };
        let policy = folder("policy", &POLICY_FILES);
        let adapter = folder("adapter", &ADAPTER_FILES);
        let reward = folder("reward", &REWARD_FILES);
        let shipped = files.next().unwrap_or_default();
        let data = self.data.as_ref().map(|data| data.rows.clone());
        let (corrected, published) = (shipped::ppo(Preset::Corrected)?, shipped::ppo(Preset::Published)?);
        // Each of these takes a moment, so there is a pause after each for messages.
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, None);
        let mut actor = Actor::load(&policy, corrected.seed)?;
        reporter.pause().await?;
        let adapter = PeftAdapter::read(&adapter)?;
        for warning in actor.begin(&adapter, &corrected)? {
            reporter.tell(Event::Warning(warning));
        }
        let judge = Judge::load(&reward)?;
        reporter.pause().await?;
        let rows = data.map_or_else(|| parse("dialogues.jsonl", &shipped), Ok)?;
        let told =
            rows.iter().map(|d| convert::dialogue(d, d.split == Some(crate::text::dialogue::Split::Test))).collect();
        let (train, test) = split(rows);
        let parameters = judge.model.parameter_count();
        let info = convert::policy(&actor, &adapter.config, POLICY_BYTES)?;
        let lab = Rc::new(Lab { actor, judge, dialogues: train });
        let tiny = || shipped::TINY.to_string();
        let models = Models { policy: tiny(), reward: tiny(), weights: Precision::F32, labels: None, real: None };
        self.run = None;
        let loaded = Loaded {
            bytes: ALL_BYTES,
            policy: info,
            reward: RewardInfo { parameters, bytes: REWARD_BYTES },
            dialogues: Vec::new(),
            corrected: Box::new(corrected),
            published: Box::new(published),
            steps: shipped::STEPS,
            seconds: self.port.seconds() - started,
            real: None,
            data: self.data_words(),
        };
        let answer = Loaded { dialogues: told, ..loaded.clone() };
        self.ready = Some(Ready { lab, adapter, adapter_name: Some(shipped::TINY.into()), test, models, loaded });
        Ok(answer)
    }

    /// Everything that ships with the page: policy, adapter, reward model, dialogues.
    async fn fetch(&mut self, id: Id) -> Result<Vec<Vec<u8>>> {
        let folder =
            |name: &'static str, files: &'static [&str]| files.iter().map(move |file| format!("models/{name}/{file}"));
        let mut paths: Vec<String> = folder("policy", &POLICY_FILES).collect();
        paths.extend(folder("adapter", &ADAPTER_FILES).chain(folder("reward", &REWARD_FILES)));
        paths.push("dialogues.jsonl".into());
        let inbox = self.inbox.clone();
        let (mut done, mut told) = (0, f64::NEG_INFINITY);
        let mut got = |port: &mut P, bytes: u64| {
            done += bytes;
            if bytes > 0 && (done == ALL_BYTES || port.seconds() - told >= PROGRESS) {
                told = port.seconds();
                port.reply(&Reply::Event { id, event: Event::Bytes { done, of: ALL_BYTES } }, None);
            }
            if inbox.stopped(id) { Err(Error::Stopped) } else { Ok(()) }
        };
        self.port.fetch(&paths, &mut got).await
    }

    fn tokens(&self, text: &str, by: Reader) -> Result<Answer> {
        let lab = &self.ready()?.lab;
        let (tokenizer, ids) = match by {
            Reader::Policy => {
                let tokenizer = lab.actor.tokenizer()?;
                (tokenizer, Query::new(tokenizer, text)?.ids)
            }
            Reader::Reward => (lab.judge.tokenizer()?, lab.judge.encode(text)?),
        };
        Ok(Answer::Tokens(convert::pieces(tokenizer, &ids)))
    }

    async fn generate(&mut self, id: Id, how: &Generate) -> Result<Answer> {
        let lab = self.ready()?.lab.clone();
        let tokenizer = lab.actor.tokenizer()?;
        let query = Query::new(tokenizer, &how.dialogue)?;
        let sampling = Sampling {
            greedy: how.greedy,
            temperature: how.temperature,
            top_k: how.top_k,
            top_p: how.top_p,
            ..Sampling::default()
        };
        let started = self.port.seconds();
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, Some(tokenizer));
        reporter.streams = true;
        let made = responses(
            &lab.actor,
            adapter(how.adapter),
            &[query.ids],
            how.max_new_tokens,
            &sampling,
            how.seed,
            0,
            &mut reporter,
        )
        .await?;
        let made = made.first().ok_or_else(|| Error::bug("nothing was generated"))?;
        Ok(Answer::Generated {
            text: tokenizer.decode(&made.ids, true)?,
            tokens: made.ids.len() - 1,
            ended: made.ended,
            seconds: self.port.seconds() - started,
        })
    }

    async fn score(&mut self, id: Id, texts: &[String]) -> Result<Answer> {
        let lab = self.ready()?.lab.clone();
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, None);
        Ok(Answer::Scored(lab.judge.score(texts, true, &mut reporter).await?))
    }

    /// The contribution of each word. A word's first token begins with a space.
    async fn words(&mut self, id: Id, text: &str) -> Result<Answer> {
        let lab = self.ready()?.lab.clone();
        let words: Vec<&str> = text.split_whitespace().collect();
        let ids = lab.judge.encode(&words.join(" "))?;
        let pieces = lab.judge.tokenizer()?.pieces(&ids);
        let mut spans: Vec<std::ops::Range<usize>> = Vec::new();
        for (i, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.special) {
            match spans.last_mut() {
                Some(span) if !piece.text.starts_with(' ') => span.end = i + 1,
                _ => spans.push(i..i + 1),
            }
        }
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, None);
        let scored = lab.judge.score_ids(std::slice::from_ref(&ids), false, &mut reporter).await?;
        let changes = lab.judge.model.attribution(&ids, &spans, VARIANTS, &mut reporter).await?;
        let shown = |(i, span): (usize, &std::ops::Range<usize>)| match words.get(i) {
            Some(word) if words.len() == spans.len() => (*word).to_string(),
            _ => pieces[span.clone()].iter().map(|p| p.text.as_str()).collect::<String>().trim().to_string(),
        };
        let words = spans.iter().enumerate().map(shown).zip(&changes);
        let words = words.map(|(text, change)| Word { text, change: *change }).collect();
        let scored = *scored.first().ok_or_else(|| Error::input("there is no text", "type a few words"))?;
        Ok(Answer::Words { scored, words })
    }

    async fn evaluate(
        &mut self,
        id: Id,
        n: usize,
        seed: u64,
        greedy: bool,
        before: Adapter,
        after: Adapter,
    ) -> Result<Answer> {
        let ready =
            self.ready.as_ref().ok_or_else(|| Error::input("the models are not loaded yet", "load them first"))?;
        let config = match &self.run {
            Some(run) => run.trainer.config.ppo.clone(),
            None => ready.models.settings(Preset::Corrected)?,
        };
        let lab = ready.lab.clone();
        let batch = if ready.models.real.is_some() { REAL_BATCH } else { BATCH };
        let options =
            EvaluateOptions { n, max_new_tokens: EVALUATED_TOKENS, greedy, seed, batch_size: batch.min(n.max(1)) };
        let config =
            PpoConfig { eval_samples_plus_one: config.eval_samples_plus_one && ready.test.len() > n, ..config };
        let mut reporter = Reporter::new(&mut self.port, self.inbox.clone(), id, lab.actor.tokenizer.as_ref());
        let (was, is) = (adapter(before), adapter(after));
        let peers = Peers::alone();
        let found =
            pairs(&lab.actor, &lab.judge, &ready.test, was, is, &options, &config, &peers, &mut reporter).await?;
        let numbers = evaluation(&found, &options)?;
        Ok(Answer::Evaluated(Box::new(convert::evaluated(numbers, &found)?)))
    }
}

/// The lab's name of an adapter.
fn adapter(which: Adapter) -> Option<&'static str> {
    match which {
        Adapter::Policy => Some(POLICY),
        Adapter::Initial => Some(INITIAL),
        Adapter::Off => None,
    }
}
