//! Events that the lab reports while it works, and the [`Observer`] that receives them, implemented by the command line and the
//! browser's worker.

pub use crate::model::generate::{Choice, Generated, Listener};
pub use crate::model::reward::Scored;
pub use crate::ppo::rooms::{Pass, Room, Rooms};
pub use crate::ppo::stats::StepStats;
pub use crate::protocol::Seconds;
pub use crate::text::dialogue::Dialogue;
pub use crate::text::prompt::Query;

/// Receives the lab's events. The stages of a PPO step and the pause points use [`Rooms`] and [`crate::pace::Pace`].
pub trait Observer: Rooms {
    /// Receives an event.
    fn event(&mut self, event: Event<'_>);

    /// Seconds on a monotonic clock.
    fn seconds(&self) -> f64;

    /// Seconds since 1970, for files with a date.
    fn unix_seconds(&self) -> f64;
}

/// Long work with a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Counted in finished rows.
    Generate,
    /// Counted in texts.
    Score,
    /// Counted in mini-batches over all passes of the PPO step.
    Train,
    /// Counted in dialogues whose responses before and after are generated and scored.
    Evaluate,
}

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
