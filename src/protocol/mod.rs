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

/// A request's number, chosen by the page.
pub type Id = u64;

/// From the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    Request {
        id: Id,
        ask: Ask,
    },
    /// Stop this request at its next pause point; its answer is `Failed` with [`Error::Stopped`].
    Stop(Id),
    /// Continue this request from the stage at which it waits.
    Go(Id),
    /// Whether to wait at every stage from now on.
    StageByStage(bool),
}

/// A request. Requests are handled one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Chapter 1: download and load the tiny models and dialogues. Answer: [`Answer::Loaded`].
    Load,
    /// Stage 3: the tokens of a text; the policy's are those of a dialogue in its prompt. Answer: [`Answer::Tokens`].
    Tokens { text: String, by: Reader },
    /// Chapter 2.1: a summary, streamed as [`Event::Token`]. Answer: [`Answer::Generated`].
    Generate(Generate),
    /// Chapter 2.2: logits, probabilities and score of texts. Answer: [`Answer::Scored`].
    Score { texts: Vec<String> },
    /// Chapter 2.2: how each word changes a text's score. Answer: [`Answer::Words`].
    Words { text: String },
    /// Chapter 2.3 if `before` = `after`, else 3.3 and 3.4: evaluate on `n` test dialogues. Answer: [`Answer::Evaluated`].
    Evaluate { n: usize, seed: u64, greedy: bool, before: Adapter, after: Adapter },
    /// Chapter 3.1: start a run with these settings from the tiny adapter; it replaces an older run. Answer: [`Answer::Run`].
    Start { config: Map<String, Value>, preset: Preset, steps: u64 },
    /// Chapter 3.2: train this number of PPO steps, each reported as [`Event::Step`]. Answer: [`Answer::Run`].
    Train { steps: u64 },
    /// Chapter 3.2: recompute the last step's rollout with other settings, without a model. Answer: [`Answer::WhatIf`].
    WhatIf { config: Map<String, Value>, preset: Preset },
    /// The adapter in PEFT's layout as a zip, or the run's folder. Answer: [`Answer::Zip`].
    Save { what: Saved },
    /// Open a zip saved by the page or the command line, or the files of a PEFT folder, by name and size. The bytes are sent with
    /// the message. Answer: [`Answer::Run`] or [`Answer::Adapter`].
    Open { name: String, files: Vec<(String, usize)> },
    /// Continue the run that this browser has kept. Answer: [`Answer::Run`].
    Restore,
    /// Remove the run that this browser has kept. Answer: [`Answer::Nothing`].
    Forget,
    /// Say what a policy and a reward model will need, from the headers of their files, which are sent with the message or are on
    /// a server, if no dialogue is longer than this one (none: the shipped dialogues). Answer: [`Answer::Needs`].
    Needs { models: [Incoming; 2], longest: Option<String> },
    /// Convert models and keep them in this browser. Their files are sent with the message, or are downloaded first; a download
    /// that was interrupted is continued. Answer: [`Answer::Kept`], first these models.
    Keep { models: Vec<Incoming>, weights: NumberType },
    /// Load a kept policy and a kept reward model, by key. Answer: [`Answer::Loaded`].
    Use { keys: [String; 2] },
    /// Use the dialogues of a file, whose bytes are sent with the message; without a name, the shipped ones again. Answer:
    /// [`Answer::Loaded`].
    Data { name: String },
    /// Remove kept models, by key; with `partial` only those whose download is not complete. Answer: [`Answer::Kept`].
    Remove { keys: Vec<String>, partial: bool },
}

/// The model whose tokenizer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    Policy,
    Reward,
}

/// The active adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adapter {
    /// The trained adapter, in its current state.
    Policy,
    /// The adapter at step 0.
    Initial,
    /// No adapter: the base model.
    Off,
}

/// What to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saved {
    Adapter,
    Run,
}

/// Options for generating a summary.
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

/// From the worker. [`Reply::Ready`] is first: messages sent before it would be lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The worker is ready. `threads`: how many it uses; `kernel`: the name of its kernel. `kept`: the run that this browser has
    /// kept. `models`: the models that it has kept.
    Ready {
        version: String,
        threads: usize,
        kernel: String,
        kept: Option<RunInfo>,
        models: Vec<KeptModel>,
    },
    /// An event before the answer.
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

/// Progress of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Bytes of the models that have been downloaded.
    Bytes { done: u64, of: u64 },
    /// Rows, texts, mini-batches or dialogues that are done; about ten events per second at most.
    Progress { phase: Phase, done: usize, of: usize },
    /// A token was chosen.
    Token(Token),
    /// A stage of the PPO step (by its number, 1 to 12) was reached.
    Reached(u8),
    /// A stage with its numbers, only in stage-by-stage mode: the request now waits for [`Message::Go`].
    Stage(Box<Stage>),
    /// A PPO step is done and saved.
    Step(Box<Step>),
    /// A warning; work continues.
    Warning(String),
    /// Bytes of memory that the worker has taken so far; WebAssembly cannot return memory.
    Memory(u64),
}

/// The answer to a successful request.
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
    /// The bytes are sent with the message.
    Zip {
        name: String,
    },
    Needs(Needs),
    /// The models that this browser keeps, and partial downloads.
    Kept(Vec<KeptModel>),
}
