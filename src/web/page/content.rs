//! What the chapters display: live numbers if there are any, otherwise the recorded run's, and which of the two they are.

use super::browser::later;
use super::engine::state;
use super::lanes::Leash;
use super::parts::format;
use super::parts::stages::{Headlines, headline, headlines, rows_of_batch};
use super::recorded::Recorded;
use super::state::State;
use crate::protocol::{Evaluated, Grid, Loaded, RunInfo, Stage, Statistics, Step};
use crate::settings::PpoConfig;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;
use std::sync::Arc;

/// One signal for each thing displayed; cheap to copy.
#[derive(Clone, Copy)]
pub struct Content {
    /// There is a live or a recorded step.
    pub any: Signal<bool>,
    /// It has per-token numbers: a live run that was continued has none before its next step.
    pub whole: Signal<bool>,
    /// The step is live.
    pub live: Signal<bool>,
    pub step: Signal<Arc<Step>>,
    /// The stages that the running step has reached, otherwise those of the step shown.
    pub stages: Signal<Vec<Arc<Stage>>>,
    pub config: Signal<Arc<PpoConfig>>,
    pub metrics: Signal<Arc<Vec<Statistics>>>,
    pub run: Signal<Option<Arc<RunInfo>>>,
    pub loaded: Signal<Option<Arc<Loaded>>>,
    /// The recorded runs with and without the KL penalty, when they are there.
    pub leash: RwSignal<Option<Arc<Leash>>>,
    /// Before and after.
    pub evaluated: Signal<Option<Arc<Evaluated>>>,
    /// Toxicity with one adapter; recorded: with the initial one.
    pub toxicity: Signal<Option<Arc<Evaluated>>>,
    /// The chosen settings differ from those of the current run.
    pub changed: Signal<bool>,
    pub corrected: Signal<Arc<PpoConfig>>,
    pub published: Signal<Arc<PpoConfig>>,
}

/// What this page shows.
pub fn content() -> Content {
    expect_context()
}

impl Content {
    /// Follows the page's state.
    pub fn new() -> Self {
        let s = state();
        let live = memo(move || s.step.with(Option::is_some));
        let at =
            move |r: &Arc<Recorded>| r.steps.get(s.recorded_step.get().min(r.steps.len().saturating_sub(1))).cloned();
        let recorded_step =
            move |_: Option<&Option<Arc<Step>>>| s.recorded.with(|r| r.as_ref().and_then(at).map(Arc::new));
        // Copied when the recording or the choice changes; never compared, for a step is large.
        let recorded_step = Memo::new_with_compare(recorded_step, |_, _| true);
        let step = Signal::derive(move || s.step.get().or_else(|| recorded_step.get()));
        let some_step = Signal::derive(move || step.get().unwrap_or_default());
        let later_step = later(some_step);
        let stages = move |_: Option<&Vec<Arc<Stage>>>| {
            let running = s.stages.get();
            if running.is_empty() { stages_of(&later_step.get()) } else { running }
        };
        // Copied once, when the recording arrives.
        let recorded_run = of_recorded(s, |r| r.run.clone());
        let recorded_metrics = of_recorded(s, |r| r.run.metrics.clone());
        let recorded_models = of_recorded(s, |r| r.loaded.clone());
        let recorded_pairs = of_recorded(s, |r| r.evaluated.clone());
        let run = Signal::derive(move || s.run.get().filter(|_| live.get()).or_else(|| recorded_run.get()));
        let config = memo(move || run.with(|r| r.as_ref().map(|r| Arc::new((*r.config).clone()))).unwrap_or_default());
        let loaded = Signal::derive(move || s.loaded.get().or_else(|| recorded_models.get()));
        let preset = move |published: bool| {
            let of = move |l: &Arc<Loaded>| {
                Arc::new((*if published { &l.published } else { &l.corrected }).as_ref().clone())
            };
            memo(move || loaded.with(|l| l.as_ref().map(of)).unwrap_or_default())
        };
        let drafted = memo(move || s.loaded.with(|l| l.as_ref().and_then(|l| s.draft.with(|d| d.over(l)))));
        let changed = move |_: Option<&bool>| {
            let differs = |r: &Arc<RunInfo>| drafted.with(|d| d.as_ref().is_some_and(|d| *r.config != *d));
            s.run.with(|r| r.as_ref().is_some_and(differs))
        };
        Self {
            any: Signal::derive(move || step.with(Option::is_some)),
            whole: memo(move || step.with(|s| s.as_ref().is_some_and(|s| !s.responses.is_empty()))).into(),
            live: live.into(),
            step: some_step,
            // Copied once per step; never compared, for it is large.
            stages: Memo::new_with_compare(stages, |_, _| true).into(),
            config: config.into(),
            metrics: Signal::derive(move || {
                if live.get() { s.metrics.get() } else { recorded_metrics.get().unwrap_or_default() }
            }),
            run,
            loaded,
            leash: RwSignal::new(None),
            evaluated: Signal::derive(move || s.evaluated.get().or_else(|| recorded_pairs.get())),
            toxicity: Signal::derive(move || s.toxicity.get().or_else(|| recorded_pairs.get())),
            changed: Memo::new(changed).into(),
            corrected: preset(false).into(),
            published: preset(true).into(),
        }
    }

    /// A number of the models as text.
    pub fn of_models(self, text: fn(&Loaded) -> String) -> Signal<String> {
        Signal::derive(move || self.loaded.with(|l| l.as_ref().map_or_else(|| format::NONE.into(), |l| text(l))))
    }

    /// A line for each stage of the diagram.
    pub fn headlines(&self) -> Headlines {
        let running = state().stages.get();
        // A running step has no numbers for stages that it has not reached.
        let whole = running.is_empty() && self.any.get();
        let mut lines = if whole { headlines(&self.step.get()) } else { Headlines::default() };
        for stage in running {
            if let Stage::Queries { rows } = &*stage {
                lines[..2].fill(Some(rows_of_batch(rows.len())));
            }
            if let Some(line) = lines.get_mut(usize::from(stage.number()).saturating_sub(1)) {
                *line = Some(headline(&stage));
            }
        }
        lines
    }
}

/// A part of the recording.
fn of_recorded<T: PartialEq + Send + Sync + 'static>(s: State, part: fn(&Recorded) -> T) -> Memo<Option<Arc<T>>> {
    memo(move || s.recorded.with(|r| r.as_ref().map(|r| Arc::new(part(r)))))
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

/// A finished step as its stages: stage 9 as the mean over its mini-batches, without stage 10, whose numbers are not kept.
pub fn stages_of(step: &Step) -> Vec<Arc<Stage>> {
    if step.responses.is_empty() {
        return Vec::new();
    }
    let g = &step.grids;
    let stats = step.statistics.mini_batches(mean(&g.ratio, &g.mask));
    let stages = [
        Stage::Queries { rows: step.queries.clone() },
        Stage::Responses { rows: step.responses.clone() },
        Stage::Scores { rows: step.scored.clone() },
        Stage::Forward {
            mask: g.mask.clone(),
            old_logprobs: g.old_logprobs.clone(),
            ref_logprobs: g.ref_logprobs.clone(),
            old_values: g.old_values.clone(),
        },
        Stage::Rewards {
            scores: step.rewards.clone(),
            kl: g.kl.clone(),
            kl_coef: step.statistics.kl_coef,
            non_score: g.non_score.clone(),
            rewards: g.rewards.clone(),
        },
        Stage::Advantages { advantages: g.advantages.clone(), returns: g.returns.clone() },
        Stage::MiniBatch {
            indices: (0..g.mask.rows).collect(),
            advantages: g.advantages_whitened.clone(),
            ratio: g.ratio.clone(),
            stats,
        },
        Stage::Statistics(Box::new(step.statistics.clone())),
    ];
    stages.into_iter().map(Arc::new).collect()
}

fn mean(grid: &Grid, mask: &Grid) -> f64 {
    let kept = grid.data.iter().zip(&mask.data).filter(|(_, m)| **m > 0.0).map(|(x, _)| f64::from(*x));
    kept.clone().sum::<f64>() / kept.count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_step_has_no_stages() {
        assert!(stages_of(&Step::default()).is_empty());
    }

    #[test]
    fn a_finished_step_has_every_stage_that_is_kept() {
        let response = crate::protocol::Response { text: "a".into(), pieces: vec![] };
        let step = Step { responses: vec![response], ..Step::default() };
        let numbers: Vec<u8> = stages_of(&step).iter().map(|r| r.number()).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9, 11]);
    }
}
