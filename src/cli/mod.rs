//! The native door: arguments, progress, reports.
