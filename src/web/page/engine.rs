//! What the page asks of the engine: load, begin, play, step, stage, stop. Chapters and controls call these functions;
//! `client` sends the requests, and `state` takes the answers.

use super::browser;
use super::client::Client;
use super::draft::Play;
use super::requests::{End, OnEvent};
use super::state::{State, Worker};
use crate::error::Error;
use crate::protocol::{Answer, Ask, Event, Id, KeptModel, Message, RunInfo};
use core::time::Duration;
use leptos::prelude::*;

/// The name of the shipped models in a run's `config.json`.
const TINY: &str = "tiny";

/// Larger files, in bytes, are neither a run nor dialogues of this lab.
const LARGEST: f64 = 300e6;

/// The page's handle on the engine; provided as a context.
#[derive(Clone, Copy)]
pub struct Engine {
    pub state: State,
    client: StoredValue<Option<Client>, LocalStorage>,
}

/// The engine of this page.
pub fn engine() -> Engine {
    expect_context()
}

/// The state of this page.
pub fn state() -> State {
    engine().state
}

impl Engine {
    /// Starts the worker.
    pub fn start(state: State) -> Self {
        let engine = Self { state, client: StoredValue::new_local(None) };
        engine.client.set_value(Some(Client::start(state, move || engine.listening())));
        engine
    }

    /// A worker listens. After a crash it continues the saved run, or loads the models.
    fn listening(&self) {
        if self.state.take_up.get_untracked() {
            self.state.take_up.set(false);
            if self.state.kept.with_untracked(Option::is_some) {
                self.restore();
            } else {
                self.load();
            }
        }
    }

    /// Sends a request; its answer goes to `state`.
    pub fn ask(&self, ask: Ask) -> Option<Id> {
        self.ask_then(ask, None, None, |_| {})
    }

    /// Sends a request with bytes; calls back for every event and at the end.
    pub fn ask_then(
        &self,
        ask: Ask,
        bytes: Option<Vec<u8>>,
        on_event: Option<OnEvent>,
        on_end: impl FnOnce(&End) + 'static,
    ) -> Option<Id> {
        let client = self.client.get_value()?;
        Some(client.ask(ask, bytes, on_event, Some(Box::new(on_end))))
    }

    /// Sends a request that needs the models; loads them first if necessary.
    pub fn ask_live(&self, ask: Ask, on_event: Option<OnEvent>, on_end: impl FnOnce(&End) + 'static) -> Option<Id> {
        self.load();
        self.ask_then(ask, None, on_event, on_end)
    }

    /// Loads the models unless they are loaded or being loaded.
    pub fn load(&self) {
        let here = self.state.loaded.with_untracked(Option::is_some);
        let coming = self.open(|ask| matches!(ask, Ask::Load | Ask::Use { .. }));
        if !here && !coming {
            let state = self.state;
            self.ask_then(Ask::Load, None, None, move |end| {
                if end.is_err() {
                    state.play.set(Play::Paused);
                }
            });
        }
    }

    /// Whether an action that may begin a run has to wait. Before the first message of the worker it is not known whether
    /// there is a saved run, so the action is repeated until then. A new run would replace a saved one, so the person has to
    /// choose first.
    fn has_to_wait(&self, gesture: fn(&Self)) -> bool {
        if self.state.worker.get_untracked() == Worker::Starting {
            let engine = *self;
            set_timeout(move || gesture(&engine), Duration::from_millis(100));
            return true;
        }
        let kept = self.state.kept.with_untracked(Option::is_some) && self.state.run.with_untracked(Option::is_none);
        if kept {
            let hint = "Continue it or remove it, then start again";
            self.state.tell(false, "This browser has a saved run, which a new one would replace".into(), hint.into());
            super::scroll::show("kept", true);
        }
        kept
    }

    /// Begins a run with the chosen settings; it replaces the current one.
    pub fn begin(&self) {
        if self.has_to_wait(Self::begin) {
            return;
        }
        self.state.play.set(Play::Paused);
        if let Some(id) = self.training() {
            self.stop_id(id);
        }
        self.load();
        self.ask_start();
    }

    fn ask_start(&self) {
        let draft = self.state.draft.get_untracked();
        self.ask(Ask::Start { config: draft.config(), preset: draft.preset, steps: self.steps() });
    }

    /// PPO steps of a whole run.
    fn steps(&self) -> u64 {
        let live = self.state.loaded.with_untracked(|l| l.as_ref().map(|l| l.steps));
        let recorded = || self.state.recorded.with_untracked(|r| r.as_ref().map(|r| r.run.steps));
        live.or_else(recorded).unwrap_or(80)
    }

    /// Runs step after step, at the chosen speed.
    pub fn play(&self) {
        if self.has_to_wait(Self::play) {
            return;
        }
        self.state.play.set(Play::Playing);
        self.stage_by_stage(self.state.speed.get_untracked().pause().is_some());
        self.train_or_go();
    }

    /// No further step after the running one; a step that is paused at a stage stays there.
    pub fn pause(&self) {
        let waiting = self.state.waiting.get_untracked();
        let stages = self.state.stage_by_stage.get_untracked();
        let still = waiting || stages || !self.open(|ask| matches!(ask, Ask::Train { .. }));
        self.state.play.set(if still { Play::Paused } else { Play::Pausing });
    }

    /// Runs one PPO step, or the rest of the running one.
    pub fn one_step(&self) {
        if !self.has_to_wait(Self::one_step) {
            self.advance(false);
        }
    }

    /// Runs to the next stage.
    pub fn one_stage(&self) {
        if !self.has_to_wait(Self::one_stage) {
            self.advance(true);
        }
    }

    fn advance(&self, by_stage: bool) {
        self.state.play.set(Play::Paused);
        self.stage_by_stage(by_stage);
        self.train_or_go();
    }

    /// Applies the chosen speed from the next stage on.
    pub fn speed_changed(&self) {
        if self.state.play.get_untracked() == Play::Playing {
            self.play();
        }
    }

    fn stage_by_stage(&self, wait: bool) {
        self.state.stage_by_stage.set(wait);
        self.tell(Message::StageByStage(wait));
    }

    /// The id of the training request that is being computed, if there is one.
    fn training(&self) -> Option<Id> {
        self.state.busy.with_untracked(|b| b.as_ref().filter(|b| matches!(b.ask, Ask::Train { .. })).map(|b| b.id))
    }

    /// Whether a request of a kind is open.
    fn open(&self, kind: impl Fn(&Ask) -> bool) -> bool {
        self.state.busy.with_untracked(|b| b.as_ref().is_some_and(|b| b.has(kind)))
    }

    fn train_or_go(&self) {
        match self.training() {
            Some(id) if self.state.waiting.get_untracked() => {
                self.state.waiting.set(false);
                self.tell(Message::Go(id));
            }
            _ if self.open(|ask| matches!(ask, Ask::Train { .. })) => {}
            _ => self.train(),
        }
    }

    fn train(&self) {
        self.load();
        let beginning = self.open(|ask| matches!(ask, Ask::Start { .. } | Ask::Restore | Ask::Open { .. }));
        if self.state.run.with_untracked(Option::is_none) && !beginning {
            self.ask_start();
        }
        let engine = *self;
        self.ask_then(Ask::Train { steps: 1 }, None, None, move |end| engine.trained(end));
    }

    fn trained(&self, end: &End) {
        let play = self.state.play.get_untracked();
        if goes_on(play, end) {
            // Not at once, so that requests made meanwhile come first.
            let engine = *self;
            set_timeout(move || engine.play_on(), Duration::ZERO);
        } else {
            self.state.play.set(Play::Paused);
        }
    }

    fn play_on(&self) {
        if self.state.play.get_untracked() == Play::Playing && self.training().is_none() {
            self.train();
        }
    }

    /// While playing slowly: continues from the stage at which the step is paused, after the chosen time.
    pub fn linger(&self) {
        let (play, pause) = (self.state.play.get_untracked(), self.state.speed.get_untracked().pause());
        let (Play::Playing, Some(id)) = (play, self.training()) else { return };
        let engine = *self;
        let stages = self.state.stages.with_untracked(Vec::len);
        let go = move || {
            let same = engine.training() == Some(id) && engine.state.stages.with_untracked(Vec::len) == stages;
            if same && engine.state.play.get_untracked() == Play::Playing && engine.state.waiting.get_untracked() {
                engine.state.waiting.set(false);
                engine.tell(Message::Go(id));
            }
        };
        set_timeout(go, Duration::from_millis(pause.unwrap_or(0)));
    }

    /// Stops what is being computed, within a second.
    pub fn stop(&self) {
        self.state.play.set(Play::Paused);
        if let Some(busy) = self.state.busy.get_untracked() {
            self.stop_id(busy.id);
        }
    }

    /// Stops one request.
    pub fn stop_id(&self, id: Id) {
        if let Some(client) = self.client.get_value() {
            client.stop(id);
        }
    }

    /// Continues the run that this browser saved, after loading its models.
    pub fn restore(&self) {
        let Some(run) = self.state.kept.get_untracked() else { return };
        let names = self.state.loaded.with_untracked(|l| l.as_ref().map(|l| l.real.as_ref().map(|r| r.names.clone())));
        let tiny = run.models.iter().all(|name| name.is_empty() || name == TINY);
        match names {
            Some(None) if tiny => {}
            Some(Some(names)) if names == run.models => {}
            _ if tiny => {
                self.ask(Ask::Load);
            }
            _ => match self.state.models.with_untracked(|models| KeptModel::pair(models, &run)) {
                Some(keys) => self.use_models(keys),
                None => {
                    let what = format!(
                        "This run trains {} with {}, which this browser does not keep",
                        run.models[0], run.models[1]
                    );
                    self.state.tell(
                        false,
                        what,
                        "Bring these models in again (chapter 1), then continue the run".into(),
                    );
                    return super::scroll::show("real-models", false);
                }
            },
        }
        self.ask(Ask::Restore);
    }

    /// Loads a policy and a reward model that this browser keeps.
    pub fn use_models(&self, keys: [String; 2]) {
        self.stop();
        self.ask(Ask::Use { keys });
    }

    /// Loads the models that ship with the page.
    pub fn use_small(&self) {
        self.stop();
        self.ask(Ask::Load);
    }

    /// Reads the files that a person chose; `then` gets their names and sizes, and their bytes one after another.
    pub fn read_chosen(self, event: &web_sys::Event, then: impl FnOnce(Vec<(String, usize)>, Vec<u8>) + 'static) {
        let (s, files) = (self.state, browser::chosen(event));
        if files.iter().map(|file| file.size()).sum::<f64>() > LARGEST {
            let what = format!("{} is too large", files.first().map(web_sys::File::name).unwrap_or_default());
            return s.tell(true, what, "Choose files that this page or `detox-lab` can read".into());
        }
        leptos::task::spawn_local(async move {
            let (mut parts, mut all) = (Vec::new(), Vec::new());
            for file in files {
                let name = file.name();
                match browser::read(file).await {
                    Ok(bytes) => {
                        parts.push((name, bytes.len()));
                        all.extend(bytes);
                    }
                    Err(what) => return s.tell(true, what, "Choose the file again".into()),
                }
            }
            if !parts.is_empty() {
                then(parts, all);
            }
        });
    }

    /// Opens a zip that was saved here or by the command line, or the files of a PEFT folder, by name and size.
    pub fn open_zip(&self, files: Vec<(String, usize)>, bytes: Vec<u8>, on_end: impl FnOnce(&End) + 'static) {
        self.load();
        let name = files.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let files = if name.ends_with(".zip") { Vec::new() } else { files };
        self.ask_then(Ask::Open { name, files }, Some(bytes), None, on_end);
    }

    /// Takes the dialogues of a file; without a name, the shipped ones again.
    pub fn use_data(&self, name: String, bytes: Vec<u8>) {
        self.stop();
        self.load();
        self.ask_then(Ask::Data { name }, Some(bytes), None, |_| {});
    }

    fn tell(&self, message: Message) {
        if let Some(client) = self.client.get_value()
            && self.state.worker.get_untracked() == Worker::Listening
        {
            client.tell(message);
        }
    }
}

/// Whether another step follows one that ended like this.
fn goes_on(play: Play, end: &End) -> bool {
    let left = |run: &RunInfo| run.step < run.steps;
    play == Play::Playing && matches!(end, Ok((Answer::Run(run), _)) if left(run))
}

/// A listener for tokens only.
pub fn on_token(mut hear: impl FnMut(&crate::protocol::Token) + 'static) -> Option<OnEvent> {
    Some(Box::new(move |event| {
        if let Event::Token(token) = event {
            hear(token);
        }
    }))
}

/// What went wrong, if it was more than being stopped.
pub fn fault(end: &End) -> Option<String> {
    match end {
        Ok(_) | Err(Error::Stopped) => None,
        Err(error) => Some(error.what()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{PpoConfig, Preset};

    #[test]
    fn playing_goes_on_until_the_run_is_over() {
        let run = |step| {
            let config = Box::new(PpoConfig::preset(Preset::Corrected));
            let info = RunInfo {
                step,
                steps: 3,
                config,
                metrics: vec![],
                command: String::new(),
                models: Default::default(),
                weights: String::new(),
                labels: String::new(),
                saved: 0.0,
            };
            Ok((Answer::Run(Box::new(info)), None))
        };
        assert!(goes_on(Play::Playing, &run(2)));
        assert!(!goes_on(Play::Playing, &run(3)));
        assert!(!goes_on(Play::Pausing, &run(2)));
        assert!(!goes_on(Play::Paused, &run(2)));
        assert!(!goes_on(Play::Playing, &Err(Error::Stopped)));
    }
}
