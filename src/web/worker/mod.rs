//! The engine's side of the worker boundary.
