//! The connection to the worker: starts it, posts messages as JSON with bytes beside them, passes replies to `requests` and
//! `state`, and starts another worker if one stops. `engine` decides what to ask.

use super::json;
use super::requests::{End, OnEnd, OnEvent, Post, Requests};
use super::state::State;
use crate::error::Error;
use crate::protocol::{Ask, Id, Message, Reply};
use gloo_events::{EventListener, EventListenerOptions};
use js_sys::{Object, Reflect, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, WorkerOptions, WorkerType};

/// Relative to the document, so that the page works under any path.
const WORKER: &str = "worker_start.js";

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
    worker: Option<Listening>,
    /// Workers that stopped since the last message from one.
    silent: u32,
    /// The message of a worker that panicked.
    last_words: Option<String>,
    /// Called when a worker listens.
    on_ready: Rc<dyn Fn()>,
}

/// A worker and the listeners to it, which are removed with this.
struct Listening {
    worker: web_sys::Worker,
    _listeners: [EventListener; 3],
}

impl Client {
    /// Starts the first worker. `on_ready` is called whenever one listens.
    pub fn start(state: State, on_ready: impl Fn() + 'static) -> Self {
        let inner = Inner {
            state,
            requests: Requests::default(),
            worker: None,
            silent: 0,
            last_words: None,
            on_ready: Rc::new(on_ready),
        };
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
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = match web_sys::Worker::new_with_options(WORKER, &options) {
            Ok(worker) => worker,
            Err(error) => return self.lost(&words(&error)),
        };
        let client = self.clone();
        let on_message = EventListener::new(&worker, "message", move |event| {
            client.hear(&event.unchecked_ref::<MessageEvent>().data());
        });
        // An ErrorEvent if something was thrown, a plain event if a file is missing.
        let on_error = |kind: &'static str| {
            let client = self.clone();
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&worker, kind, options, move |event| {
                event.prevent_default();
                client.lost(&text(event, "message").unwrap_or_default());
            })
        };
        let listeners = [on_message, on_error("error"), on_error("messageerror")];
        self.0.borrow_mut().worker = Some(Listening { worker, _listeners: listeners });
    }

    fn post(&self, (message, bytes): Post) {
        let sent = self.0.borrow().worker.as_ref().map(|w| post(&w.worker, &message, bytes));
        if let Some(Err(error)) = sent {
            self.lost(&words(&error));
        }
    }

    fn hear(&self, data: &JsValue) {
        if let Some(panic) = text(data, "panic") {
            self.0.borrow_mut().last_words = Some(panic);
            return;
        }
        let Some(json) = text(data, "json") else { return };
        match json::read::<Reply>(&json) {
            Ok(reply) => self.reply(reply, bytes(data)),
            Err(error) => self.state().tell(
                true,
                format!("This page cannot read a message from its worker: {error}"),
                "Reload the page, so that the page and the worker have the same version".into(),
            ),
        }
    }

    fn reply(&self, reply: Reply, bytes: Option<Vec<u8>>) {
        let state = self.state();
        match reply {
            Reply::Ready { version, kept } => self.ready(&version, kept),
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

    fn ready(&self, version: &str, kept: Option<crate::protocol::RunInfo>) {
        let state = self.state();
        if version != env!("CARGO_PKG_VERSION") {
            let what = format!("The page has version {} and its worker {version}", env!("CARGO_PKG_VERSION"));
            state.tell(true, what, "Reload the page".into());
        }
        state.ready(kept);
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
    fn lost(&self, what: &str) {
        let (open, state, for_good, why) = {
            let mut inner = self.0.borrow_mut();
            if let Some(old) = inner.worker.take() {
                old.worker.terminate();
                // This may be running inside one of the old listeners, so they are removed after it has returned.
                wasm_bindgen_futures::spawn_local(async move { drop(old) });
            }
            inner.silent += 1;
            let why = inner.last_words.take().unwrap_or_else(|| what.to_owned());
            (inner.requests.lost(), inner.state, inner.silent >= TRIES, readable(&why))
        };
        state.lost(&why, for_good);
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

/// A browser's error message, with an explanation if memory was used up.
fn readable(why: &str) -> String {
    let memory = ["memory", "allocation", "Allocation"].iter().any(|word| why.contains(word));
    match why {
        _ if memory => "this tab has used up its memory. Close other tabs, or choose a smaller batch_size".into(),
        "" => "it could not be started, or its files are missing".into(),
        _ => why.trim_start_matches("Uncaught ").to_owned(),
    }
}

/// Posts `{json, bytes}`; the bytes are moved, not copied.
fn post(worker: &web_sys::Worker, message: &Message, bytes: Option<Vec<u8>>) -> Result<(), JsValue> {
    let json = serde_json::to_string(message).map_err(|error| JsValue::from_str(&error.to_string()))?;
    let (data, moved) = (Object::new(), js_sys::Array::new());
    Reflect::set(&data, &"json".into(), &json.into())?;
    if let Some(bytes) = bytes {
        let array = Uint8Array::from(bytes.as_slice());
        Reflect::set(&data, &"bytes".into(), &array)?;
        moved.push(&array.buffer());
    }
    worker.post_message_with_transfer(&data, &moved)
}

fn text(data: &JsValue, key: &str) -> Option<String> {
    Reflect::get(data, &key.into()).ok()?.as_string()
}

fn bytes(data: &JsValue) -> Option<Vec<u8>> {
    Reflect::get(data, &"bytes".into()).ok()?.dyn_into::<Uint8Array>().ok().map(|array| array.to_vec())
}

fn words(error: &JsValue) -> String {
    error.as_string().or_else(|| text(error, "message")).unwrap_or_else(|| format!("{error:?}"))
}

/// Milliseconds since the page was opened.
pub fn now() -> f64 {
    web_sys::window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browsers_error_is_made_readable() {
        assert!(
            readable("Uncaught RangeError: WebAssembly.Memory(): could not allocate memory").contains("Close other")
        );
        assert!(readable("memory allocation of 8 bytes failed").contains("Close other"));
        assert_eq!(readable("Uncaught RuntimeError: unreachable"), "RuntimeError: unreachable");
        assert!(readable("").contains("could not be started"));
    }
}
