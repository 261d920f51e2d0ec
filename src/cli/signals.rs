//! SIGINT (Ctrl-C) and SIGTERM: the first one stops the command at its next pause point, a second one ends the process
//! immediately. The command decides what is saved.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What the signal handlers write to, once per process.
#[derive(Default)]
struct Signals {
    stop: Arc<AtomicBool>,
    /// The last signal's number; 0: none was received.
    number: Arc<AtomicUsize>,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// Catches both signals; a second call does nothing.
pub fn catch() -> Result<()> {
    if SIGNALS.get().is_some() {
        return Ok(());
    }
    let signals = SIGNALS.get_or_init(Signals::default);
    for signal in [SIGINT, SIGTERM] {
        let failed = |e: std::io::Error| Error::bug(format!("signals cannot be caught: {e}"));
        // The order matters: the second signal must find the flag set, and then ends the process.
        flag::register_conditional_shutdown(signal, status(signal), signals.stop.clone()).map_err(failed)?;
        flag::register(signal, signals.stop.clone()).map_err(failed)?;
        flag::register_usize(signal, signals.number.clone(), signal as usize).map_err(failed)?;
    }
    Ok(())
}

/// Whether a signal was received.
pub fn stop() -> bool {
    SIGNALS.get().is_some_and(|signals| signals.stop.load(Ordering::Relaxed))
}

/// The exit status of a stopped command, and the signal's name. Without a signal, the reader has closed the pipe.
pub fn stopped() -> (u8, Option<&'static str>) {
    match SIGNALS.get().map(|signals| signals.number.load(Ordering::Relaxed) as i32) {
        Some(SIGINT) => (status(SIGINT) as u8, Some("SIGINT")),
        Some(SIGTERM) => (status(SIGTERM) as u8, Some("SIGTERM")),
        _ => (status(SIGPIPE) as u8, None),
    }
}

/// The exit status of a rank that stops because another one received a signal; `status` is [`stopped`]'s.
pub fn ended_by_another(status: u8) -> u8 {
    if i32::from(status) == self::status(SIGPIPE) { self::status(SIGTERM) as u8 } else { status }
}

/// The exit status that shells use for a signal.
const fn status(signal: i32) -> i32 {
    128 + signal
}
