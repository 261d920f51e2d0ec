//! The connection to the worker: passes messages to it and replies to `requests` and `state`, and starts another worker if one
//! stops. `engine` decides what to ask.

use super::browser::now;
use super::channel::{Channel, Heard};
use super::requests::{End, OnEnd, OnEvent, Post, Requests};
use super::state::State;
use crate::error::Error;
use crate::protocol::{Ask, Id, KeptModel, Message, Reply, RunInfo};
use std::cell::RefCell;
use std::rc::Rc;

/// After so many workers have stopped without a message, the page gives up.
const TRIES: u32 = 2;

const LOST_HINT: &str =
    "The worker is started again; the run continues from the last complete step that this browser saved";

/// A handle; clones refer to the same worker.
#[derive(Clone)]
pub struct Client(Rc<RefCell<Inner>>);

struct Inner {
    state: State,
    requests: Requests,
    worker: Option<Channel>,
    /// Workers that stopped since the last message from one.
    silent: u32,
    /// Called when a worker listens.
    on_ready: Rc<dyn Fn()>,
}

impl Client {
    /// Starts the first worker. `on_ready` is called whenever one listens.
    pub fn start(state: State, on_ready: impl Fn() + 'static) -> Self {
        let inner =
            Inner { state, requests: Requests::default(), worker: None, silent: 0, on_ready: Rc::new(on_ready) };
        let client = Self(Rc::new(RefCell::new(inner)));
        client.spawn();
        client
    }

    /// Sends a request; `on_end` is called when it has ended, with or without an error.
    pub fn ask(&self, ask: Ask, bytes: Option<Vec<u8>>, on_event: Option<OnEvent>, on_end: Option<OnEnd>) -> Id {
        let (id, post) = self.0.borrow_mut().requests.ask(ask, bytes, on_event, on_end);
        if let Some(post) = post {
            self.post(post);
        }
        self.queue();
        id
    }

    /// Asks a request to stop at its next pause point. It may still end normally.
    pub fn stop(&self, id: Id) {
        let sent = self.0.borrow_mut().requests.stop(id);
        if sent {
            self.post((Message::Stop(id), None));
        } else {
            self.end(id, Err(Error::Stopped));
        }
        self.queue();
    }

    /// Posts a message that needs no answer.
    pub fn tell(&self, message: Message) {
        self.post((message, None));
    }

    fn state(&self) -> State {
        self.0.borrow().state
    }

    fn queue(&self) {
        let inner = self.0.borrow();
        inner.state.queue(&inner.requests);
    }

    fn spawn(&self) {
        let client = self.clone();
        match Channel::open(move |heard| client.hear(heard)) {
            Ok(channel) => self.0.borrow_mut().worker = Some(channel),
            Err(why) => self.lost(&why),
        }
    }

    fn post(&self, (message, bytes): Post) {
        let sent = self.0.borrow().worker.as_ref().map(|worker| worker.post(&message, bytes, &[]));
        if let Some(Err(why)) = sent {
            self.lost(&why);
        }
    }

    fn hear(&self, heard: Heard) {
        match heard {
            Heard::Reply(reply, bytes) => self.reply(*reply, bytes),
            Heard::Unreadable(error) => self.state().tell(
                true,
                format!("This page cannot read a message from its worker: {error}"),
                "Reload the page, so that the page and the worker have the same version".into(),
            ),
            Heard::Lost(why) => self.lost(&why),
        }
    }

    fn reply(&self, reply: Reply, bytes: Option<Vec<u8>>) {
        let state = self.state();
        match reply {
            Reply::Ready { version, threads, kernel, kept, models } => {
                self.ready(&version, (threads, kernel), kept, models);
            }
            Reply::Event { id, event } => {
                state.event(id, &event, now());
                let listener = self.0.borrow_mut().requests.listener(id);
                if let Some(mut listener) = listener {
                    listener(&event);
                    self.0.borrow_mut().requests.listen(id, listener);
                }
            }
            Reply::Done { id, answer } => self.end(id, Ok((answer, bytes))),
            Reply::Failed { id, error } => self.end(id, Err(error)),
        }
    }

    fn ready(&self, version: &str, engine: (usize, String), kept: Option<RunInfo>, models: Vec<KeptModel>) {
        let state = self.state();
        if version != env!("CARGO_PKG_VERSION") {
            let what = format!("The page has version {} and its worker {version}", env!("CARGO_PKG_VERSION"));
            state.tell(true, what, "Reload the page".into());
        }
        state.ready(engine, kept, models);
        let (posts, on_ready) = {
            let mut inner = self.0.borrow_mut();
            inner.silent = 0;
            (inner.requests.ready(), inner.on_ready.clone())
        };
        self.tell(Message::StageByStage(leptos::prelude::GetUntracked::get_untracked(&state.stage_by_stage)));
        posts.into_iter().for_each(|post| self.post(post));
        on_ready();
        self.queue();
    }

    fn end(&self, id: Id, end: End) {
        let closed = self.0.borrow_mut().requests.end(id, end);
        let Some((ask, end, on_end)) = closed else { return };
        if end.is_err() {
            let in_vain = self.0.borrow_mut().requests.failed(id, &ask);
            in_vain.into_iter().for_each(|id| self.post((Message::Stop(id), None)));
        }
        self.state().ended(&ask, &end);
        if let Some(on_end) = on_end {
            on_end(&end);
        }
        self.queue();
    }

    /// Ends all open requests and starts another worker, unless several have failed already.
    fn lost(&self, why: &str) {
        let (open, state, for_good) = {
            let mut inner = self.0.borrow_mut();
            if let Some(old) = inner.worker.take() {
                old.close();
            }
            inner.silent += 1;
            (inner.requests.lost(), inner.state, inner.silent >= TRIES)
        };
        state.lost(why, for_good);
        let hint =
            if for_good { "Reload the page or try another browser; the recorded run still works" } else { LOST_HINT };
        let end = Err(Error::input(format!("The worker has stopped: {why}"), hint));
        for (_, ask, on_end) in open {
            state.ended(&ask, &end);
            if let Some(on_end) = on_end {
                on_end(&end);
            }
        }
        if !for_good {
            self.spawn();
        }
        self.queue();
    }
}
