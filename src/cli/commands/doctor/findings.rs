//! What `doctor` finds: the subject, its state, and what to do.

use crate::error::{Error, Result};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    /// Information; nothing is broken.
    Note,
    Wrong,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    pub about: String,
    pub state: Severity,
    pub what: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All findings, in order.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// All findings.
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    fn add(&mut self, state: Severity, about: &str, what: impl ToString, remedy: Option<String>) {
        self.0.push(Finding { about: about.into(), state, what: what.to_string(), remedy });
    }

    /// Adds that something is right.
    pub fn ok(&mut self, about: &str, what: impl ToString) {
        self.add(Severity::Ok, about, what, None);
    }

    /// Adds information.
    pub fn note(&mut self, about: &str, what: impl ToString, remedy: impl Into<String>) {
        self.add(Severity::Note, about, what, Some(remedy.into()));
    }

    /// Adds a problem.
    pub fn wrong(&mut self, about: &str, what: impl ToString, remedy: impl Into<String>) {
        self.add(Severity::Wrong, about, what, Some(remedy.into()));
    }

    /// Adds an error: what failed, and what it says to try.
    pub fn error(&mut self, about: &str, error: &Error) {
        let text = error.to_string();
        let (what, hint) = text.split_once("\n  try: ").unwrap_or((&text, "look at the message"));
        self.wrong(about, what, hint);
    }

    /// The value of a check that succeeded; an error becomes a finding.
    pub fn take<T>(&mut self, about: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error(about, &error)).ok()
    }

    /// Number of findings with this state.
    pub fn count(&self, state: Severity) -> usize {
        self.0.iter().filter(|finding| finding.state == state).count()
    }
}
