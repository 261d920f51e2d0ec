//! Events that the lab reports while it works, and the [`Observer`] that receives them, implemented by the command line and the
//! browser's worker.

pub use crate::model::generate::{Choice, Generated, Listener};
pub use crate::model::reward::Scored;
use crate::pace::NonStop;
pub use crate::ppo::stages::{StepObserver, StepStage};
pub use crate::ppo::stats::StepStats;
pub use crate::protocol::{Phase, Seconds};
pub use crate::text::dialogue::Dialogue;
pub use crate::text::prompt::Query;

/// Receives the lab's events. The stages of a PPO step and the pause points use [`StepObserver`] and [`crate::pace::Pace`].
pub trait Observer: StepObserver {
    /// Receives an event.
    fn event(&mut self, _: Event<'_>) {}

    /// Seconds on a monotonic clock.
    fn seconds(&self) -> f64 {
        0.0
    }

    /// Seconds since 1970, for files with a date.
    fn unix_seconds(&self) -> f64 {
        0.0
    }
}

impl Observer for NonStop {}

/// An event.
#[derive(Debug)]
pub enum Event<'a> {
    /// Progress of a phase: `done` of `of`.
    Progress { phase: Phase, done: usize, of: usize },
    /// A token was chosen for a row of the batch.
    Token(Choice<'a>),
    /// Stages 1 to 3: these dialogues, as the policy reads them.
    Queries(&'a [&'a Dialogue], &'a [Query]),
    /// Stage 4: what was generated for each of them.
    Responses(&'a [Generated]),
    /// Stage 5: each response's score.
    Scores(&'a [Scored]),
    /// A PPO step is done: its statistics, and the seconds of each part.
    Step { step: u64, stats: &'a StepStats, seconds: Seconds },
    /// Names and values that a supervised run measured after update `step` of `of`.
    Update { step: u64, of: u64, metrics: &'a [(String, f64)] },
    /// A warning; work continues.
    Warning(&'a str),
}
