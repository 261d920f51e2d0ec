//! A second worker, for long work on the files of models: it answers one request and ends. The first worker goes on meanwhile.

use super::channel::{Channel, Chosen, Heard};
use crate::error::Error;
use crate::protocol::{Answer, Ask, Event, Id, Message, Reply};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const ID: Id = 1;

/// How the request ended.
pub type End = Result<Answer, Error>;

type OnEnd = Box<dyn FnOnce(End)>;

/// The running request; clones refer to the same one.
#[derive(Clone)]
pub struct Job(Rc<Inner>);

struct Inner {
    worker: RefCell<Option<Channel>>,
    on_end: Cell<Option<OnEnd>>,
}

impl Job {
    /// Starts a worker and asks it; the files travel beside the message.
    pub fn start(ask: Ask, files: Vec<Chosen>, on_event: Box<dyn Fn(Event)>, on_end: OnEnd) -> Self {
        let job = Self(Rc::new(Inner { worker: RefCell::default(), on_end: Cell::new(Some(on_end)) }));
        let request = Message::Request { id: ID, ask };
        let listener = job.clone();
        let channel = Channel::open(move |heard| match heard {
            Heard::Reply(reply, _) => match *reply {
                Reply::Ready { .. } => {
                    let sent = listener.0.worker.borrow().as_ref().map(|worker| worker.post(&request, None, &files));
                    if let Some(Err(why)) = sent {
                        let what = format!("the files could not be handed over: {why}");
                        listener.end(Err(Error::input(what, "choose them again")));
                    }
                }
                Reply::Event { event, .. } => on_event(event),
                Reply::Done { answer, .. } => listener.end(Ok(answer)),
                Reply::Failed { error, .. } => listener.end(Err(error)),
            },
            Heard::Unreadable(error) => listener.end(Err(Error::input(error, "reload the page"))),
            Heard::Lost(why) => listener.lost(&why),
        });
        match channel {
            Ok(channel) => *job.0.worker.borrow_mut() = Some(channel),
            Err(why) => job.lost(&why),
        }
        job
    }

    /// Ends the worker, in the middle of whatever it does.
    pub fn cancel(&self) {
        self.end(Err(Error::Stopped));
    }

    fn lost(&self, why: &str) {
        let hint = "load what the list has by now, or try again; if it happens again, choose smaller models";
        self.end(Err(Error::input(format!("The second worker has stopped: {why}"), hint)));
    }

    fn end(&self, end: End) {
        if let Some(worker) = self.0.worker.take() {
            worker.close();
        }
        if let Some(on_end) = self.0.on_end.take() {
            on_end(end);
        }
    }
}
