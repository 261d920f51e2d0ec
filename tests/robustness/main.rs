//! Bad input, numbers that are not finite, failing disks, signals and killed processes. `hostile` replaces this binary's
//! allocator by one that counts per thread, which does not affect the other tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod hostile;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bad_input_found;
#[cfg(unix)]
mod failing_disk;
mod killed;
mod not_finite;
#[cfg(unix)]
mod signals;
