//! The browser as a [`Port`]: messages, clock, fetch, and IndexedDB for the saved run. It uses web-sys, because gloo cannot
//! fetch several files at once with progress or transfer bytes, and has no IndexedDB.

use super::files::{Files, said};
use super::inbox::Folder;
use super::inbox::Inbox;
use super::kept_run::{Changes, STAMP};
use super::lock::lock;
use super::network::{self, RemoteFolder, timeout};
use super::port::{Got, Heard, Lock, ModelFile, PartFile, Port};
use super::remote::{Fault, Plan, Remote};
use super::session::work;
use super::store::{ACCURACY, Models, USED};
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::protocol::{Ask, KeptModel, Message, Reply};
use js_sys::{Array, Promise, Reflect, Uint8Array};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    AbortController, DedicatedWorkerGlobalScope, IdbDatabase, IdbFactory, IdbObjectStore, IdbRequest,
    IdbTransactionMode, MessageChannel, MessageEvent, ReadableStreamDefaultReader, RequestInit, Response,
};

// static/worker_start.js reads this database too.
const DATABASE: &str = "detox-lab";
const FILES: &str = "files";
/// Milliseconds without data after which `got` is called.
const PATIENCE: i32 = 200;
/// Attempts to take a lock, 0.1 s apart.
const LOCK_TRIES: u32 = 20;

/// The worker's main function: listens for messages and works until the tab is closed.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        tell_panic(&panic.to_string());
    }));
    crate::lab::models::work_in_tab();
    let inbox = Inbox::default();
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let listener = inbox.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        if let Some((message, bytes, folders)) = received(&event.data()) {
            listener.push_with(message, bytes, folders);
        }
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget(); // it listens as long as the worker runs
    spawn_local(work(Browser { scope, database: None, turn: Turn::new() }, inbox));
}

/// Tells the page why a worker that is about to trap has stopped.
fn tell_panic(what: &str) {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let message = js_sys::Object::new();
    if Reflect::set(&message, &"panic".into(), &what.into()).is_ok() {
        drop(scope.post_message(&message)); // a failure cannot be reported
    }
}

/// `{json, bytes?, files?}` as the page posts it; anything else is ignored.
fn received(data: &JsValue) -> Option<(Message, Option<Vec<u8>>, Vec<Folder>)> {
    let json = Reflect::get(data, &"json".into()).ok()?.as_string()?;
    let bytes = Reflect::get(data, &"bytes".into()).ok()?;
    let bytes = bytes.dyn_into::<Uint8Array>().ok().map(|array| array.to_vec());
    let message = serde_json::from_str(&json).ok()?;
    let files = Reflect::get(data, &"files".into()).ok()?.dyn_into::<Array>().unwrap_or_default();
    let folders = match &message {
        Message::Request { ask: Ask::Needs { models, .. }, .. } => Files::received(&files, models),
        Message::Request { ask: Ask::Keep { models, .. }, .. } => Files::received(&files, models),
        _ => Vec::new(),
    };
    Some((message, bytes, folders))
}

/// The worker's scope, and the database once it is open.
struct Browser {
    scope: DedicatedWorkerGlobalScope,
    database: Option<IdbDatabase>,
    turn: Turn,
}

impl Port for Browser {
    fn reply(&mut self, reply: &Reply, bytes: Option<&[u8]>) {
        // Every reply can be written as JSON; a failure here is a bug.
        let json = match serde_json::to_string(reply) {
            Ok(json) => json,
            Err(error) => wasm_bindgen::throw_str(&format!("a reply is not JSON: {error}")),
        };
        let message = js_sys::Object::new();
        let transfer = Array::new();
        let mut posted = Reflect::set(&message, &"json".into(), &json.into());
        if let Some(bytes) = bytes {
            let array = Uint8Array::from(bytes);
            transfer.push(&array.buffer());
            posted = posted.and(Reflect::set(&message, &"bytes".into(), &array));
        }
        if posted.and_then(|_| self.scope.post_message_with_transfer(&message, &transfer).map(|()| true)).is_err() {
            wasm_bindgen::throw_str("the page could not be told");
        }
    }

    fn seconds(&self) -> f64 {
        self.scope.performance().map_or_else(js_sys::Date::now, |clock| clock.now()) / 1000.0
    }

    fn unix_seconds(&self) -> f64 {
        js_sys::Date::now() / 1000.0
    }

    async fn breathe(&mut self) {
        self.turn.pass().await;
    }

    async fn fetch(&mut self, paths: &[String], got: Got<'_, Self>) -> Result<Vec<Vec<u8>>> {
        let abort = AbortController::new().ok();
        let init = RequestInit::new();
        init.set_signal(abort.as_ref().map(AbortController::signal).as_ref());
        // All are requested at once: one after the other, each would wait for the network.
        let responses: Vec<Promise> =
            paths.iter().map(|path| self.scope.fetch_with_str_and_init(path, &init)).collect();
        // After a stop the other promises are rejected; this keeps the browser from reporting them.
        drop(Promise::all_settled(&responses.iter().collect::<Array>()));
        let found = self.transfer(paths, &responses, got).await;
        if let (Err(_), Some(abort)) = (&found, &abort) {
            abort.abort(); // the rest is not needed
        }
        found
    }

    async fn kept(&mut self) -> Result<BTreeMap<String, Vec<u8>>> {
        let store = self.files(IdbTransactionMode::Readonly).await?;
        let (keys, values) = (done(store.get_all_keys()).await?, done(store.get_all()).await?);
        let (keys, values): (Array, Array) = (keys.unchecked_into(), values.unchecked_into());
        let file =
            |(key, value): (JsValue, JsValue)| Some((key.as_string()?, value.unchecked_into::<Uint8Array>().to_vec()));
        Ok(keys.iter().zip(values.iter()).filter_map(file).collect())
    }

    /// One transaction: IndexedDB applies all of it or nothing.
    async fn keep(&mut self, changes: Changes, whole: &BTreeMap<String, Vec<u8>>, stamp: &[u8]) -> Result<()> {
        let store = self.files(IdbTransactionMode::Readwrite).await?;
        let kept = done(store.get(&STAMP.into())).await?;
        let kept = kept.dyn_into::<Uint8Array>().ok().map(|bytes| bytes.to_vec());
        let put = |name: &str, bytes: &[u8]| {
            store.put_with_key(&Uint8Array::from(bytes), &name.into()).map(drop).map_err(not_kept)
        };
        if changes.base.is_some() && changes.base == kept {
            for name in &changes.remove {
                store.delete(&name.as_str().into()).map_err(not_kept)?;
            }
            changes.put.iter().try_for_each(|(name, bytes)| put(name, bytes))?;
        } else {
            store.clear().map_err(not_kept)?;
            whole.iter().try_for_each(|(name, bytes)| put(name, bytes))?;
        }
        put(STAMP, stamp)?;
        let transaction = store.transaction();
        let ended = Promise::new(&mut |resolve, reject| {
            transaction.set_oncomplete(Some(&resolve));
            transaction.set_onerror(Some(&reject));
            transaction.set_onabort(Some(&reject));
        });
        JsFuture::from(ended).await.map(drop).map_err(not_kept)
    }

    async fn models(&mut self) -> Result<Vec<KeptModel>> {
        self.storage().all().await
    }

    async fn model(&mut self, key: &str, name: &str) -> Result<Box<dyn ByteSource>> {
        Ok(Box::new(self.storage().open(key, name).await?))
    }

    async fn new_model(&mut self, key: &str) -> Result<Box<dyn ModelFile>> {
        Ok(Box::new(self.storage().create(key).await?))
    }

    async fn model_used(&mut self, key: &str) {
        // Without it the list shows an older time.
        drop(self.storage().note(key, USED, &self.unix_seconds().to_string()).await);
    }

    async fn model_accuracy(&mut self, key: &str, words: &str) {
        // Without it the list does not say it.
        drop(self.storage().note(key, ACCURACY, words).await);
    }

    async fn remove_model(&mut self, key: &str) -> Result<()> {
        self.storage().remove(key).await
    }

    async fn clear_model(&mut self, key: &str) -> Result<()> {
        self.storage().clear(key).await
    }

    /// A worker that has just been ended may hold its lock for a moment.
    async fn lock(&mut self, key: &str) -> Result<Option<Lock>> {
        for _ in 0..LOCK_TRIES {
            if let Some(lock) = lock(key).await? {
                return Ok(Some(lock));
            }
            self.sleep(0.1).await;
        }
        Ok(None)
    }

    async fn sleep(&mut self, seconds: f64) {
        drop(JsFuture::from(timeout(&self.scope, (1000.0 * seconds) as i32)).await);
    }

    async fn request(
        &mut self,
        url: &str,
        range: Option<(u64, Option<u64>)>,
        heard: Heard<'_, Self>,
    ) -> std::result::Result<(), Fault> {
        let scope = self.scope.clone();
        network::request(&scope, url, range, &mut |piece| heard(self, piece)).await
    }

    fn remote(&mut self, remote: &Remote) -> Result<Box<dyn ByteSource>> {
        Ok(Box::new(RemoteFolder::new(remote)))
    }

    async fn plan(&mut self, key: &str) -> Option<Plan> {
        self.storage().plan(key).await
    }

    async fn set_plan(&mut self, plan: &Plan) -> Result<()> {
        self.storage().set_plan(plan).await
    }

    async fn part(&mut self, key: &str, file: &str) -> Result<Box<dyn PartFile>> {
        Ok(Box::new(self.storage().part(key, file).await?))
    }

    async fn downloaded(&mut self, key: &str, remote: &Remote) -> Result<Box<dyn ByteSource>> {
        Ok(Box::new(self.storage().downloaded(key, remote).await?))
    }

    async fn end_download(&mut self, key: &str) -> Result<()> {
        self.storage().end_download(key).await
    }

    async fn free(&mut self) -> Option<u64> {
        self.storage().free().await
    }

    fn memory(&self) -> Option<u64> {
        let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
        let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
        Some(u64::from(buffer.byte_length()))
    }
}

impl Browser {
    fn storage(&self) -> Models {
        Models(self.scope.navigator().storage())
    }

    async fn transfer(&mut self, paths: &[String], responses: &[Promise], got: Got<'_, Self>) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        for (path, response) in paths.iter().zip(responses) {
            files.push(self.body(path, response, got).await?);
        }
        Ok(files)
    }

    async fn body(&mut self, path: &str, response: &Promise, got: Got<'_, Self>) -> Result<Vec<u8>> {
        let hint = "check the connection and load again";
        let failed = |e: JsValue| Error::file(path, said(&e), hint);
        let response: Response = self.waited(response, got).await?.map_err(failed)?.unchecked_into();
        if !response.ok() {
            return Err(Error::file(path, format!("the server answered {}", response.status()), hint));
        }
        let Some(stream) = response.body() else { return Err(Error::file(path, "an empty answer", hint)) };
        let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
        let mut bytes = Vec::new();
        loop {
            let chunk = self.waited(&reader.read(), got).await?.map_err(failed)?;
            if Reflect::get(&chunk, &"done".into()).is_ok_and(|done| done.is_truthy()) {
                return Ok(bytes);
            }
            let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).map_err(failed)?.unchecked_into();
            let start = bytes.len();
            bytes.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut bytes[start..]);
            got(self, u64::from(chunk.length()))?;
        }
    }

    /// The result of a promise. While it is pending, `got` is called regularly and may stop.
    async fn waited(&mut self, promise: &Promise, got: Got<'_, Self>) -> Result<std::result::Result<JsValue, JsValue>> {
        loop {
            let scope = self.scope.clone();
            let pause = Promise::new(&mut |resolve, _| {
                drop(scope.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, PATIENCE));
            });
            match JsFuture::from(Promise::race(&Array::of2(promise, &pause))).await {
                Ok(nothing) if nothing.is_undefined() => got(self, 0)?,
                end => return Ok(end),
            }
        }
    }

    /// The object store of the run's files, in a new transaction.
    async fn files(&mut self, mode: IdbTransactionMode) -> Result<IdbObjectStore> {
        let database = match &self.database {
            Some(database) => database.clone(),
            None => self.database.insert(open(&self.scope).await?).clone(),
        };
        let transaction = database.transaction_with_str_and_mode(FILES, mode).map_err(not_kept)?;
        transaction.object_store(FILES).map_err(not_kept)
    }
}

async fn open(scope: &DedicatedWorkerGlobalScope) -> Result<IdbDatabase> {
    let factory = Reflect::get(scope, &"indexedDB".into()).map_err(not_kept)?;
    let factory: IdbFactory = factory.dyn_into().map_err(not_kept)?;
    let request = factory.open_with_u32(DATABASE, 1).map_err(not_kept)?;
    let opening = request.clone();
    let upgrade = Closure::once(move || {
        // A failure shows when the store is opened.
        let database: Option<IdbDatabase> = opening.result().ok().map(JsCast::unchecked_into);
        database.map(|database| database.create_object_store(FILES));
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    let database = done(Ok(request.unchecked_into())).await?;
    Ok(database.unchecked_into())
}

/// The result of a database request.
async fn done(request: std::result::Result<IdbRequest, JsValue>) -> Result<JsValue> {
    let request = request.map_err(not_kept)?;
    let ended = Promise::new(&mut |resolve, reject| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&reject));
    });
    JsFuture::from(ended).await.map_err(not_kept)?;
    request.result().map_err(not_kept)
}

fn not_kept(error: JsValue) -> Error {
    let hint = "free some storage or leave private browsing; meanwhile save the run as a zip";
    Error::input(format!("this browser could not save the run: {}", said(&error)), hint)
}

/// Lets the browser run, by a message from the worker to itself: browsers delay timers, but not messages.
struct Turn {
    channel: Option<MessageChannel>,
    resolve: Rc<RefCell<Option<js_sys::Function>>>,
}

impl Turn {
    fn new() -> Self {
        let resolve: Rc<RefCell<Option<js_sys::Function>>> = Rc::default();
        let channel = MessageChannel::new().ok();
        if let Some(channel) = &channel {
            let resolve = resolve.clone();
            let back = Closure::<dyn FnMut()>::new(move || {
                if let Some(resolve) = resolve.borrow_mut().take() {
                    drop(resolve.call0(&JsValue::NULL));
                }
            });
            channel.port1().set_onmessage(Some(back.as_ref().unchecked_ref()));
            back.forget(); // it listens as long as the worker runs
        }
        Self { channel, resolve }
    }

    async fn pass(&self) {
        let Some(channel) = &self.channel else { return };
        let turn = Promise::new(&mut |resolve, _| *self.resolve.borrow_mut() = Some(resolve));
        if channel.port2().post_message(&JsValue::NULL).is_ok() {
            drop(JsFuture::from(turn).await);
        }
    }
}
