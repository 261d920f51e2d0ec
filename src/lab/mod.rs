//! The lab: its chapters as functions, the same behind both doors.

pub mod statistics;
pub mod table;
