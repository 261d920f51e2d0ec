//! Small dealings with the browser that several files of the page need: fetch a text, the address line, the
//! theme, give a file to the person and take one. What is in the texts and files is others'.

use core::time::Duration;
use js_sys::{Array, Uint8Array};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, File, HtmlAnchorElement, HtmlElement, Response, Url};

/// The text of a file beside the page.
pub async fn fetch(path: &str) -> Result<String, String> {
    let say = |error: JsValue| {
        let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|m| m.as_string());
        format!("{path}: {}", message.unwrap_or_else(|| "could not be fetched".into()))
    };
    let response = JsFuture::from(window().fetch_with_str(path)).await.map_err(say)?;
    let response: Response = response.dyn_into().map_err(say)?;
    if !response.ok() {
        return Err(format!("{path}: {} {}", response.status(), response.status_text()));
    }
    let text = JsFuture::from(response.text().map_err(say)?).await.map_err(say)?;
    Ok(text.as_string().unwrap_or_default())
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

/// The focus has gone to something outside of the element that listens. Nothing is known where it went nowhere.
pub fn left(event: &web_sys::FocusEvent) -> bool {
    let inside = event.current_target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
    let now = event.related_target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
    inside.zip(now).is_some_and(|(inside, now)| !inside.contains(Some(&now)))
}

/// The focus goes back to what opened the menu that a key has closed.
pub fn focus_opener(event: &web_sys::KeyboardEvent, opener: &str) {
    let menu = event.current_target().and_then(|t| t.dyn_into::<web_sys::Element>().ok());
    let found = menu.and_then(|menu| menu.query_selector(opener).ok().flatten());
    if let Some(opener) = found.and_then(|e| e.dyn_into::<HtmlElement>().ok()) {
        let _ = opener.focus();
    }
}

/// The same, a task later: what hangs on it is redrawn in a task of its own, so that none of them is a long one.
pub fn later<T: Clone + Send + Sync + 'static>(now: Signal<T>) -> Signal<T> {
    let then = RwSignal::new(now.get_untracked());
    Effect::new(move |_| {
        let value = now.get();
        set_timeout(move || drop(then.try_set(value)), Duration::ZERO);
    });
    then.into()
}

/// The theme that stands: `light` or `dark`.
pub fn theme() -> String {
    root().and_then(|root| root.get_attribute("data-theme")).unwrap_or_else(|| "light".into())
}

/// Changes the theme, here and for the next visit.
pub fn set_theme(theme: &str) {
    if let Some(root) = root() {
        let _ = root.set_attribute("data-theme", theme);
    }
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = storage.set_item("theme", theme);
    }
}

fn root() -> Option<web_sys::Element> {
    document().document_element()
}

/// Gives the person a file.
pub fn download(name: &str, kind: &str, bytes: &[u8]) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let parts = Array::of1(&Uint8Array::from(bytes));
    let url = Url::create_object_url_with_blob(&Blob::new_with_u8_array_sequence_and_options(&parts, &options)?)?;
    let anchor: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    anchor.set_href(&url);
    anchor.set_download(name);
    anchor.click();
    // The browser has taken the blob by then; kept any longer it would hold the memory.
    set_timeout(
        move || {
            let _ = Url::revoke_object_url(&url);
        },
        Duration::from_secs(30),
    );
    Ok(())
}

/// A chosen file's bytes.
pub async fn read(file: &File) -> Result<Vec<u8>, String> {
    let buffer = JsFuture::from(file.array_buffer()).await;
    buffer.map(|b| Uint8Array::new(&b).to_vec()).map_err(|_| format!("{}: could not be read", file.name()))
}

/// Whether the browser says that there is a network.
pub fn online() -> bool {
    window().navigator().on_line()
}

/// Whether start.js has said that the page is kept for visits without a network; the window's event `kept` tells later.
pub fn kept_offline() -> bool {
    root().is_some_and(|root| root.has_attribute("data-kept"))
}

/// Gigabytes of the machine, as far as the browser tells; processors.
pub fn machine() -> (Option<f64>, f64) {
    let navigator = window().navigator();
    let memory = js_sys::Reflect::get(&navigator, &"deviceMemory".into()).ok().and_then(|m| m.as_f64());
    (memory, navigator.hardware_concurrency())
}
