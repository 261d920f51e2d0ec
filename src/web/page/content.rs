//! What the chapters display: live numbers if there are any, otherwise the recorded run's, and which of the two it is.

use super::browser::later;
use super::engine::state;
use super::parts::stages::{Headlines, headline, headlines, rows_of_batch};
use crate::protocol::{Evaluated, Grid, Grids, Loaded, RunInfo, Seconds, Stage, Statistics, Step};
use crate::settings::PpoConfig;
use leptos::prelude::*;
use std::sync::Arc;

/// One signal for each thing shown; copied freely.
#[derive(Clone, Copy)]
pub struct Content {
    /// There is a step of either kind.
    pub any: Signal<bool>,
    /// The step is live.
    pub live: Signal<bool>,
    pub step: Signal<Arc<Step>>,
    /// The stages of the running step as far as reached, else of the step shown.
    pub stages: Signal<Vec<Arc<Stage>>>,
    pub config: Signal<Arc<PpoConfig>>,
    pub metrics: Signal<Arc<Vec<Statistics>>>,
    pub run: Signal<Option<Arc<RunInfo>>>,
    pub loaded: Signal<Option<Arc<Loaded>>>,
    /// Before and after.
    pub evaluated: Signal<Option<Arc<Evaluated>>>,
    /// Of one adapter; recorded: of the initial one.
    pub toxicity: Signal<Option<Arc<Evaluated>>>,
    /// The draft differs from the run that is going on.
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
        let live = Memo::new(move |_| s.step.with(Option::is_some));
        let recorded_step = move || {
            let index = s.recorded_step.get();
            s.recorded
                .with(|r| r.as_ref().and_then(|r| r.steps.get(index.min(r.steps.len().saturating_sub(1))).cloned()))
        };
        let kept = StoredValue::new(None::<(usize, Arc<Step>)>);
        let recorded_step = move || {
            let index = s.recorded_step.get();
            match kept.get_value() {
                Some((i, step)) if i == index => Some(step),
                _ => {
                    let step = recorded_step().map(Arc::new);
                    kept.set_value(step.clone().map(|step| (index, step)));
                    step
                }
            }
        };
        let step = Signal::derive(move || s.step.get().or_else(recorded_step));
        let some_step = Signal::derive(move || step.get().unwrap_or_else(|| Arc::new(no_step())));
        let later_step = later(some_step);
        let stages = move |_: Option<&Vec<Arc<Stage>>>| {
            let running = s.stages.get();
            if running.is_empty() { stages_of(&later_step.get()) } else { running }
        };
        // Copied once, when the recording arrives, and not at every look.
        let recorded_run = Memo::new(move |_| s.recorded.with(|r| r.as_ref().map(|r| Arc::new(r.run.clone()))));
        let recorded_metrics =
            Memo::new(move |_| s.recorded.with(|r| r.as_ref().map(|r| Arc::new(r.run.metrics.clone()))));
        let recorded_models = Memo::new(move |_| s.recorded.with(|r| r.as_ref().map(|r| Arc::new(r.loaded.clone()))));
        let recorded_pairs = Memo::new(move |_| s.recorded.with(|r| r.as_ref().map(|r| Arc::new(r.evaluated.clone()))));
        let run = Signal::derive(move || s.run.get().filter(|_| live.get()).or_else(|| recorded_run.get()));
        let config =
            Memo::new(move |_| run.with(|r| r.as_ref().map(|r| Arc::new((*r.config).clone()))).unwrap_or_default());
        let loaded = Signal::derive(move || s.loaded.get().or_else(|| recorded_models.get()));
        let preset = move |published: bool| {
            let of = move |l: &Arc<Loaded>| {
                Arc::new((*if published { &l.published } else { &l.corrected }).as_ref().clone())
            };
            Memo::new(move |_| loaded.with(|l| l.as_ref().map(of)).unwrap_or_default())
        };
        let drafted = Memo::new(move |_| s.loaded.with(|l| l.as_ref().and_then(|l| s.draft.with(|d| d.over(l)))));
        let changed = move |_: Option<&bool>| {
            let differs = |r: &Arc<RunInfo>| drafted.with(|d| d.as_ref().is_some_and(|d| *r.config != *d));
            s.run.with(|r| r.as_ref().is_some_and(differs))
        };
        Self {
            any: Signal::derive(move || step.with(Option::is_some)),
            live: live.into(),
            step: some_step,
            // Copied once a step, and compared never.
            stages: Memo::new_with_compare(stages, |_, _| true).into(),
            config: config.into(),
            metrics: Signal::derive(move || {
                if live.get() { s.metrics.get() } else { recorded_metrics.get().unwrap_or_default() }
            }),
            run,
            loaded,
            evaluated: Signal::derive(move || s.evaluated.get().or_else(|| recorded_pairs.get())),
            toxicity: Signal::derive(move || s.toxicity.get().or_else(|| recorded_pairs.get())),
            changed: Memo::new(changed).into(),
            corrected: preset(false).into(),
            published: preset(true).into(),
        }
    }

    /// A line for each stage of the machine.
    pub fn headlines(&self) -> Headlines {
        let running = state().stages.get();
        // A step on its way has no numbers for stages that it has not reached.
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

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

/// A finished step as the stages it went through; stage 9 as the mean over its mini-batches, stage 10 (whose numbers no
/// step keeps) left out.
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

/// A step without rows, for parts that are not shown yet.
fn no_step() -> Step {
    let grid = || Grid::zeros(0, 0);
    Step {
        step: 0,
        statistics: Statistics::default(),
        queries: vec![],
        responses: vec![],
        scored: vec![],
        rewards: vec![],
        grids: Grids {
            mask: grid(),
            old_logprobs: grid(),
            ref_logprobs: grid(),
            old_values: grid(),
            kl: grid(),
            non_score: grid(),
            rewards: grid(),
            advantages: grid(),
            advantages_whitened: grid(),
            returns: grid(),
            ratio: grid(),
        },
        seconds: Seconds::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_step_has_no_stages() {
        assert!(stages_of(&no_step()).is_empty());
    }

    #[test]
    fn a_finished_step_has_every_stage_that_is_told() {
        let response = crate::protocol::Response { text: "a".into(), pieces: vec![] };
        let step = Step { responses: vec![response], ..no_step() };
        let numbers: Vec<u8> = stages_of(&step).iter().map(|r| r.number()).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9, 11]);
    }
}
