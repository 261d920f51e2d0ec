//! The recorded run that fills the page before anything is loaded.
