//! Functions that check every reader's rules for any bytes: no panic, no more memory than the input's size justifies, and an
//! error that names its file and says what to try. The suite (`tests/robustness/bad_input.rs`) and the fuzz targets (`fuzz/`)
//! call them; the fuzzer also finds hangs.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod allocation;
pub mod models;
pub mod run;
pub mod weights;

use detox_lab::error::{Error, Result};
pub use models::{adapter, configs, rows, tokenizer};
pub use run::run_folder;
pub use weights::{gguf, pickle, safetensors, torch, zipped};

/// Maximum length of a message.
const LONGEST_MESSAGE: usize = 8 << 10;

/// Memory that a reader may use: a number of bytes, and a number for each byte of input.
#[derive(Clone, Copy)]
pub struct Limit {
    pub constant: usize,
    pub factor: usize,
}

/// Runs `read` on an input of `len` bytes and checks the rules; `name` is the file's name that messages must contain.
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

/// Checks that the error names the file, says what to try, and fits on a screen.
fn check_message(name: &str, error: &Error) {
    let message = error.to_string();
    assert!(!matches!(error, Error::Tensor(_)), "{name}: the message is candle's: {message}");
    assert!(message.contains(name), "the message does not name {name}: {message}");
    assert!(message.contains("try: "), "the message does not say what to try: {message}");
    assert!(message.len() <= LONGEST_MESSAGE, "a message of {} bytes: {}", message.len(), &message[..200]);
}
