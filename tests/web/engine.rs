//! The worker's engine without a browser. Every request ends in exactly one answer, numbers equal those of the command line, a
//! stop returns to the last complete step, and kept or saved runs continue with the same bytes.

use super::real::{Shelf, plain};
use detox_lab::error::{Error, Result};
use detox_lab::io::ByteSource;
use detox_lab::pace::block_on;
use detox_lab::protocol::*;
use detox_lab::settings::Preset;
use detox_lab::web::worker::inbox::{Folder, Inbox};
use detox_lab::web::worker::kept_run::{Changes, STAMP};
use detox_lab::web::worker::{Got, ModelFile, Port, work};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

pub type Files = BTreeMap<String, Vec<u8>>;

/// A reply, and the bytes sent with it.
pub type Told = (Reply, Option<Vec<u8>>);

/// What the page does after a reply.
pub type Reaction = Box<dyn FnMut(&Reply, &Inbox)>;

/// A browser tab: files from `static/`, kept files in memory, replies in a list.
#[derive(Clone)]
pub struct Place {
    pub replies: Rc<RefCell<Vec<Told>>>,
    pub kept: Rc<RefCell<Files>>,
    pub inbox: Inbox,
    pub react: Rc<RefCell<Reaction>>,
    pub started: Instant,
    pub full: bool,
    pub shelf: Shelf,
}

impl Place {
    pub fn new() -> Self {
        Self {
            replies: Rc::default(),
            kept: Rc::default(),
            inbox: Inbox::default(),
            react: Rc::new(RefCell::new(Box::new(|_, _| {}))),
            started: Instant::now(),
            full: false,
            shelf: Shelf::default(),
        }
    }

    /// Sends all requests, lets the engine work to the end, and returns the answers in order, without events.
    pub fn ask(&self, asks: Vec<(Ask, Option<Vec<u8>>)>) -> Vec<Told> {
        self.ask_with(asks.into_iter().map(|(ask, bytes)| (ask, bytes, Vec::new())).collect())
    }

    /// The same with the files of models beside the requests.
    pub fn ask_with(&self, asks: Vec<(Ask, Option<Vec<u8>>, Vec<Folder>)>) -> Vec<Told> {
        let n = asks.len();
        for (id, (ask, bytes, folders)) in (1..).zip(asks) {
            // As between worker and page: to JSON and back.
            let json = serde_json::to_string(&Message::Request { id, ask }).unwrap();
            self.inbox.push_with(serde_json::from_str(&json).unwrap(), bytes, folders);
        }
        self.inbox.close();
        block_on(work(self.clone(), self.inbox.clone()));
        let replies = self.replies.borrow();
        assert!(matches!(replies[0].0, Reply::Ready { .. }), "the worker speaks first");
        let ends: Vec<_> =
            replies.iter().filter(|(r, _)| matches!(r, Reply::Done { .. } | Reply::Failed { .. })).collect();
        let ids: Vec<Id> = ends.iter().map(|(r, _)| id_of(r)).collect();
        assert_eq!(ids, (1..=n as Id).collect::<Vec<_>>(), "each request ends exactly once, in order");
        for (reply, _) in replies.iter() {
            let json = serde_json::to_string(reply).unwrap();
            assert_eq!(&serde_json::from_str::<Reply>(&json).unwrap(), reply, "JSON loses nothing");
        }
        ends.into_iter().cloned().collect()
    }

    pub fn events(&self, of: Id) -> Vec<Event> {
        let event = |(reply, _): &Told| match reply {
            Reply::Event { id, event } if *id == of => Some(event.clone()),
            _ => None,
        };
        self.replies.borrow().iter().filter_map(event).collect()
    }
}

fn id_of(reply: &Reply) -> Id {
    match reply {
        Reply::Done { id, .. } | Reply::Failed { id, .. } | Reply::Event { id, .. } => *id,
        Reply::Ready { .. } => 0,
    }
}

impl Port for Place {
    fn reply(&mut self, reply: &Reply, bytes: Option<&[u8]>) {
        (self.react.borrow_mut())(reply, &self.inbox);
        self.replies.borrow_mut().push((reply.clone(), bytes.map(<[u8]>::to_vec)));
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn unix_seconds(&self) -> f64 {
        1.0e9
    }

    async fn breathe(&mut self) {}

    async fn fetch(&mut self, paths: &[String], got: Got<'_, Self>) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        for path in paths {
            let file = path.strip_prefix("models/").map_or(path.to_string(), |rest| format!("models/tiny/{rest}"));
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static").join(file);
            let bytes = std::fs::read(&file).map_err(|e| Error::file(path, e, "load again"))?;
            for chunk in bytes.chunks(1 << 20) {
                got(self, chunk.len() as u64)?;
            }
            files.push(bytes);
        }
        Ok(files)
    }

    async fn kept(&mut self) -> Result<Files> {
        Ok(self.kept.borrow().clone())
    }

    async fn keep(&mut self, changes: Changes, whole: &Files, stamp: &[u8]) -> Result<()> {
        if self.full {
            return Err(Error::input("no room", "save the run as a zip"));
        }
        changes.apply(whole, stamp, &mut self.kept.borrow_mut());
        Ok(())
    }

    async fn models(&mut self) -> Result<Vec<KeptModel>> {
        Ok(self.shelf.all())
    }

    async fn model(&mut self, key: &str, name: &str) -> Result<Box<dyn ByteSource>> {
        self.shelf.open(key, name)
    }

    async fn new_model(&mut self, key: &str) -> Result<Box<dyn ModelFile>> {
        Ok(self.shelf.create(key))
    }

    async fn model_accuracy(&mut self, key: &str, words: &str) {
        self.shelf.note(key, words);
    }

    async fn remove_model(&mut self, key: &str) -> Result<()> {
        self.shelf.remove(key)
    }
}

pub fn done(reply: &Reply) -> &Answer {
    match reply {
        Reply::Done { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

pub fn failed(reply: &Reply) -> String {
    match reply {
        Reply::Failed { error, .. } => {
            let (what, hint) = (error.what(), error.hint());
            assert!(!hint.is_empty(), "{what}: nothing to try");
            format!("{what} ({hint})")
        }
        other => panic!("{other:?}"),
    }
}

/// A small and fast run: 4 rows, 6 tokens.
fn small() -> Map<String, Value> {
    let config =
        json!({"batch_size": 4, "mini_batch_size": 2, "output_min_length": 6, "output_max_length": 7, "seed": 3});
    config.as_object().unwrap().clone()
}

fn start(steps: u64) -> Ask {
    Ask::Start { config: small(), preset: Preset::Corrected, steps }
}

pub fn run_info(reply: &Reply) -> &RunInfo {
    match done(reply) {
        Answer::Run(info) => info,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_chapters_answer_with_computed_numbers() {
    let place = Place::new();
    let dialogue = "#Person1#: You are late again, Tom.\n#Person2#: Sorry, the bus broke down.".to_string();
    let how = |adapter| Generate {
        dialogue: dialogue.clone(),
        adapter,
        greedy: true,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        seed: 1,
        max_new_tokens: 12,
    };
    let sentences = [
        "#Person1# tells Tommy that he didn't like the movie.",
        "#Person1# tells #Person2# that the movie was terrible, dumb and stupid.",
    ];
    let evaluate = |after| Ask::Evaluate { n: 3, seed: 5, greedy: true, before: Adapter::Initial, after };
    let ends = place.ask(plain(vec![
        Ask::Load,
        Ask::Tokens { text: dialogue.clone(), by: Reader::Policy },
        Ask::Generate(how(Adapter::Policy)),
        Ask::Score { texts: sentences.map(String::from).to_vec() },
        Ask::Words { text: sentences[1].into() },
        evaluate(Adapter::Initial),
        evaluate(Adapter::Off),
    ]));
    let Answer::Loaded(loaded) = done(&ends[0].0) else { panic!("{:?}", ends[0]) };
    assert_eq!(loaded.policy.base_parameters, 5_618_880);
    assert!(loaded.dialogues.iter().filter(|d| d.held_out).count() >= 200);
    let bytes = |e: &Event| if let Event::Bytes { done, of } = e { Some((*done, *of)) } else { None };
    let (last, of) = place.events(1).iter().filter_map(bytes).next_back().unwrap();
    assert_eq!(last, of, "all bytes were announced");

    let Answer::Tokens(pieces) = done(&ends[1].0) else { panic!("{:?}", ends[1]) };
    assert_eq!(pieces.last().unwrap().text, "</s>");
    let Answer::Generated { text, tokens, .. } = done(&ends[2].0) else { panic!("{:?}", ends[2]) };
    let streamed: Vec<Token> =
        place.events(3).into_iter().filter_map(|e| if let Event::Token(t) = e { Some(t) } else { None }).collect();
    assert_eq!(streamed.len(), *tokens);
    for token in &streamed {
        assert_eq!(token.id, token.top[0].id, "greedy takes the most probable");
        assert!((token.top[0].probability - token.logprob.exp()).abs() < 1e-5);
        assert!(token.top.windows(2).all(|w| w[0].probability >= w[1].probability));
    }
    let joined: String = streamed.iter().filter(|t| t.text != "</s>").map(|t| t.text.as_str()).collect();
    assert_eq!(joined.trim(), text.trim());

    let Answer::Scored(scored) = done(&ends[3].0) else { panic!("{:?}", ends[3]) };
    assert!(scored[0].score > 1.0 && scored[1].score < -1.0, "{scored:?}");
    let Answer::Words { scored: whole, words } = done(&ends[4].0) else { panic!("{:?}", ends[4]) };
    assert!((whole.score - scored[1].score).abs() < 1e-5);
    assert_eq!(words.len(), sentences[1].split(' ').count());
    let worst = words.iter().max_by(|a, b| a.change.total_cmp(&b.change)).unwrap();
    assert!(["dumb", "stupid.", "terrible,"].contains(&worst.text.as_str()), "{words:?}");

    let Answer::Evaluated(same) = done(&ends[5].0) else { panic!("{:?}", ends[5]) };
    assert_eq!(same.numbers.before, same.numbers.after);
    assert!(same.numbers.kl.abs() < 1e-4, "{}", same.numbers.kl);
    let Answer::Evaluated(other) = done(&ends[6].0) else { panic!("{:?}", ends[6]) };
    assert_eq!(other.numbers.before, same.numbers.before);
    assert_eq!(other.rows.len(), 3);
    assert!(other.csv.lines().count() >= 4);
}

/// A run's files, without dates in names and times in lines.
fn lasting(files: &Files) -> Files {
    let dated = |name: &str| name.starts_with("events.") || name == "timings.jsonl" || name == STAMP;
    files.iter().filter(|(name, _)| !dated(name)).map(|(n, b)| (n.clone(), b.clone())).collect()
}

#[test]
fn a_run_stopped_kept_restored_and_opened_equals_an_uninterrupted_one() {
    let twin = Place::new();
    let ends = twin.ask(plain(vec![Ask::Load, start(3), Ask::Train { steps: 3 }, Ask::Save { what: Saved::Run }]));
    let info = run_info(&ends[2].0);
    assert_eq!((info.step, info.steps, info.metrics.len()), (3, 3, 0));
    let zip = ends[3].1.clone().unwrap();
    let steps: Vec<Step> =
        (twin.events(3).into_iter()).filter_map(|e| if let Event::Step(s) = e { Some(*s) } else { None }).collect();
    assert_eq!(steps.len(), 3);
    let step = &steps[2];
    let lines = detox_lab::io::zip::unpack(&zip, "run.zip").unwrap();
    let lines = String::from_utf8(lines["metrics.jsonl"].clone()).unwrap();
    assert_eq!(step.statistics, serde_json::from_str(lines.lines().nth(2).unwrap()).unwrap());
    let g = &step.grids;
    for k in (0..g.mask.data.len()).filter(|k| g.mask.data[*k] > 0.0) {
        assert!((g.returns.data[k] - g.advantages.data[k] - g.old_values.data[k]).abs() < 1e-5);
    }

    // Stopped in the middle of the second step, restored in another worker, then opened from a zip in a third.
    let first = Place::new();
    *first.react.borrow_mut() = Box::new({
        let mut seen = 0;
        move |reply, inbox| {
            if let Reply::Event { id: 3, event: Event::Reached(8) } = reply {
                seen += 1;
                if seen == 2 {
                    inbox.push(Message::Stop(3), None);
                }
            }
        }
    });
    let ends = first.ask(plain(vec![Ask::Load, start(3), Ask::Train { steps: 3 }]));
    assert_eq!(ends[2].0, Reply::Failed { id: 3, error: Error::Stopped });
    let second = Place { kept: first.kept.clone(), ..Place::new() };
    let ends =
        second.ask(plain(vec![Ask::Load, Ask::Restore, Ask::Train { steps: 1 }, Ask::Save { what: Saved::Run }]));
    assert!(matches!(&second.replies.borrow()[0].0, Reply::Ready { kept: Some(info), .. } if info.step == 1));
    assert_eq!(run_info(&ends[2].0).step, 2);
    let third = Place::new();
    let open = (Ask::Open { name: "run.zip".into(), files: vec![] }, ends[3].1.clone());
    let ends = third.ask(vec![(Ask::Load, None), open, (Ask::Train { steps: 1 }, None)]);
    assert_eq!(run_info(&ends[2].0).step, 3);
    assert_eq!(lasting(&third.kept.borrow()), lasting(&twin.kept.borrow()));

    // The zip contains the folder that the command line writes.
    let files = detox_lab::io::zip::unpack(&zip, "run.zip").unwrap();
    assert_eq!(lasting(&files), lasting(&twin.kept.borrow()));
    assert!(files.contains_key("checkpoints/step-00003/adapter_model.safetensors"));
}

#[test]
fn stage_by_stage_waits_at_each_stage_until_told_to_go() {
    let place = Place::new();
    place.inbox.push(Message::StageByStage(true), None);
    let seen: Rc<RefCell<Vec<u8>>> = Rc::default();
    *place.react.borrow_mut() = Box::new({
        let seen = seen.clone();
        move |reply, inbox| {
            if let Reply::Event { id, event: Event::Stage(stage) } = reply {
                seen.borrow_mut().push(stage.number());
                inbox.push(Message::Go(*id), None);
            }
        }
    });
    place.ask(plain(vec![Ask::Load, start(1), Ask::Train { steps: 1 }]));
    assert_eq!(*seen.borrow(), [3, 4, 5, 6, 7, 8, 9, 10, 9, 10, 11]);
}

#[test]
fn what_if_gives_the_same_step_and_changes_with_the_settings() {
    let place = Place::new();
    let what_if = |change: Value| {
        let mut config = small();
        config.extend(change.as_object().unwrap().clone());
        Ask::WhatIf { config, preset: Preset::Corrected }
    };
    let ends = place.ask(plain(vec![
        Ask::Load,
        start(1),
        Ask::Train { steps: 1 },
        what_if(json!({})),
        what_if(json!({"kl_coef": 3.0, "lambda": 0.5, "clip_range": 0.01})),
        what_if(json!({"gamma": 0.0, "seed": 9})),
        what_if(json!({"gamma": 7.0})),
    ]));
    let answer = |k: usize| match done(&ends[k].0) {
        Answer::WhatIf(x) => x.clone(),
        other => panic!("{other:?}"),
    };
    let Some(Event::Step(step)) = place.events(3).into_iter().find(|e| matches!(e, Event::Step(_))) else { panic!() };
    let same = answer(3);
    assert_eq!(same.grids, step.grids, "the same settings give the same numbers");
    assert_eq!(same.stats, same.was);
    assert!(same.not_shown.is_empty());
    let other = answer(4);
    assert_ne!(other.grids.advantages, step.grids.advantages);
    assert_eq!(other.grids.old_logprobs, step.grids.old_logprobs);
    assert!(other.stats.clip_fraction >= same.stats.clip_fraction);
    let nothing_ahead = answer(5);
    assert_eq!(nothing_ahead.not_shown, ["seed"]);
    let g = &nothing_ahead.grids;
    for k in (0..g.mask.data.len()).filter(|k| g.mask.data[*k] > 0.0) {
        assert!((g.returns.data[k] - g.rewards.data[k]).abs() < 1e-5, "with gamma 0 a return is its own reward");
    }
    assert!(failed(&ends[6].0).contains("gamma"));
}

#[test]
fn failed_requests_say_why_and_the_engine_continues() {
    let place = Place { full: true, ..Place::new() };
    let zip = |name: &str, content: &[u8]| {
        let files = Files::from([(name.to_string(), content.to_vec())]);
        detox_lab::io::zip::pack(&files).unwrap()
    };
    let open = |bytes: Vec<u8>| (Ask::Open { name: "a.zip".into(), files: vec![] }, Some(bytes));
    let asks = vec![
        (Ask::Score { texts: vec!["hello".into()] }, None),
        (Ask::Load, None),
        (Ask::Train { steps: 1 }, None),
        (Ask::WhatIf { config: Map::new(), preset: Preset::Corrected }, None),
        (
            Ask::Start {
                config: json!({"learning_rat": 1}).as_object().unwrap().clone(),
                preset: Preset::Corrected,
                steps: 1,
            },
            None,
        ),
        open(b"no zip".to_vec()),
        open(zip("readme.txt", b"hello")),
        open(zip("config.json", b"{}")),
        (Ask::Restore, None),
        (start(1), None),
        (Ask::Evaluate { n: 0, seed: 0, greedy: true, before: Adapter::Off, after: Adapter::Off }, None),
        (Ask::Score { texts: vec!["hello".into()] }, None),
    ];
    let ends = place.ask(asks);
    let parts = "not loaded|no run|no run|learning_rat|a.zip|a.zip|config.json|has no saved run|no room|0 dialogues";
    for (k, part) in [0, 2, 3, 4, 5, 6, 7, 8, 9, 10].into_iter().zip(parts.split('|')) {
        let said = failed(&ends[k].0);
        assert!(said.contains(part), "{k}: {said}");
    }
    assert!(matches!(done(&ends[11].0), Answer::Scored(s) if s.len() == 1));
}
