//! The page's state, one signal for each value so that a change redraws only what shows it, and how events and answers
//! change it. `client` posts requests; the chapters and parts draw.

use super::address::{Address, Chapter};
use super::draft::{Draft, Play, Speed};
use super::parts::stages::diverged;
use super::parts::sums::Quantity;
use super::recorded::Recorded;
use super::requests::{End, Requests};
use crate::error::Error;
use crate::protocol::{
    Answer, Ask, Dialogue, Evaluated, Event, Id, KeptModel, Loaded, Phase, RunInfo, Stage, Statistics, Step, WhatIf,
};
use crate::settings::Preset;
use leptos::prelude::*;
use std::sync::Arc;

/// State of the worker.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Worker {
    #[default]
    Starting,
    Listening,
    /// It stopped for this reason, and another one is starting.
    Restarting(String),
    /// It cannot run in this browser.
    Unable(String),
}

/// The request that is being computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    pub id: Id,
    pub ask: Ask,
    pub stopping: bool,
    /// Later requests, in order.
    pub behind: Vec<Ask>,
}

impl Busy {
    /// Whether a request of a kind is open, being computed or waiting.
    pub fn has(&self, kind: impl Fn(&Ask) -> bool) -> bool {
        kind(&self.ask) || self.behind.iter().any(kind)
    }
}

/// Its progress.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    pub id: Id,
    /// None: bytes.
    pub phase: Option<Phase>,
    pub done: f64,
    pub of: f64,
    /// Milliseconds on the page's clock when this count began, and now.
    pub since: f64,
    pub now: f64,
}

/// Something to tell the person.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub number: u64,
    pub error: bool,
    pub what: String,
    pub hint: String,
}

/// The page's state; cheap to copy, provided as a context.
#[derive(Clone, Copy, Default)]
pub struct State {
    pub worker: RwSignal<Worker>,
    pub busy: RwSignal<Option<Busy>>,
    pub counted: RwSignal<Option<Counted>>,
    /// The live models; none before they are loaded.
    pub loaded: RwSignal<Option<Arc<Loaded>>>,
    /// The real models that this browser keeps.
    pub models: RwSignal<Vec<KeptModel>>,
    /// The worker's threads, 0 while not known, and its kernel.
    pub engine: RwSignal<(usize, String)>,
    /// Bytes of memory that the worker has taken; 0 while not known.
    pub memory: RwSignal<u64>,
    pub run: RwSignal<Option<Arc<RunInfo>>>,
    /// The run that this browser saved, until it is continued or removed.
    pub kept: RwSignal<Option<Arc<RunInfo>>>,
    /// Something was live when the worker stopped: the next worker continues it, once.
    pub take_up: RwSignal<bool>,
    /// The statistics of every live step.
    pub metrics: RwSignal<Arc<Vec<Statistics>>>,
    pub step: RwSignal<Option<Arc<Step>>>,
    /// The stage that the running step has reached.
    pub reached: RwSignal<Option<u8>>,
    /// Stages of the running step with their numbers, in order; only when running stage by stage.
    pub stages: RwSignal<Vec<Arc<Stage>>>,
    /// The step is paused at the last of `stages`.
    pub waiting: RwSignal<bool>,
    pub stage_by_stage: RwSignal<bool>,
    /// Chapter 2.3: one side; chapters 3.3 and 3.4: before and after.
    pub toxicity: RwSignal<Option<Arc<Evaluated>>>,
    pub evaluated: RwSignal<Option<Arc<Evaluated>>>,
    pub what_if: RwSignal<Option<Arc<WhatIf>>>,
    pub recorded: RwSignal<Option<Arc<Recorded>>>,
    /// Which of its steps is shown.
    pub recorded_step: RwSignal<usize>,
    pub dialogues: RwSignal<Arc<Vec<Dialogue>>>,
    pub notices: RwSignal<Vec<Notice>>,
    /// The last request of which something went wrong, and what; shown below the button that asked, until one asks again.
    pub failed: RwSignal<Option<(Ask, String)>>,
    /// Announced to screen readers.
    pub said: RwSignal<String>,
    pub play: RwSignal<Play>,
    pub speed: RwSignal<Speed>,
    pub draft: RwSignal<Draft>,
    pub chapter: RwSignal<Chapter>,
    /// The stage that the pointer is on, in the text or in the diagram.
    pub pointed: RwSignal<Option<u8>>,
    /// The stage whose numbers chapter 3.2 shows; if none is chosen, the last one reached.
    pub opened: RwSignal<Option<u8>>,
    /// Larger type, and keys for the run.
    pub presenter: RwSignal<bool>,
    /// The experiment that a link opens.
    pub experiment: RwSignal<Option<String>>,
    pub row: RwSignal<usize>,
    pub quantity: RwSignal<Quantity>,
}

impl State {
    /// Everything empty, except what the address says.
    pub fn new(address: &Address) -> Self {
        let state = Self::default();
        state.go_to(address);
        state
    }

    /// Takes over what an address says.
    pub fn go_to(&self, address: &Address) {
        self.chapter.set(address.chapter);
        self.row.set(address.row.unwrap_or(0));
        self.opened.set(address.stage);
        self.presenter.set(address.present);
        self.experiment.set(address.experiment.clone());
        let show = address.show.as_deref().and_then(Quantity::from_slug);
        self.quantity.set(show.unwrap_or(Quantity::FIRST));
        let changes = address.changes.clone().into_iter().collect();
        self.draft.set(Draft::of(address.preset.unwrap_or(Preset::Corrected), changes, address.seed));
    }

    /// The page as an address.
    pub fn address(&self) -> Address {
        let (draft, row, chapter) = (self.draft.get(), self.row.get(), self.chapter.get());
        Address {
            chapter,
            seed: draft.seed,
            preset: (draft.preset == Preset::Published).then_some(draft.preset),
            changes: draft.changes.into_iter().collect(),
            row: (row > 0).then_some(row),
            stage: self.opened.get(),
            present: self.presenter.get(),
            experiment: self.experiment.get().filter(|_| chapter == Chapter::Experiments),
            show: Some(self.quantity.get()).filter(|q| *q != Quantity::FIRST).map(|q| q.slug().to_owned()),
        }
    }

    /// Takes over the open requests; the oldest is the one being computed.
    pub fn queue(&self, requests: &Requests) {
        let mut open = requests.open();
        let first = open.next();
        let behind = open.map(|(_, open)| open.ask.clone()).collect();
        let busy = first.map(|(id, open)| Busy { id, ask: open.ask.clone(), stopping: open.stopping, behind });
        if busy.as_ref().map(|b| b.id) != self.busy.with_untracked(|b| b.as_ref().map(|b| b.id)) {
            self.counted.set(None);
            if let Some(busy) = &busy {
                self.say(doing(&busy.ask));
                let again = |failed: &Ask| core::mem::discriminant(failed) == core::mem::discriminant(&busy.ask);
                if self.failed.with_untracked(|f| f.as_ref().is_some_and(|(ask, _)| again(ask))) {
                    self.failed.set(None);
                }
            }
        }
        if busy != self.busy.get_untracked() {
            self.busy.set(busy);
        }
    }

    /// The worker listens, with these threads and this kernel; this run and these models are saved in the browser.
    pub fn ready(&self, engine: (usize, String), kept: Option<RunInfo>, models: Vec<KeptModel>) {
        self.engine.set(engine);
        self.models.set(models);
        self.worker.set(Worker::Listening);
        // A run without a step has nothing to lose.
        self.kept.set(kept.filter(|run| run.step > 0).map(Arc::new));
    }

    /// The worker has stopped, and all that was live is lost. The next worker tells what is saved.
    pub fn lost(&self, why: &str, for_good: bool) {
        let status = if for_good { Worker::Unable } else { Worker::Restarting };
        self.worker.set(status(why.to_owned()));
        // If other models were being loaded, the next worker has those that were there before.
        let starting = |ask: &Ask| matches!(ask, Ask::Load | Ask::Restore);
        let again = self.busy.with_untracked(|b| b.as_ref().is_some_and(|b| starting(&b.ask)));
        self.take_up.set(self.loaded.with_untracked(Option::is_some) && !again && !for_good);
        self.loaded.set(None);
        self.memory.set(0);
        self.run.set(None);
        self.forget_step();
        self.play.set(Play::Paused);
    }

    /// Other models take the place of those that a run was of; the run stays saved in this browser.
    fn put_aside(&self) {
        if let Some(run) = self.run.get_untracked() {
            self.kept.set(Some(run));
            self.run.set(None);
            self.forget_step();
        }
        none(self.toxicity);
        none(self.evaluated);
    }

    /// Applies an event of request `id`, at `now` milliseconds.
    pub fn event(&self, id: Id, event: &Event, now: f64) {
        match event {
            Event::Bytes { done, of } => self.count(id, None, *done as f64, *of as f64, now),
            Event::Progress { phase, done, of } => self.count(id, Some(*phase), *done as f64, *of as f64, now),
            Event::Token(_) => {}
            Event::Reached(stage) => {
                if *stage <= 3 && self.stages.with_untracked(|stages| !stages.is_empty()) {
                    self.stages.set(Vec::new());
                }
                self.reached.set(Some(*stage));
            }
            Event::Stage(stage) => {
                self.reached.set(Some(stage.number()));
                self.stages.update(|stages| stages.push(Arc::new((**stage).clone())));
                self.waiting.set(true);
                self.say(format!("Stage {}", stage.number()));
            }
            Event::Step(step) => {
                self.waiting.set(false);
                self.reached.set(None);
                if let Some(last) = self.stages.with_untracked(|stages| stages.last().map(|stage| stage.number())) {
                    self.opened.set(Some(last));
                    self.stages.set(Vec::new());
                }
                let before =
                    self.metrics.with_untracked(|lines| lines.last().is_some_and(|line| diverged(line).is_some()));
                if let Some(what) = diverged(&step.statistics).filter(|_| !before) {
                    let hint = "Start over with a lower learning_rate or a higher kl_coef (chapter 3.1)";
                    self.tell(true, format!("The run diverges at step {}: {what}", step.step), hint.into());
                }
                self.metrics.update(|lines| Arc::make_mut(lines).push(step.statistics.clone()));
                self.run.update(|run| {
                    if let Some(run) = run {
                        Arc::make_mut(run).step = step.step;
                    }
                });
                none(self.what_if);
                none(self.evaluated);
                self.say(format!("Step {} is done", step.step));
                self.step.set(Some(Arc::new((**step).clone())));
            }
            Event::Warning(what) => self.tell(false, what.clone(), String::new()),
            Event::Memory(bytes) => self.memory.set(*bytes),
        }
    }

    fn count(&self, id: Id, phase: Option<Phase>, done: f64, of: f64, now: f64) {
        self.counted.update(|counted| {
            let same = counted.filter(|c| c.id == id && c.phase == phase && c.done <= done);
            let since = same.map_or(now, |c| c.since);
            *counted = Some(Counted { id, phase, done, of, since, now });
        });
    }

    /// Applies the end of a request.
    pub fn ended(&self, ask: &Ask, end: &End) {
        if matches!(ask, Ask::Train { .. }) {
            self.waiting.set(false);
            self.reached.set(None);
        }
        // The worker drops real models before it loads others.
        let real = || self.loaded.with_untracked(|l| l.as_ref().is_some_and(|l| l.real.is_some()));
        if matches!(ask, Ask::Use { .. }) && end.is_err() && real() {
            self.put_aside();
            self.loaded.set(None);
        }
        match end {
            Ok((answer, _)) => self.answered(ask, answer),
            Err(Error::Stopped) => {
                self.say("Stopped".into());
                if matches!(ask, Ask::Train { .. }) {
                    self.stages.set(Vec::new());
                }
                self.play.set(Play::Paused);
            }
            Err(error) => {
                self.play.set(Play::Paused);
                self.failed.set(Some((ask.clone(), error.what())));
                self.tell(true, error.what(), error.hint().into());
            }
        }
    }

    fn answered(&self, ask: &Ask, answer: &Answer) {
        match (ask, answer) {
            (Ask::Forget, Answer::Nothing) => {
                self.kept.set(None);
                self.say("The saved run is removed".into());
            }
            (_, Answer::Kept(models)) => self.models.set(models.clone()),
            (_, Answer::Loaded(loaded)) => {
                self.put_aside();
                if !loaded.dialogues.is_empty() {
                    self.dialogues.set(Arc::new(loaded.dialogues.clone()));
                }
                self.loaded.set(Some(Arc::new(loaded.clone())));
                self.say("The models are loaded".into());
            }
            (ask, Answer::Run(run)) => {
                if !matches!(ask, Ask::Train { .. }) {
                    self.forget_step();
                    self.toxicity.set(None);
                }
                // A continued run brings its own settings.
                if matches!(ask, Ask::Restore | Ask::Open { .. })
                    && let Some(loaded) = self.loaded.get_untracked()
                {
                    self.draft.set(Draft::like(&run.config, &loaded));
                }
                none(self.evaluated);
                none(self.kept);
                // What training changed was in the steps' events.
                if !matches!(ask, Ask::Train { .. }) {
                    self.metrics.set(Arc::new(run.metrics.clone()));
                    // The per-token numbers come with the next step; until then nothing of another run may be shown.
                    let last = run.metrics.last().map(|line| Step {
                        step: run.step,
                        statistics: line.clone(),
                        ..Step::default()
                    });
                    self.step.set(last.map(Arc::new));
                    self.run.set(Some(Arc::new((**run).clone())));
                }
            }
            (Ask::Evaluate { before, after, .. }, Answer::Evaluated(evaluated)) => {
                let target = if before == after { self.toxicity } else { self.evaluated };
                target.set(Some(Arc::new((**evaluated).clone())));
                self.say("The evaluation is done".into());
            }
            (_, Answer::Adapter { name, .. }) => {
                self.forget_step();
                self.run.set(None);
                self.say(format!("{name} is open; the next run starts from it"));
            }
            (_, Answer::WhatIf(what_if)) => self.what_if.set(Some(Arc::new((**what_if).clone()))),
            _ => {}
        }
    }

    fn forget_step(&self) {
        self.step.set(None);
        self.stages.set(Vec::new());
        self.metrics.set(Arc::default());
        self.what_if.set(None);
        self.evaluated.set(None);
        self.waiting.set(false);
        self.reached.set(None);
    }

    /// Shows a notice, unless the same one is shown already.
    pub fn tell(&self, error: bool, what: String, hint: String) {
        self.notices.update(|notices| {
            if !notices.iter().any(|n| n.what == what && n.hint == hint) {
                let number = notices.last().map_or(0, |n| n.number + 1);
                notices.push(Notice { number, error, what, hint });
            }
        });
    }

    /// Announces something to screen readers.
    pub fn say(&self, what: String) {
        self.said.set(what);
    }
}

/// Empties a signal if it is not empty: setting it redraws everything that reads it, even without a change.
fn none<T: Send + Sync + 'static>(signal: RwSignal<Option<T>>) {
    if signal.with_untracked(Option::is_some) {
        signal.set(None);
    }
}

/// A request in words, for the progress line.
pub fn doing(ask: &Ask) -> String {
    match ask {
        Ask::Load | Ask::Use { .. } => "Loading the models",
        Ask::Tokens { .. } => "Tokenizing the text",
        Ask::Generate(_) => "Writing a summary",
        Ask::Score { .. } => "Scoring",
        Ask::Words { .. } => "Scoring the text without each of its words",
        Ask::Evaluate { before, after, .. } if before == after => "Measuring toxicity",
        Ask::Evaluate { .. } => "Comparing before and after",
        Ask::Start { .. } => "Beginning a run",
        Ask::Train { .. } => "Training",
        Ask::WhatIf { .. } => "Computing the step with other settings",
        Ask::Save { .. } => "Packing the zip",
        Ask::Open { .. } => "Opening the file",
        Ask::Restore => "Continuing the run that this browser saved",
        Ask::Forget => "Removing the saved run",
        Ask::Needs { .. } => "Reading the files' headers",
        Ask::Keep { .. } => "Converting the models",
        Ask::Remove { .. } => "Removing models",
        Ask::Data { .. } => "Reading the dialogues",
    }
    .into()
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub mod tests;
