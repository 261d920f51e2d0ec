//! Everything that crosses between the page and its worker: requests with an id, events on the way, and for every request
//! exactly one [`Reply::Done`] or [`Reply::Failed`]. Plain serde numbers, no tensors; weights never cross. How a message
//! travels is `web`'s, what it causes is `web::worker`'s.

pub use crate::lab::evaluate::Evaluation;
pub use crate::lab::events::Seconds;
pub use crate::lab::statistics::{Difference, Spread, Toxicity, Verdict};
pub use crate::model::reward::Scored;
pub use crate::ppo::batch::Grid;
pub use crate::ppo::config::{PpoConfig, Preset};
pub use crate::ppo::loss::MiniBatchStats;
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
    /// End this request at its next pause point; it answers `Failed` with [`Failure::Stopped`].
    Stop(Id),
    /// Go on from the room at which this request waits.
    Go(Id),
    /// Wait at every room from now on, or at none.
    RoomByRoom(bool),
}

/// What can be asked. Asked one after the other; a request waits until those before it have ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Chapter 1: fetch the shipped models and dialogues, and load them. Answer: [`Answer::Loaded`].
    Load,
    /// Room 3: a text as tokens. Answer: [`Answer::Tokens`].
    Tokens { text: String, by: Side },
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
}

/// Whose tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
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
    /// The worker listens. `kept`: the run that this browser kept, to offer.
    Ready {
        version: String,
        kept: Option<RunInfo>,
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
        failure: Failure,
    },
}

/// Why a request did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Asked to stop; a run went back to its last whole step.
    Stopped,
    /// What failed and what to do, for the person.
    Error { what: String, hint: String },
}

/// On the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Bytes of the models so far.
    Bytes { done: u64, of: u64 },
    /// Rows, texts, mini-batches or dialogues so far; at most some twenty a second.
    Progress { phase: Phase, done: usize, of: usize },
    /// A token was chosen.
    Token(Token),
    /// A room of the PPO step (house.md's number) was reached.
    Reached(u8),
    /// The same with its numbers, room by room only: the request now waits for [`Message::Go`].
    Room(Box<Room>),
    /// A PPO step is done and kept.
    Step(Box<Step>),
    /// Worth knowing, though work goes on.
    Warning(String),
}

/// What is being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Load,
    Generate,
    Score,
    Old,
    Reference,
    Train,
    Evaluate,
}

/// One chosen token, with what else could have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub id: u32,
    /// The token's own text; a leading space where a word begins.
    pub text: String,
    /// Natural log, under the plain softmax.
    pub logprob: f32,
    /// The most probable tokens before any filter, most probable first.
    pub top: Vec<Candidate>,
}

/// A token that could come next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub id: u32,
    pub text: String,
    pub probability: f32,
}

/// A token of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub id: u32,
    pub text: String,
}

/// The numbers of a room as it is reached; grids are (B, R), to be read where `mask` is 1. Rooms are house.md's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// Rooms 1 to 3: the batch's dialogues.
    Queries { rows: Vec<Query> },
    /// Room 4.
    Responses { rows: Vec<Response> },
    /// Room 5.
    Scores { rows: Vec<Scored> },
    /// Room 6.
    Forward { mask: Grid, old_logprobs: Grid, ref_logprobs: Grid, old_values: Grid },
    /// Room 7.
    Rewards { scores: Vec<f32>, kl: Grid, kl_coef: f64, non_score: Grid, rewards: Grid },
    /// Room 8.
    Advantages { advantages: Grid, returns: Grid },
    /// Room 9: one mini-batch, the batch's rows `indices`.
    MiniBatch { indices: Vec<usize>, advantages: Grid, ratio: Grid, stats: MiniBatchStats },
    /// Room 10.
    Optimizer { updates: u64, grad_norm: f64, learning_rate: f64 },
    /// Room 11: TRL's keys.
    Stats(Map<String, Value>),
}

impl Room {
    /// House.md's number of the room.
    pub fn number(&self) -> u8 {
        match self {
            Self::Queries { .. } => 3,
            Self::Responses { .. } => 4,
            Self::Scores { .. } => 5,
            Self::Forward { .. } => 6,
            Self::Rewards { .. } => 7,
            Self::Advantages { .. } => 8,
            Self::MiniBatch { .. } => 9,
            Self::Optimizer { .. } => 10,
            Self::Stats(_) => 11,
        }
    }
}

/// A dialogue as the policy reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The dialogue's id, such as `heated-0007`.
    pub id: String,
    pub dialogue: String,
    pub tokens: usize,
}

/// A response as the policy wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    pub text: String,
    /// The tokens that columns 0, 1, … of the grids are about.
    pub pieces: Vec<Piece>,
}

/// A whole PPO step, for charts and the token strip. Grids (B, R).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub step: u64,
    /// A line of metrics.jsonl, under TRL's keys.
    pub metrics: Map<String, Value>,
    pub queries: Vec<Query>,
    pub responses: Vec<Response>,
    pub scored: Vec<Scored>,
    pub rewards: Vec<f32>,
    pub grids: Grids,
    pub seconds: Seconds,
}

/// The per-token numbers of a step, (B, R) each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grids {
    pub mask: Grid,
    pub old_logprobs: Grid,
    pub ref_logprobs: Grid,
    pub old_values: Grid,
    pub kl: Grid,
    /// −kl_coef · kl.
    pub non_score: Grid,
    pub rewards: Grid,
    /// As GAE gives them; returns = advantages + values.
    pub advantages: Grid,
    /// As the loss uses them.
    pub advantages_whitened: Grid,
    pub returns: Grid,
    /// As the last epoch saw it.
    pub ratio: Grid,
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
}

/// What was loaded, counted from the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    pub policy: PolicyInfo,
    pub reward: RewardInfo,
    /// The shipped dialogues.
    pub dialogues: Vec<Dialogue>,
    /// The shipped models' settings over each preset.
    pub corrected: Box<PpoConfig>,
    pub published: Box<PpoConfig>,
    /// PPO steps of a whole run.
    pub steps: u64,
    pub seconds: f64,
}

/// The policy in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyInfo {
    pub base_parameters: usize,
    pub adapter_parameters: usize,
    pub value_head_parameters: usize,
    pub encoder_blocks: usize,
    pub decoder_blocks: usize,
    pub width: usize,
    pub heads: usize,
    pub vocabulary: usize,
    pub lora_r: usize,
    pub lora_alpha: f64,
    /// Layers under the adapter, by name.
    pub lora_layers: Vec<String>,
    pub bytes: u64,
}

/// The reward model in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardInfo {
    pub parameters: usize,
    pub bytes: u64,
}

/// A shipped dialogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dialogue {
    pub id: String,
    pub dialogue: String,
    pub summary: String,
    /// Of the test split: never trained on.
    pub held_out: bool,
}

/// A word and what it does: the score without it minus the score with it; below 0 it speaks for `nothate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    pub change: f32,
}

/// Numbers and rows of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    pub numbers: Evaluation,
    pub rows: Vec<EvaluatedRow>,
    /// `comparison.csv`.
    pub csv: String,
}

/// One dialogue before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedRow {
    pub id: String,
    pub dialogue: String,
    pub reference: String,
    pub before: String,
    pub after: String,
    pub score_before: f32,
    pub score_after: f32,
    pub toxicity_before: f32,
    pub toxicity_after: f32,
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// PPO steps done, and in all.
    pub step: u64,
    pub steps: u64,
    pub config: Box<PpoConfig>,
    /// metrics.jsonl, a line a step.
    pub metrics: Vec<Map<String, Value>>,
    /// The command that goes on with the saved run natively.
    pub command: String,
}

/// A frozen rollout under other settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// What each response's score would be (B).
    pub scores: Vec<f32>,
    pub grids: Grids,
    /// Means over the mini-batches of the last epoch, with the log-probs and values that it saw.
    pub stats: MiniBatchStats,
    /// The same of the step as it was.
    pub was: MiniBatchStats,
    /// What the settings change that no rollout can tell without the model; each in words.
    pub not_shown: Vec<String>,
}
