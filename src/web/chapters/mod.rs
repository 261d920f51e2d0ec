//! One file per chapter of the lab.
