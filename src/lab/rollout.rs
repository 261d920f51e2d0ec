//! Chapters 2.1 and 2.2 for a batch: dialogue → prompt → tokens → generate → reward (stages 1 to 5).

use super::events::{Event, Observer, Phase, Seconds};
use super::exchange;
use super::models::{Actor, Judge};
use crate::error::{Error, Result};
use crate::model::generate::{Choice, Generated, Listener, Prompt, Sampling, generate};
use crate::model::policy::AdapterName;
use crate::model::reward::Scored;
use crate::nn::rng::{Purpose, Rng};
use crate::pace::Pace;
use crate::ppo::peers::Peers;
use crate::settings::{PpoConfig, RewardRead, ScoredText};
use crate::text::dialogue::Dialogue;
use crate::text::prompt::Query;
use serde::Serialize;
use std::ops::Range;

/// One response with its score.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The dialogue's id, such as `train_0`.
    pub id: String,
    pub query: String,
    pub query_ids: Vec<u32>,
    /// The response without special tokens.
    pub response: String,
    /// The decoder ids for [`crate::ppo::step::ppo_step`]; the settings say whether the start token is kept.
    pub response_ids: Vec<u32>,
    /// The text that was scored.
    #[serde(skip)]
    pub scored_text: String,
    #[serde(flatten)]
    pub scored: Scored,
    /// The reward of the whole response: the settings say which logit it is.
    pub reward: f32,
    #[serde(skip)]
    pub generated: Generated,
}

/// A batch of responses, and the time it took.
pub struct Rollout {
    pub samples: Vec<Sample>,
    /// `generate` and `score` are filled.
    pub seconds: Seconds,
}

/// A row's maximum number of new tokens and its random stream.
pub struct Draw {
    pub max_new_tokens: usize,
    pub rng: Rng,
}

/// The draw of a row in a PPO step.
pub fn training_draw(config: &PpoConfig, step: u64, row: u64) -> Draw {
    let (low, high) = (config.output_min_length as u64, config.output_max_length as u64);
    let max_new_tokens = Rng::new(config.seed, Purpose::Length, step, row).below(low, high) as usize;
    Draw { max_new_tokens, rng: Rng::new(config.seed, Purpose::Sampling, step, row) }
}

/// The sampling of these settings.
pub fn sampling(config: &PpoConfig) -> Sampling {
    Sampling {
        greedy: false,
        temperature: config.temperature as f32,
        top_k: config.top_k,
        top_p: config.top_p as f32,
        min_length: config.min_length,
    }
}

/// The purpose of a batch of responses; the published lab treats the two differently (docs/ppo.md 2.3, 2.4 and 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutFor {
    /// A PPO step: the published lab scores query and response including the text of special tokens.
    Training,
    /// Before/after: the published lab encodes the decoded query again (its ids end in `</s></s>`), and scores the query, a
    /// space, and the response without special tokens.
    Evaluation,
}

/// Generates and scores one response for each dialogue; `draws` has the same order. Each of the `peers` computes its share of the
/// rows, and gets the responses and scores of all.
#[allow(clippy::too_many_arguments)] // the inputs of all stages
pub async fn rollout(
    stage: RolloutFor,
    actor: &Actor,
    judge: &Judge,
    dialogues: &[&Dialogue],
    adapter: AdapterName<'_>,
    draws: Vec<Draw>,
    sampling: &Sampling,
    config: &PpoConfig,
    peers: &Peers,
    observer: &mut impl Observer,
) -> Result<Rollout> {
    let started = observer.seconds();
    let tokenizer = actor.tokenizer()?;
    let whole_text = config.scored_text == ScoredText::QueryAndResponse;
    let mut queries = dialogues.iter().map(|d| Query::new(tokenizer, &d.dialogue)).collect::<Result<Vec<_>>>()?;
    if whole_text && stage == RolloutFor::Evaluation {
        for query in &mut queries {
            query.ids = tokenizer.encode(&query.text)?;
        }
    }
    observer.event(Event::Queries(dialogues, &queries));
    observer.pause().await?;
    let share = peers.share(dialogues.len());
    let limits: Vec<usize> = draws.iter().map(|d| d.max_new_tokens).collect();
    let prompts = (queries.iter().zip(draws))
        .map(|(q, d)| Prompt { ids: &q.ids, max_new_tokens: d.max_new_tokens, rng: d.rng })
        .skip(share.start)
        .take(share.len())
        .collect();
    let eos = actor.policy.t5.config.eos_token_id;
    let own = &limits[share.clone()];
    let mut relay = Relay { observer, first: share.start, limits: own, lengths: vec![0; own.len()], ended: 0, eos };
    let generated = generate(&actor.policy, adapter, prompts, sampling, &mut relay).await;
    let generated = exchange::generated(generated.map_err(|e| in_share(e, &share)), peers)?;
    observer.event(Event::Responses(&generated));
    observer.pause().await?;
    let generated_at = observer.seconds();
    let as_given = |i: usize| {
        let keep = if config.keep_start_token { usize::MAX } else { limits[i] };
        cut(&generated[i].ids, keep)
    };
    let scored_text = |i: usize| {
        let response = tokenizer.decode(&generated[i].ids, true)?;
        Ok(match stage {
            _ if !whole_text => response,
            RolloutFor::Training => format!("{}{}", queries[i].text, tokenizer.decode(as_given(i), false)?),
            RolloutFor::Evaluation => format!("{} {response}", queries[i].text),
        })
    };
    let texts = (0..generated.len()).map(scored_text).collect::<Result<Vec<String>>>()?;
    observer.event(Event::Progress { phase: Phase::Score, done: 0, of: share.len() });
    let scored = judge.score(&texts[share.clone()], config.truncate_reward_input, observer).await;
    let scored = exchange::scored(scored.map_err(|e| in_share(e, &share)), peers)?;
    observer.event(Event::Progress { phase: Phase::Score, done: share.len(), of: share.len() });
    observer.event(Event::Scores(&scored));
    observer.pause().await?;
    let sample = |(i, scored): (usize, Scored)| {
        Ok(Sample {
            id: dialogues[i].id.clone(),
            query: queries[i].text.clone(),
            query_ids: queries[i].ids.clone(),
            response: tokenizer.decode(&generated[i].ids, true)?,
            response_ids: as_given(i).to_vec(),
            scored_text: texts[i].clone(),
            reward: match config.reward_read {
                RewardRead::NothateLogit => scored.score,
                RewardRead::MaxLogit => scored.lab_reward(),
            },
            scored,
            generated: generated[i].clone(),
        })
    };
    let samples = scored.into_iter().enumerate().map(sample).collect::<Result<_>>()?;
    let (generate, score) = (generated_at - started, observer.seconds() - generated_at);
    Ok(Rollout { samples, seconds: Seconds { generate, score, ..Seconds::default() } })
}

/// An error that counts a share's rows, with rows counted as in the batch.
fn in_share(error: Error, share: &Range<usize>) -> Error {
    match error {
        Error::NotFinite { what, row, hint } if share.start > 0 => {
            let what = format!("of the rows {} to {}: {what}", share.start + 1, share.end);
            Error::NotFinite { what, row: row.map(|row| share.start + row), hint }
        }
        other => other,
    }
}

/// The notebook's slice `summary[-max_new_tokens:]`, which cuts off the start token at the length limit (docs/ppo.md 2.3).
fn cut(ids: &[u32], max_new_tokens: usize) -> &[u32] {
    &ids[ids.len().saturating_sub(max_new_tokens)..]
}

/// Reports a generation's tokens and finished rows to the observer.
struct Relay<'a, O> {
    observer: &'a mut O,
    /// The batch's row that is the first of this generation.
    first: usize,
    limits: &'a [usize],
    lengths: Vec<usize>,
    ended: usize,
    eos: u32,
}

impl<O: Observer> Pace for Relay<'_, O> {
    async fn pause(&mut self) -> Result<()> {
        self.observer.pause().await
    }
}

impl<O: Observer> Listener for Relay<'_, O> {
    fn token(&mut self, choice: Choice<'_>) {
        let (row, id) = (choice.row, choice.id);
        self.observer.event(Event::Token(Choice { row: self.first + row, ..choice }));
        self.lengths[row] += 1;
        if id == self.eos || self.lengths[row] == self.limits[row] {
            self.ended += 1;
            self.observer.event(Event::Progress { phase: Phase::Generate, done: self.ended, of: self.limits.len() });
        }
    }
}
