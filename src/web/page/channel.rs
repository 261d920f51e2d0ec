//! A worker as the page has it: starts it, posts messages as JSON with bytes or files beside them, and reads what it says.

use super::browser::worker_address;
use super::json;
use crate::protocol::{Message, Reply, Role};
use crate::settings::values;
use gloo_events::{EventListener, EventListenerOptions};
use js_sys::{Array, Object, Reflect, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{File, MessageEvent, Worker, WorkerOptions, WorkerType};

/// A file of one of the two models.
pub type Chosen = (Role, File);

/// What the page hears of a worker.
pub enum Heard {
    /// A reply, with the bytes that it brings.
    Reply(Box<Reply>, Option<Vec<u8>>),
    /// A message that this page cannot read: why.
    Unreadable(String),
    /// The worker has stopped: why, as far as is known.
    Lost(String),
}

/// A worker and the listeners to it.
pub struct Channel {
    worker: Worker,
    listeners: [EventListener; 3],
}

impl Channel {
    /// Starts a worker.
    ///
    /// # Errors
    /// In words, if the browser starts none.
    pub fn open(hear: impl Fn(Heard) + 'static) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(&worker_address(), &options).map_err(|error| words(&error))?;
        let hear = Rc::new(hear);
        // A worker that panics says so first; what the browser says afterwards explains less.
        let last_words = Rc::new(RefCell::new(None));
        let message = {
            let (hear, last_words) = (hear.clone(), last_words.clone());
            EventListener::new(&worker, "message", move |event| {
                let data = event.unchecked_ref::<MessageEvent>().data();
                if let Some(panic) = text(&data, "panic") {
                    *last_words.borrow_mut() = Some(panic);
                } else if let Some(json) = text(&data, "json") {
                    hear(match json::read(&json) {
                        Ok(reply) => Heard::Reply(Box::new(reply), bytes(&data)),
                        Err(error) => Heard::Unreadable(error.to_string()),
                    });
                }
            })
        };
        // An ErrorEvent if something was thrown, a plain event if a file is missing.
        let lost = |kind: &'static str| {
            let (hear, last_words) = (hear.clone(), last_words.clone());
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&worker, kind, options, move |event| {
                event.prevent_default();
                let why = last_words.take().or_else(|| text(event, "message")).unwrap_or_default();
                hear(Heard::Lost(readable(&why)));
            })
        };
        let listeners = [message, lost("error"), lost("messageerror")];
        Ok(Self { worker, listeners })
    }

    /// Posts `{json, bytes, files}`. Bytes are moved, not copied; files are handed over by reference, not read.
    ///
    /// # Errors
    /// In words, if the browser does not take the message.
    pub fn post(&self, message: &Message, bytes: Option<Vec<u8>>, files: &[Chosen]) -> Result<(), String> {
        let json =
            values::to_json(&serde_json::to_value(message).map_err(|_| "the message cannot be written as JSON")?);
        let (data, moved, list) = (Object::new(), Array::new(), Array::new());
        let set = |key: &str, value: &JsValue| Reflect::set(&data, &key.into(), value).map_err(|error| words(&error));
        set("json", &json.into())?;
        if let Some(bytes) = bytes {
            let array = Uint8Array::from(bytes.as_slice());
            set("bytes", &array)?;
            moved.push(&array.buffer());
        }
        for (role, file) in files {
            let role = if *role == Role::Policy { "policy" } else { "reward" };
            list.push(&Array::of3(&role.into(), &file.name().into(), file));
        }
        if !files.is_empty() {
            set("files", &list)?;
        }
        self.worker.post_message_with_transfer(&data, &moved).map_err(|error| words(&error))
    }

    /// Ends the worker, in the middle of whatever it does.
    pub fn close(self) {
        self.worker.terminate();
        // This may be running inside one of the listeners, so they are removed after it has returned.
        wasm_bindgen_futures::spawn_local(async move { drop(self.listeners) });
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

fn text(data: &JsValue, key: &str) -> Option<String> {
    Reflect::get(data, &key.into()).ok()?.as_string()
}

fn bytes(data: &JsValue) -> Option<Vec<u8>> {
    Reflect::get(data, &"bytes".into()).ok()?.dyn_into::<Uint8Array>().ok().map(|array| array.to_vec())
}

fn words(error: &JsValue) -> String {
    error.as_string().or_else(|| text(error, "message")).unwrap_or_else(|| format!("{error:?}"))
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
