//! Functions of the browser that several files of the page use: fetching a text, the address line, the theme, downloading
//! a file and reading one.

use core::time::Duration;
use gloo_file::futures::read_as_bytes;
use gloo_file::{Blob, File, ObjectUrl};
use gloo_net::http::Request;
use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlAnchorElement, HtmlElement};

/// The text of a file of this site.
pub async fn fetch(path: &str) -> Result<String, String> {
    let say = |error: gloo_net::Error| format!("{path}: {error}");
    let response = Request::get(path).send().await.map_err(say)?;
    if !response.ok() {
        return Err(format!("{path}: {} {}", response.status(), response.status_text()));
    }
    response.text().await.map_err(say)
}

/// The text behind `#` in the address line.
pub fn hash() -> String {
    window().location().hash().unwrap_or_default()
}

/// Writes the address line; `new` adds an entry to the history.
pub fn set_hash(hash: &str, new: bool) {
    let Ok(history) = window().history() else { return };
    let hash = format!("#{hash}");
    // A browser may refuse when this is called very often; the next change tries again.
    let _ = if new {
        history.push_state_with_url(&JsValue::NULL, "", Some(&hash))
    } else {
        history.replace_state_with_url(&JsValue::NULL, "", Some(&hash))
    };
}

/// This page as a link.
pub fn link() -> String {
    window().location().href().unwrap_or_default()
}

/// Copies a text; does nothing where the browser has no clipboard for this page.
pub fn copy(text: &str) {
    let _ = window().navigator().clipboard().write_text(text);
}

/// Whether the focus has moved to something outside the element that listens.
pub fn left(event: &web_sys::FocusEvent) -> bool {
    let inside = event.current_target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
    let now = event.related_target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
    inside.zip(now).is_some_and(|(inside, now)| !inside.contains(Some(&now)))
}

/// Moves the focus back to the button that opened a menu, after a key has closed it.
pub fn focus_opener(event: &web_sys::KeyboardEvent, opener: &str) {
    let menu = event.current_target().and_then(|t| t.dyn_into::<web_sys::Element>().ok());
    let found = menu.and_then(|menu| menu.query_selector(opener).ok().flatten());
    if let Some(opener) = found.and_then(|e| e.dyn_into::<HtmlElement>().ok()) {
        let _ = opener.focus();
    }
}

/// A flag that falls by itself, a time after it was last raised.
#[derive(Clone, Copy)]
pub struct Flag {
    raised: RwSignal<bool>,
    lasts: Duration,
    timer: StoredValue<Option<TimeoutHandle>>,
}

impl Flag {
    pub fn new(lasts: Duration) -> Self {
        Self { raised: RwSignal::new(false), lasts, timer: StoredValue::new(None) }
    }

    pub fn raise(self) {
        self.lower();
        let fall = move || {
            let _ = self.raised.try_set(false);
        };
        self.timer.set_value(set_timeout_with_handle(fall, self.lasts).ok());
        self.raised.set(true);
    }

    pub fn lower(self) {
        // Otherwise the timer of this time would end the next one early.
        if let Some(timer) = self.timer.get_value() {
            timer.clear();
        }
        self.raised.set(false);
    }

    pub fn get(self) -> bool {
        self.raised.get()
    }

    pub fn get_untracked(self) -> bool {
        self.raised.get_untracked()
    }
}

/// The same signal, delayed by a task: what reads it is redrawn in a task of its own, so that no task is long.
pub fn later<T: Clone + Send + Sync + 'static>(now: Signal<T>) -> Signal<T> {
    let then = RwSignal::new(now.get_untracked());
    Effect::new(move |_| {
        let value = now.get();
        set_timeout(move || drop(then.try_set(value)), Duration::ZERO);
    });
    then.into()
}

/// Whether the person wants nothing to move by itself.
pub fn calm() -> bool {
    window().match_media("(prefers-reduced-motion: reduce)").ok().flatten().is_some_and(|query| query.matches())
}

/// Sets or removes an attribute of the document, for the style sheet.
pub fn set_flag(name: &str, on: bool) {
    if let Some(root) = root() {
        let _ = if on { root.set_attribute(name, "") } else { root.remove_attribute(name) };
    }
}

/// Whether a key goes to a field in which it is typed or chosen.
pub fn typed(event: &web_sys::KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    target.is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"))
}

/// The current theme: `light` or `dark`.
pub fn theme() -> String {
    root().and_then(|root| root.get_attribute("data-theme")).unwrap_or_else(|| "light".into())
}

/// Changes the theme, also for the next visit.
pub fn set_theme(theme: &str) {
    if let Some(root) = root() {
        let _ = root.set_attribute("data-theme", theme);
    }
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = storage.set_item("theme", theme);
    }
}

/// Address of the worker's script, relative to the document, so that the page works under any path. static/start.js writes it.
pub fn worker_address() -> String {
    root().and_then(|root| root.get_attribute("data-worker")).unwrap_or_default()
}

fn root() -> Option<web_sys::Element> {
    document().document_element()
}

/// Downloads a file.
pub fn download(name: &str, kind: &str, bytes: &[u8]) -> Result<(), JsValue> {
    let url = ObjectUrl::from(Blob::new_with_options(bytes, Some(kind)));
    let anchor: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    anchor.set_href(&url);
    anchor.set_download(name);
    anchor.click();
    // By then the browser has read the blob, and its memory can be freed.
    set_timeout(move || drop(url), Duration::from_secs(30));
    Ok(())
}

/// A chosen file's bytes.
pub async fn read(file: web_sys::File) -> Result<Vec<u8>, String> {
    let file = File::from(file);
    read_as_bytes(&file).await.map_err(|error| format!("{}: {error}", file.name()))
}

fn field(event: &web_sys::Event) -> Option<web_sys::HtmlInputElement> {
    event.target()?.dyn_into().ok()
}

/// The files that a field has.
pub fn files(event: &web_sys::Event) -> Vec<web_sys::File> {
    let list = field(event).and_then(|field| field.files());
    list.map(|list| (0..list.length()).filter_map(|i| list.get(i)).collect()).unwrap_or_default()
}

/// Empties a field of files, so that choosing the same ones again is a change too.
pub fn empty(event: &web_sys::Event) {
    if let Some(field) = field(event) {
        field.set_value("");
    }
}

/// The files that were chosen; the field is empty afterwards.
pub fn chosen(event: &web_sys::Event) -> Vec<web_sys::File> {
    let files = files(event);
    empty(event);
    files
}

/// Whether the browser reports a network.
pub fn online() -> bool {
    window().navigator().on_line()
}

/// Whether start.js has stored the page for offline use; the window's event `kept` tells when that happens later.
pub fn kept_offline() -> bool {
    root().is_some_and(|root| root.has_attribute("data-kept"))
}

/// Whether this page is isolated from other origins, so that the worker may use several threads.
pub fn isolated() -> bool {
    js_sys::Reflect::get(&window(), &"crossOriginIsolated".into()).is_ok_and(|is| is.is_truthy())
}

/// Memory in gigabytes, if the browser reports it; number of processors.
pub fn machine() -> (Option<f64>, f64) {
    let navigator = window().navigator();
    let memory = js_sys::Reflect::get(&navigator, &"deviceMemory".into()).ok().and_then(|m| m.as_f64());
    (memory, navigator.hardware_concurrency())
}

/// What the browser tells of this machine's memory.
pub fn memory_note() -> &'static str {
    match machine().0 {
        Some(gigabytes) if gigabytes < 4.0 => {
            "This machine has less than 4 GB of memory: a tab may be ended before it has what the table says."
        }
        Some(gigabytes) if gigabytes < 8.0 => {
            "This machine has less than 8 GB of memory, which other programs use too."
        }
        Some(_) => "This machine has 8 GB of memory or more.",
        None => "This browser does not report how much memory the machine has.",
    }
}

/// Asks the browser not to remove what this page stores. It may decide without asking the person.
pub fn ask_to_persist() {
    let storage = window().navigator().storage();
    if js_sys::Reflect::has(&storage, &"persist".into()).unwrap_or(false) {
        let _ = storage.persist();
    }
}

/// What this page stores, what it may store, and whether the browser may remove it.
pub async fn storage_note() -> String {
    let storage = window().navigator().storage();
    let waited = async |promise: Result<js_sys::Promise, JsValue>| {
        wasm_bindgen_futures::JsFuture::from(promise.ok()?).await.ok()
    };
    let number = |value: &JsValue, key: &str| js_sys::Reflect::get(value, &key.into()).ok()?.as_f64();
    let estimate = waited(storage.estimate()).await.unwrap_or_default();
    let (Some(usage), Some(quota)) = (number(&estimate, "usage"), number(&estimate, "quota")) else {
        return "This browser does not report how much it stores.".into();
    };
    let bytes = |n: f64| super::parts::format::bytes(n as u64);
    let stays = match waited(storage.persisted()).await.and_then(|kept| kept.as_bool()) {
        Some(true) => "The browser keeps them until you remove them.",
        _ => "The browser may remove them when storage runs short, or after some days without a visit.",
    };
    format!("This page stores {} of at most {}. {stays}", bytes(usage), bytes(quota))
}

/// The lock that every tab with a run holds or waits for (Web Locks, which web-sys has only as unstable).
const RUN: &str = "detox-lab run";

fn locks(method: &str) -> Option<(JsValue, js_sys::Function)> {
    let locks = js_sys::Reflect::get(&window().navigator(), &"locks".into()).ok()?;
    let method = js_sys::Reflect::get(&locks, &method.into()).ok()?.dyn_into().ok()?;
    Some((locks, method))
}

/// Lets other tabs know that this one has a run, until it is closed.
pub fn open_run() {
    if let Some((locks, request)) = locks("request") {
        let held = Closure::once_into_js(|| js_sys::Promise::new(&mut |_, _| {}));
        let _ = request.call2(&locks, &RUN.into(), &held);
    }
}

/// Whether another tab has a run, as far as the browser tells.
pub async fn run_is_open() -> bool {
    let asked = locks("query").and_then(|(locks, query)| query.call0(&locks).ok()?.dyn_into::<js_sys::Promise>().ok());
    let Some(asked) = asked else { return false };
    let found = wasm_bindgen_futures::JsFuture::from(asked).await.unwrap_or_default();
    let held = js_sys::Reflect::get(&found, &"held".into()).unwrap_or_default();
    let name = |lock: JsValue| js_sys::Reflect::get(&lock, &"name".into()).ok()?.as_string();
    js_sys::Array::from(&held).iter().any(|lock| name(lock).is_some_and(|name| name == RUN))
}

/// Milliseconds since the page was opened.
pub fn now() -> f64 {
    web_sys::window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now())
}

/// A day, from seconds since 1970.
pub fn date(seconds: f64) -> String {
    let date = js_sys::Date::new(&(seconds * 1000.0).into());
    date.to_iso_string().as_string().unwrap_or_default().chars().take(10).collect()
}
