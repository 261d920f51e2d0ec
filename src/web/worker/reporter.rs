//! Sends the progress of one request to the page and receives its messages at pause points. `session` decides what a request
//! does.

use super::convert;
use super::inbox::Inbox;
use super::port::Port;
use crate::error::{Error, Result};
use crate::lab::events::{Choice, Event as LabEvent, Listener, Observer, StepObserver, StepStage};
use crate::pace::Pace;
use crate::protocol::{Candidate, Event, Id, Phase, Reply, Stage, Token};
use crate::text::tokenizer::Tokenizer;

/// Seconds of work between two checks for messages.
const BREATH: f64 = 0.025;
/// Seconds between two progress events of one phase.
pub const PROGRESS: f64 = 0.1;
/// How many of the most probable tokens are sent with the sampled one.
const TOP: usize = 5;

/// Observes the work on one request.
pub struct Reporter<'a, P> {
    pub port: &'a mut P,
    pub inbox: Inbox,
    pub id: Id,
    /// The policy's, for tokens as text; without it tokens are not sent.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Whether every generated token is sent.
    pub streams: bool,
    breathed: f64,
    told: Option<(Phase, f64)>,
    /// A stage was sent; the work waits until the page tells it to continue.
    in_stage: bool,
}

impl<'a, P: Port> Reporter<'a, P> {
    pub fn new(port: &'a mut P, inbox: Inbox, id: Id, tokenizer: Option<&'a Tokenizer>) -> Self {
        let breathed = port.seconds();
        Self { port, inbox, id, tokenizer, streams: false, breathed, told: None, in_stage: false }
    }

    /// Sends an event to the page.
    pub fn tell(&mut self, event: Event) {
        let id = self.id;
        self.port.reply(&Reply::Event { id, event }, None);
    }

    /// A pause point after which the browser has run, however soon after the last one.
    pub async fn rest(&mut self) -> Result<()> {
        self.breathed = f64::NEG_INFINITY;
        self.pause().await
    }

    fn progress(&mut self, phase: Phase, done: usize, of: usize) {
        let now = self.port.seconds();
        let soon = self.told.is_some_and(|(told, at)| told == phase && now - at < PROGRESS);
        if done == of || !soon {
            self.told = Some((phase, now));
            self.tell(Event::Progress { phase, done, of });
        }
    }

    /// A stage is reached; its numbers are sent only when the work waits at each stage.
    fn reach(&mut self, stage: Stage) {
        if self.inbox.stage_by_stage() {
            self.in_stage = true;
            self.tell(Event::Stage(Box::new(stage)));
        } else {
            self.tell(Event::Reached(stage.number()));
        }
    }
}

impl<P: Port> Pace for Reporter<'_, P> {
    async fn pause(&mut self) -> Result<()> {
        if std::mem::take(&mut self.in_stage) {
            self.inbox.leave_stage(self.id).await;
        }
        if self.port.seconds() - self.breathed > BREATH {
            self.port.breathe().await;
            self.breathed = self.port.seconds();
        }
        if self.inbox.stopped(self.id) { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl<P: Port> Listener for Reporter<'_, P> {
    fn token(&mut self, choice: Choice<'_>) {
        let Some(tokenizer) = self.tokenizer.filter(|_| self.streams) else { return };
        let peak = choice.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = peak + choice.logits.iter().map(|x| (x - peak).exp()).sum::<f32>().ln();
        let mut order: Vec<u32> = (0..choice.logits.len() as u32).collect();
        let by_logit =
            |a: &u32, b: &u32| choice.logits[*b as usize].total_cmp(&choice.logits[*a as usize]).then(a.cmp(b));
        let top = TOP.min(order.len());
        if top < order.len() {
            order.select_nth_unstable_by(top, by_logit);
        }
        order.truncate(top);
        order.sort_unstable_by(by_logit);
        let text = |id: u32| tokenizer.pieces(&[id]).pop().map_or_else(String::new, |piece| piece.text);
        let candidate =
            |id: u32| Candidate { id, text: text(id), probability: (choice.logits[id as usize] - log_sum).exp() };
        self.tell(Event::Token(Token {
            id: choice.id,
            text: text(choice.id),
            logprob: choice.logits[choice.id as usize] - log_sum,
            top: order.into_iter().map(candidate).collect(),
        }));
    }
}

impl<P: Port> StepObserver for Reporter<'_, P> {
    fn stage(&mut self, stage: &StepStage<'_>) {
        match stage {
            StepStage::Progress { phase, done, of } => self.progress(*phase, *done, *of),
            stage => {
                if let Some(stage) = convert::stage(stage) {
                    self.reach(stage);
                }
            }
        }
    }
}

impl<P: Port> Observer for Reporter<'_, P> {
    fn event(&mut self, event: LabEvent<'_>) {
        match event {
            LabEvent::Progress { phase, done, of } => self.progress(phase, done, of),
            LabEvent::Token(choice) => self.token(choice),
            LabEvent::Queries(dialogues, queries) => self.reach(convert::queries_stage(dialogues, queries)),
            LabEvent::Responses(generated) => {
                let tokenizer = self.tokenizer;
                self.reach(convert::responses_stage(generated, tokenizer));
            }
            LabEvent::Scores(scored) => self.reach(Stage::Scores { rows: scored.to_vec() }),
            LabEvent::Step { .. } | LabEvent::Update { .. } => {}
            LabEvent::Warning(text) => self.tell(Event::Warning(text.into())),
        }
    }

    fn seconds(&self) -> f64 {
        self.port.seconds()
    }

    fn unix_seconds(&self) -> f64 {
        self.port.unix_seconds()
    }
}
