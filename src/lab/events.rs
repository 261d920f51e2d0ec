//! What the lab reports to its caller while it works, and what it asks for: the [`Observer`] that the command line and the
//! browser's worker implement.

pub use crate::model::generate::{Choice, Generated, Listener};
pub use crate::model::reward::Scored;
use crate::pace::NonStop;
pub use crate::ppo::stages::{StepObserver, StepStage};
pub use crate::ppo::stats::StepStats;
pub use crate::protocol::{Phase, Seconds};
pub use crate::text::dialogue::Dialogue;
pub use crate::text::prompt::Query;

/// Receives the lab's reports. The stages of a PPO step and the pause points come through [`StepObserver`] and [`crate::pace::Pace`].
pub trait Observer: StepObserver {
    /// Something happened.
    fn event(&mut self, _: Event<'_>) {}

    /// Seconds on a clock that never goes back; the lab has none of its own.
    fn seconds(&self) -> f64 {
        0.0
    }

    /// Seconds since 1970, for files that carry a date.
    fn unix_seconds(&self) -> f64 {
        0.0
    }
}

impl Observer for NonStop {}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A phase moved on: `done` of `of`.
    Progress { phase: Phase, done: usize, of: usize },
    /// One token was chosen for a row of the batch.
    Token(Choice<'a>),
    /// Stages 1 to 3: these dialogues, as the policy reads them.
    Queries(&'a [&'a Dialogue], &'a [Query]),
    /// Stage 4: what was generated for each of them.
    Responses(&'a [Generated]),
    /// Stage 5: each response's score.
    Scores(&'a [Scored]),
    /// A PPO step is done, with its numbers and its seconds by part.
    Step { step: u64, stats: &'a StepStats, seconds: Seconds },
    /// A supervised run measured something after update `step` of `of`: names and values.
    Update { step: u64, of: u64, metrics: &'a [(String, f64)] },
    /// Something the person should know, though work goes on.
    Warning(&'a str),
}
