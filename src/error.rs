//! The one error type. It is for the person who must act: what failed, on which file or shape, what to try.
//! The command line and the browser's worker show it once; nothing below them prints.

use serde::{Deserialize, Serialize};

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be used.
    File { path: String, what: String, hint: String },
    /// An argument, a setting or a text is not usable.
    Input { what: String, hint: String },
    /// A tensor has another shape than the model needs.
    Shape { tensor: String, got: String, expected: String, hint: String },
    /// A number that must be finite is NaN or infinite.
    NotFinite {
        what: String,
        /// The batch row it was found in, from 0.
        row: Option<usize>,
        hint: String,
    },
    /// The caller asked to stop at a pause point; nothing is wrong.
    Stopped,
    /// candle refused an operation: a fault of ours, or a device limit.
    Tensor(String),
}

/// As it is printed: what failed, and below it what to try.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what())?;
        match self.hint() {
            "" => Ok(()),
            hint => write!(f, "\n  try: {hint}"),
        }
    }
}

impl std::error::Error for Error {}

/// A message quotes files, and a damaged one may hold a name of a million letters: more than this is not read by anyone.
const LONGEST_PART: usize = 1000;

/// The start of a text, cut where it is too long for a message.
fn readable(mut text: String) -> String {
    if text.len() > LONGEST_PART {
        text.truncate(text.floor_char_boundary(LONGEST_PART));
        text.push('…');
    }
    text
}

impl Error {
    /// An unusable file: which, what is wrong with it, what to try.
    pub fn file(path: impl ToString, what: impl ToString, hint: impl Into<String>) -> Self {
        Self::File { path: readable(path.to_string()), what: readable(what.to_string()), hint: readable(hint.into()) }
    }

    /// An unusable argument, setting or text.
    pub fn input(what: impl ToString, hint: impl Into<String>) -> Self {
        Self::Input { what: readable(what.to_string()), hint: readable(hint.into()) }
    }

    /// A fault of the program itself.
    pub fn bug(what: impl ToString) -> Self {
        Self::input(what, "this is a bug in detox-lab: please open an issue with this message")
    }

    /// A tensor of the wrong shape.
    pub fn shape(tensor: impl Into<String>, got: &[usize], expected: &[usize], hint: impl Into<String>) -> Self {
        Self::Shape {
            tensor: readable(tensor.into()),
            got: readable(format!("{got:?}")),
            expected: readable(format!("{expected:?}")),
            hint: readable(hint.into()),
        }
    }

    /// A NaN or an infinity where a number must be.
    pub fn not_finite(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NotFinite { what: readable(what.into()), row: None, hint: readable(hint.into()) }
    }

    /// The same error with a folder or file in front, where it does not name one yet.
    #[must_use]
    pub fn in_file(self, path: &str) -> Self {
        match self {
            Self::Input { what, hint } => Self::file(path, what, hint),
            Self::Shape { tensor, got, expected, hint } => {
                Self::Shape { tensor: format!("{path}: {tensor}"), got, expected, hint }
            }
            other => other,
        }
    }

    /// What failed and where, without what to try.
    pub fn what(&self) -> String {
        match self {
            Self::File { path, what, .. } => format!("{path}: {what}"),
            Self::Input { what, .. } => what.clone(),
            Self::Shape { tensor, got, expected, .. } => format!("{tensor}: shape {got}, expected {expected}"),
            Self::NotFinite { what, .. } => format!("{what} is not finite"),
            Self::Stopped => "stopped on request".into(),
            Self::Tensor(what) => format!("tensor operation failed: {what}"),
        }
    }

    /// What to try; empty where there is nothing to try.
    pub fn hint(&self) -> &str {
        match self {
            Self::File { hint, .. } | Self::Input { hint, .. } | Self::Shape { hint, .. } => hint,
            Self::NotFinite { hint, .. } => hint,
            Self::Stopped | Self::Tensor(_) => "",
        }
    }

    /// The same about one row of a batch, counted from 0: who made the batch can then say which dialogue it is.
    #[must_use]
    pub fn in_row(self, index: usize) -> Self {
        match self {
            Self::NotFinite { what, hint, .. } => Self::NotFinite { what, row: Some(index), hint },
            other => other,
        }
    }
}
