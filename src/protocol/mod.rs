//! The messages between the page and its worker: requests with an id, events, and for every request exactly one
//! [`Reply::Done`] or [`Reply::Failed`]. Plain data: no tensors, and weights are never sent.

mod evaluation;
mod numbers;
mod real;
mod statistics;

pub use evaluation::*;
pub use numbers::*;
pub use real::*;
pub use statistics::*;

use crate::error::Error;
use crate::settings::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A request's number, given by the page.
pub type Id = u64;

/// From the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    Request {
        id: Id,
        ask: Ask,
    },
    /// End this request at its next pause point; it answers `Failed` with [`Error::Stopped`].
    Stop(Id),
    /// Go on from the stage at which this request waits.
    Go(Id),
    /// Wait at every stage from now on, or at none.
    StageByStage(bool),
}

/// What can be asked. Asked one after the other; a request waits until those before it have ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Chapter 1: fetch the shipped models and dialogues, and load them. Answer: [`Answer::Loaded`].
    Load,
    /// Stage 3: a text as tokens; by the policy's, a dialogue within its prompt. Answer: [`Answer::Tokens`].
    Tokens { text: String, by: Reader },
    /// Chapter 2.1: a summary, streamed as [`Event::Token`]. Answer: [`Answer::Generated`].
    Generate(Generate),
    /// Chapter 2.2: both logits, probabilities and the score of texts. Answer: [`Answer::Scored`].
    Score { texts: Vec<String> },
    /// Chapter 2.2: what each word does to a text's score. Answer: [`Answer::Words`].
    Words { text: String },
    /// Chapter 2.3 with `before` = `after`, else 3.3 and 3.4: `n` dialogues of the test split. Answer: [`Answer::Evaluated`].
    Evaluate { n: usize, seed: u64, greedy: bool, before: Adapter, after: Adapter },
    /// Chapter 3.1: begin a run with these settings, from the shipped adapter; an older run is gone. Answer: [`Answer::Run`].
    Start { config: Map<String, Value>, preset: Preset, steps: u64 },
    /// Chapter 3.2: so many PPO steps, each told as [`Event::Step`]. Answer: [`Answer::Run`].
    Train { steps: u64 },
    /// Chapter 3.2: the last step's rollout once more, under other settings; no model is asked. Answer: [`Answer::WhatIf`].
    WhatIf { config: Map<String, Value>, preset: Preset },
    /// The adapter in PEFT's layout as a zip, or the run's folder. Answer: [`Answer::Zip`].
    Save { what: Saved },
    /// Opens what `Save` gave, here or natively. The zip's bytes travel beside the message. Answer: [`Answer::Run`] or
    /// [`Answer::Adapter`].
    Open { name: String },
    /// Goes on with the run that this browser kept. Answer: [`Answer::Run`].
    Restore,
    /// Removes what this browser kept. Answer: [`Answer::Nothing`].
    Forget,
    /// What a policy and a reward model will need, from the headers of their files, which travel beside the message. Answer:
    /// [`Answer::Needs`].
    Needs { models: [Incoming; 2] },
    /// Keeps a policy and a reward model in this browser, converted; their files travel beside the message. Answer:
    /// [`Answer::Kept`], first these two.
    Keep { models: [Incoming; 2], weights: NumberType },
    /// Loads a kept policy and a kept reward model, by key. Answer: [`Answer::Loaded`].
    Use { keys: [String; 2] },
    /// Removes kept models, by key. Answer: [`Answer::Kept`].
    Remove { keys: Vec<String> },
}

/// The model whose tokenizer is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    Policy,
    Reward,
}

/// Which adapter stands over the base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adapter {
    /// The one being trained, as it is now.
    Policy,
    /// As it was at step 0.
    Initial,
    /// None: the base model.
    Off,
}

/// What to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saved {
    Adapter,
    Run,
}

/// How one summary is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    pub dialogue: String,
    pub adapter: Adapter,
    pub greedy: bool,
    pub temperature: f32,
    /// 0: all tokens.
    pub top_k: usize,
    pub top_p: f32,
    pub seed: u64,
    pub max_new_tokens: usize,
}

/// From the worker. It speaks first: messages sent before [`Reply::Ready`] would be lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The worker listens. `kept`: the run that this browser kept, to offer. `models`: the models that it kept.
    Ready {
        version: String,
        kept: Option<RunInfo>,
        models: Vec<KeptModel>,
    },
    /// On the way to an answer.
    Event {
        id: Id,
        event: Event,
    },
    Done {
        id: Id,
        answer: Answer,
    },
    Failed {
        id: Id,
        error: Error,
    },
}

/// On the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Bytes of the models so far.
    Bytes { done: u64, of: u64 },
    /// Rows, texts, mini-batches or dialogues so far; at most some ten a second.
    Progress { phase: Phase, done: usize, of: usize },
    /// A token was chosen.
    Token(Token),
    /// A stage of the PPO step (by its number, 1 to 12) was reached.
    Reached(u8),
    /// The same with its numbers, stage by stage only: the request now waits for [`Message::Go`].
    Stage(Box<Stage>),
    /// A PPO step is done and kept.
    Step(Box<Step>),
    /// Worth knowing, though work goes on.
    Warning(String),
    /// Bytes of memory that the worker has taken so far; it never gives any back.
    Memory(u64),
}

/// The end of a request that went well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Nothing,
    Loaded(Loaded),
    Tokens(Vec<Piece>),
    Generated {
        text: String,
        tokens: usize,
        ended: bool,
        seconds: f64,
    },
    Scored(Vec<Scored>),
    Words {
        scored: Scored,
        words: Vec<Word>,
    },
    Evaluated(Box<Evaluated>),
    Run(Box<RunInfo>),
    WhatIf(Box<WhatIf>),
    /// An adapter was opened; the next run starts from it.
    Adapter {
        name: String,
        lora_r: usize,
        lora_alpha: f64,
    },
    /// The bytes travel beside the message.
    Zip {
        name: String,
    },
    Needs(Needs),
    /// The models that this browser keeps.
    Kept(Vec<KeptModel>),
}
