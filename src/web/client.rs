//! The way to the worker and back.
