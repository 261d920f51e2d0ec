//! Checks that a command fits in memory: before anything large is loaded, its forecast (`lab::sources::forecast`) is compared
//! with the machine's free memory, or with `--memory`.

use super::hardware;
use crate::error::{Error, Result};
use crate::lab::models::Precision;
use crate::lab::sources::forecast::Forecast;
use std::sync::OnceLock;

/// `--memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Bytes(u64),
    Unlimited,
}

impl std::str::FromStr for Limit {
    type Err = String;

    /// `8GB`, `500MB`, `unlimited`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text[number.len()..].to_uppercase().as_str() {
            "GB" | "G" => 1e9,
            "MB" | "M" => 1e6,
            _ => return Err("give a size such as 8GB or 500MB, or unlimited".into()),
        };
        match number.parse::<f64>() {
            Ok(n) if n > 0.0 && n.is_finite() => Ok(Self::Bytes((n * unit) as u64)),
            _ => Err("give a size such as 8GB or 500MB, or unlimited".into()),
        }
    }
}

static GIVEN: OnceLock<Limit> = OnceLock::new();

/// Sets `--memory`, which replaces the machine's free memory.
pub fn plan_with(limit: Option<Limit>) {
    if let Some(limit) = limit {
        let _ = GIVEN.set(limit);
    }
}

static RANKS: OnceLock<usize> = OnceLock::new();

/// Leaves each of the `ranks` processes of a run on this machine an equal part of its free memory. `--memory` is for one of them.
pub fn divide(ranks: usize) {
    let _ = RANKS.set(ranks.max(1));
}

/// What may be used; none if it is unknown or the check is to be skipped.
fn free() -> Option<u64> {
    match GIVEN.get() {
        Some(Limit::Bytes(bytes)) => Some(*bytes),
        Some(Limit::Unlimited) => None,
        None => hardware::memory().map(|memory| memory.free / *RANKS.get().unwrap_or(&1) as u64),
    }
}

/// 1234567890 → 1.23 GB.
pub fn size(bytes: u64) -> String {
    if bytes >= 1_000_000_000 {
        format!("{:.2} GB", bytes as f64 / 1e9)
    } else {
        format!("{} MB", bytes.div_ceil(1_000_000))
    }
}

/// Refuses what cannot fit, and lists what needs how much. `precision`: of the frozen weights; `lower`: what to lower.
///
/// # Errors
/// More memory is needed than is free.
pub fn check(forecast: &Forecast, precision: Precision, lower: &str) -> Result<()> {
    let Some(free) = free() else { return Ok(()) };
    tracing::debug!("memory: about {} of {} needed", size(forecast.peak()), size(free));
    if forecast.peak() <= free {
        return Ok(());
    }
    let mut what = format!("this needs about {} of memory, but only {} are free:", size(forecast.peak()), size(free));
    for part in forecast.held.iter().chain(forecast.largest()) {
        what += &format!("\n  {:>9}  {}", size(part.bytes), part.what);
    }
    let bits = if precision == Precision::F32 { "use --weights q8_0 (for frozen weights), or " } else { "" };
    Err(Error::input(what, format!("{bits}{lower}; or skip this check with --memory unlimited")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!("8GB".parse(), Ok(Limit::Bytes(8_000_000_000)));
        assert_eq!("0.5g".parse(), Ok(Limit::Bytes(500_000_000)));
        assert_eq!("300MB".parse(), Ok(Limit::Bytes(300_000_000)));
        assert_eq!("unlimited".parse(), Ok(Limit::Unlimited));
        for wrong in ["", "8", "GB", "-1GB", "8 apples", "infGB"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
        assert_eq!((size(2_345_678_901), size(999_999)), ("2.35 GB".into(), "1 MB".into()));
    }
}
