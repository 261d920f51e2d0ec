//! A second worker, for long work on the files of models: it answers one request and ends. The first worker goes on meanwhile.

use super::client::{WORKER, readable, text, words};
use super::json;
use crate::error::Error;
use crate::protocol::{Answer, Ask, Event, Id, Message, Reply, Role};
use gloo_events::{EventListener, EventListenerOptions};
use js_sys::{Array, Object, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{File, MessageEvent, Worker, WorkerOptions, WorkerType};

const ID: Id = 1;

/// How the request ended.
pub type End = Result<Answer, Error>;

type OnEnd = Box<dyn FnOnce(End)>;

/// A file of one of the two models.
pub type Chosen = (Role, File);

/// The running request; clones refer to the same one.
#[derive(Clone)]
pub struct Job(Rc<Inner>);

struct Inner {
    worker: RefCell<Option<(Worker, Vec<EventListener>)>>,
    panic: RefCell<Option<String>>,
    on_end: Cell<Option<OnEnd>>,
}

impl Job {
    /// Starts a worker and asks it; the files travel beside the message.
    pub fn start(ask: Ask, files: Vec<Chosen>, on_event: Box<dyn Fn(Event)>, on_end: OnEnd) -> Self {
        let inner = Inner { worker: RefCell::default(), panic: RefCell::default(), on_end: Cell::default() };
        inner.on_end.set(Some(on_end));
        let job = Self(Rc::new(inner));
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = match Worker::new_with_options(WORKER, &options) {
            Ok(worker) => worker,
            Err(error) => {
                job.lost(&words(&error));
                return job;
            }
        };
        let listener = job.clone();
        let on_message = EventListener::new(&worker, "message", move |event| {
            listener.hear(&event.unchecked_ref::<MessageEvent>().data(), &ask, &files, &on_event);
        });
        let on_error = |kind: &'static str| {
            let job = job.clone();
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&worker, kind, options, move |event| {
                event.prevent_default();
                job.lost(&text(event, "message").unwrap_or_default());
            })
        };
        let listeners = vec![on_message, on_error("error"), on_error("messageerror")];
        *job.0.worker.borrow_mut() = Some((worker, listeners));
        job
    }

    /// Ends the worker, in the middle of whatever it does.
    pub fn cancel(&self) {
        self.end(Err(Error::Stopped));
    }

    fn hear(&self, data: &JsValue, ask: &Ask, files: &[Chosen], on_event: &dyn Fn(Event)) {
        if let Some(panic) = text(data, "panic") {
            *self.0.panic.borrow_mut() = Some(panic);
            return;
        }
        match text(data, "json").map(|json| json::read::<Reply>(&json)) {
            Some(Ok(Reply::Ready { .. })) => {
                if let Some((worker, _)) = &*self.0.worker.borrow()
                    && let Err(error) = post(worker, ask, files)
                {
                    let what = format!("the files could not be handed over: {}", words(&error));
                    wasm_bindgen_futures::spawn_local({
                        let job = self.clone();
                        async move { job.end(Err(Error::input(what, "choose them again"))) }
                    });
                }
            }
            Some(Ok(Reply::Event { event, .. })) => on_event(event),
            Some(Ok(Reply::Done { answer, .. })) => self.end(Ok(answer)),
            Some(Ok(Reply::Failed { error, .. })) => self.end(Err(error)),
            Some(Err(error)) => self.end(Err(Error::input(error, "reload the page"))),
            None => {}
        }
    }

    fn lost(&self, what: &str) {
        let why = self.0.panic.take().unwrap_or_else(|| what.to_owned());
        let hint = "try again; if it happens again, choose smaller models";
        self.end(Err(Error::input(format!("The second worker has stopped: {}", readable(&why)), hint)));
    }

    fn end(&self, end: End) {
        if let Some((worker, listeners)) = self.0.worker.take() {
            worker.terminate();
            // This may be running inside one of the listeners, so they are removed after it has returned.
            wasm_bindgen_futures::spawn_local(async move { drop(listeners) });
        }
        if let Some(on_end) = self.0.on_end.take() {
            on_end(end);
        }
    }
}

/// Posts `{json, files}`; files are handed over by reference, not read.
fn post(worker: &Worker, ask: &Ask, files: &[Chosen]) -> Result<(), JsValue> {
    let message = Message::Request { id: ID, ask: ask.clone() };
    let json = serde_json::to_string(&message).map_err(|error| JsValue::from_str(&error.to_string()))?;
    let list = Array::new();
    for (role, file) in files {
        let role = if *role == Role::Policy { "policy" } else { "reward" };
        list.push(&Array::of3(&role.into(), &file.name().into(), file));
    }
    let data = Object::new();
    Reflect::set(&data, &"json".into(), &json.into())?;
    Reflect::set(&data, &"files".into(), &list)?;
    worker.post_message(&data)
}
