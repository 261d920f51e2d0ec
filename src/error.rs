//! The crate's error type: what failed, on which file or shape, and what to try. Only the command line and the worker print or
//! show errors, once each.

use serde::{Deserialize, Serialize};

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, on which input, and what to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be used.
    File { path: String, what: String, hint: String },
    /// An argument, a setting or a text cannot be used.
    Input { what: String, hint: String },
    /// A tensor does not have the shape that the model needs.
    Shape { tensor: String, got: String, expected: String, hint: String },
    /// A number that must be finite is NaN or infinite.
    NotFinite {
        what: String,
        /// The batch row in which it was found, from 0.
        row: Option<usize>,
        hint: String,
    },
    /// The caller stopped the work at a pause point; nothing is wrong.
    Stopped,
    /// candle refused an operation: a bug, or a limit of the device.
    Tensor(String),
}

/// What failed, and below it what to try.
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

/// Quoted parts of files are cut at this length: a damaged file may contain a very long name.
const LONGEST_PART: usize = 1000;

/// The text, cut if it is too long for a message.
fn readable(mut text: String) -> String {
    if text.len() > LONGEST_PART {
        text.truncate(text.floor_char_boundary(LONGEST_PART));
        text.push('…');
    }
    text
}

impl Error {
    /// A file that cannot be used: its path, what is wrong, what to try.
    pub fn file(path: impl ToString, what: impl ToString, hint: impl Into<String>) -> Self {
        Self::File { path: readable(path.to_string()), what: readable(what.to_string()), hint: readable(hint.into()) }
    }

    /// An argument, setting or text that cannot be used.
    pub fn input(what: impl ToString, hint: impl Into<String>) -> Self {
        Self::Input { what: readable(what.to_string()), hint: readable(hint.into()) }
    }

    /// A bug in this program.
    pub fn bug(what: impl ToString) -> Self {
        Self::input(what, "this is a bug in detox-lab: please open an issue with this message")
    }

    /// A tensor with the wrong shape.
    pub fn shape(tensor: impl Into<String>, got: &[usize], expected: &[usize], hint: impl Into<String>) -> Self {
        Self::Shape {
            tensor: readable(tensor.into()),
            got: readable(format!("{got:?}")),
            expected: readable(format!("{expected:?}")),
            hint: readable(hint.into()),
        }
    }

    /// A NaN or an infinity instead of a number.
    pub fn not_finite(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NotFinite { what: readable(what.into()), row: None, hint: readable(hint.into()) }
    }

    /// The same error with a file or folder, unless it already names one.
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

    /// What to try; may be empty.
    pub fn hint(&self) -> &str {
        match self {
            Self::File { hint, .. } | Self::Input { hint, .. } | Self::Shape { hint, .. } => hint,
            Self::NotFinite { hint, .. } => hint,
            Self::Stopped | Self::Tensor(_) => "",
        }
    }

    /// The same error for one row of a batch (from 0), so that the caller can say which dialogue it is.
    #[must_use]
    pub fn in_row(self, index: usize) -> Self {
        match self {
            Self::NotFinite { what, hint, .. } => Self::NotFinite { what, row: Some(index), hint },
            other => other,
        }
    }
}
