//! What every reader promises about any bytes at all, as functions that fail where the promise is broken: no panic, no
//! memory beyond what the input's size justifies, and an error that names its file and says what to try. The suite
//! (`tests/robustness/bad_input.rs`) and the fuzz targets (`fuzz/`) call the same functions; hangs are the fuzzer's to notice.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod allocation;
pub mod models;
pub mod run;
pub mod weights;

use detox_lab::error::{Error, Result};
pub use models::{adapter, configs, rows, tokenizer};
pub use run::run_folder;
pub use weights::{gguf, pickle, safetensors, torch, zipped};

/// The longest message that a person can be asked to read.
const LONGEST_MESSAGE: usize = 8 << 10;

/// Memory that a reader may take: so many bytes, and so many for each byte of input.
#[derive(Clone, Copy)]
pub struct Limit {
    pub constant: usize,
    pub factor: usize,
}

/// Runs `read` on an input of `len` bytes and holds it to the promise; `name` is the file's, as messages must have it.
pub fn hold<T>(name: &str, len: usize, limit: Limit, read: impl FnOnce() -> Result<T>) -> Option<T> {
    let (out, most) = allocation::most_held(read);
    let allowed = limit.constant + limit.factor * len;
    assert!(most <= allowed, "{name}: {most} bytes held at once for an input of {len}, allowed are {allowed}");
    match out {
        Ok(out) => Some(out),
        Err(error) => {
            check_message(name, &error);
            None
        }
    }
}

/// Names the file, says what to try, fits a screen.
fn check_message(name: &str, error: &Error) {
    let message = error.to_string();
    assert!(!matches!(error, Error::Tensor(_)), "{name}: the person is shown candle's own words: {message}");
    assert!(message.contains(name), "the message does not name {name}: {message}");
    assert!(message.contains("try: "), "the message does not say what to try: {message}");
    assert!(message.len() <= LONGEST_MESSAGE, "a message of {} bytes: {}", message.len(), &message[..200]);
}
