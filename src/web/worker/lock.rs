//! Locks on models' folders, against other tabs and workers (Web Locks). web-sys has them only as unstable, so they are called by
//! name.

use super::files::said;
use super::port::Lock;
use crate::error::{Error, Result};
use js_sys::{Array, Function, Object, Promise, Reflect};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// A lock that is held; the browser releases it also when the worker ends.
struct Held(Rc<RefCell<Option<Function>>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(release) = self.0.borrow_mut().take() {
            drop(release.call0(&JsValue::NULL));
        }
    }
}

/// Takes the lock on a model's folder, if no other tab or worker has it. A browser without Web Locks gives it always.
pub async fn lock(key: &str) -> Result<Option<Lock>> {
    let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).unwrap_or_default();
    let locks = get(&get(&js_sys::global(), "navigator"), "locks");
    let Ok(request) = get(&locks, "request").dyn_into::<Function>() else { return Ok(Some(Box::new(()))) };
    let release: Rc<RefCell<Option<Function>>> = Rc::default();
    // The lock is held until the promise that the callback returns is fulfilled.
    let decided = Promise::new(&mut |decide, refuse| {
        let keep = release.clone();
        let granted = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            drop(decide.call1(&JsValue::NULL, &lock.is_object().into()));
            if !lock.is_object() {
                return JsValue::UNDEFINED;
            }
            Promise::new(&mut |resolve, _| *keep.borrow_mut() = Some(resolve)).into()
        });
        let options = Object::new();
        let asked = Reflect::set(&options, &"ifAvailable".into(), &true.into())
            .and_then(|_| request.call3(&locks, &format!("detox-lab model {key}").into(), &options, &granted));
        match asked {
            // The promise of the whole request is rejected only together with the worker.
            Ok(all) => drop(Promise::all_settled(&Array::of1(&all))),
            Err(error) => drop(refuse.call1(&JsValue::NULL, &error)),
        }
    });
    match JsFuture::from(decided).await.map_err(refused)?.as_bool() {
        Some(true) => Ok(Some(Box::new(Held(release)))),
        _ => Ok(None),
    }
}

fn refused(error: JsValue) -> Error {
    Error::input(format!("this browser refuses a lock: {}", said(&error)), "reload the page")
}
