//! Writes static/recorded/page.json, which the page shows before anything is loaded: the answers of the worker's engine with
//! the tiny models. cargo run --release --features page,worker --example record_page
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use detox_lab::error::{Error, Result};
use detox_lab::pace::block_on;
use detox_lab::protocol::*;
use detox_lab::settings::Preset;
use detox_lab::web::page::recorded::{Judged, Recorded, SENTENCES, Written};
use detox_lab::web::worker::inbox::Inbox;
use detox_lab::web::worker::kept_run::Changes;
use detox_lab::web::worker::{Got, Port, work};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

/// Steps whose per-token numbers are saved.
const STEPS: [u64; 3] = [1, 40, 80];
const EVALUATED: usize = 200;
/// Of the summaries with the initial adapter, without it, and with the trained one. With this seed the first repeats the insult.
const SEED: u64 = 3;

/// Reads files from static/, keeps no run, and collects all replies.
#[derive(Clone)]
struct Place {
    replies: Rc<RefCell<Vec<Reply>>>,
    started: Instant,
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("static")
}

impl Port for Place {
    fn reply(&mut self, reply: &Reply, _: Option<&[u8]>) {
        if let Reply::Event { event: Event::Step(step), .. } = reply {
            eprintln!("step {}", step.step);
        }
        self.replies.borrow_mut().push(reply.clone());
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn unix_seconds(&self) -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
    }

    async fn breathe(&mut self) {}

    async fn fetch(&mut self, paths: &[String], got: Got<'_, Self>) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        for path in paths {
            let inside = path.strip_prefix("models/").map_or(path.clone(), |rest| format!("models/tiny/{rest}"));
            let file = home().join(inside);
            let bytes =
                std::fs::read(&file).map_err(|e| Error::file(file.display(), e, "run this in a whole checkout"))?;
            got(self, bytes.len() as u64)?;
            files.push(bytes);
        }
        Ok(files)
    }

    async fn kept(&mut self) -> Result<BTreeMap<String, Vec<u8>>> {
        Ok(BTreeMap::new())
    }

    async fn keep(&mut self, _: Changes, _: &BTreeMap<String, Vec<u8>>, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn main() {
    let place = Place { replies: Rc::default(), started: Instant::now() };
    let inbox = Inbox::default();
    let dialogue = "#Person1#: Dinner is ruined. I fell asleep on the sofa and the apple pie is black.\n#Person2#: How can \
        anybody be such a pathetic, foolish moron, Kevin? Our guests will be here in half an hour!\n#Person1#: Stop \
        shouting. Everybody makes mistakes.\n#Person2#: We'll see about that.";
    let write = |adapter| {
        Ask::Generate(Generate {
            dialogue: dialogue.into(),
            adapter,
            greedy: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: SEED,
            max_new_tokens: 48,
        })
    };
    let sides = [Adapter::Initial, Adapter::Off, Adapter::Policy];
    let mut asks = vec![
        Ask::Load,
        Ask::Tokens { text: dialogue.into(), by: Reader::Policy },
        Ask::Start { config: serde_json::Map::new(), preset: Preset::Corrected, steps: 80 },
        Ask::Train { steps: 80 },
    ];
    asks.extend(sides.map(write));
    asks.extend(SENTENCES.map(|text| Ask::Words { text: text.into() }));
    asks.push(Ask::Evaluate { n: EVALUATED, seed: 0, greedy: false, before: Adapter::Initial, after: Adapter::Policy });
    for (id, ask) in (1..).zip(asks) {
        inbox.push(Message::Request { id, ask }, None);
    }
    inbox.close();
    block_on(work(place.clone(), inbox));

    let replies = place.replies.borrow();
    let answer = |of: Id| {
        let found = replies.iter().find_map(|reply| match reply {
            Reply::Done { id, answer } if *id == of => Some(answer.clone()),
            Reply::Failed { id, error } if *id == of => panic!("request {id}: {error}"),
            _ => None,
        });
        found.unwrap()
    };
    let events = |of: Id| {
        replies
            .iter()
            .filter_map(move |r| if let Reply::Event { id, event } = r { (*id == of).then_some(event) } else { None })
    };
    let Answer::Loaded(mut loaded) = answer(1) else { panic!() };
    loaded.dialogues.clear(); // they come from dialogues.jsonl
    let Answer::Tokens(prompt) = answer(2) else { panic!() };
    let Answer::Run(mut run) = answer(4) else { panic!() };
    let steps: Vec<Step> =
        events(4).filter_map(|e| if let Event::Step(step) = e { Some((**step).clone()) } else { None }).collect();
    run.metrics = steps.iter().map(|step| step.statistics.clone()).collect();
    let steps = steps.into_iter().filter(|step| STEPS.contains(&step.step)).collect();
    let written = (5..).zip(sides).map(|(id, adapter)| {
        let Answer::Generated { text, .. } = answer(id) else { panic!() };
        let tokens =
            events(id).filter_map(|e| if let Event::Token(token) = e { Some(token.clone()) } else { None }).collect();
        Written {
            dialogue: dialogue.into(),
            adapter,
            seed: SEED,
            temperature: 1.0,
            prompt: prompt.clone(),
            tokens,
            text,
        }
    });
    let written = written.collect();
    let judged = (8..).zip(SENTENCES).map(|(id, text)| {
        let Answer::Words { scored, words } = answer(id) else { panic!() };
        Judged { text: text.into(), scored, words }
    });
    let judged = judged.collect();
    let Answer::Evaluated(evaluated) = answer(10) else { panic!() };
    let recorded = Recorded { run: *run, steps, loaded, evaluated: *evaluated, written, judged };
    let (path, part) = (home().join("recorded/page.json"), home().join("recorded/page.json.part"));
    let json = serde_json::to_string(&recorded).unwrap();
    std::fs::write(&part, &json).unwrap();
    std::fs::rename(&part, &path).unwrap();
    eprintln!("{}: {} bytes", path.display(), json.len());
}
