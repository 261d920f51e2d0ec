//! Forecasts the memory that a command needs from the headers of its models, with the formulas of [`crate::lab::memory`]. The
//! caller compares it with the machine's memory.

use super::policy::PolicySource;
use super::reward::RewardSource;
use crate::error::Result;
use crate::io::adapter_config::AdapterConfig;
use crate::lab::memory::{self, adapted, longest_scored};
pub use crate::lab::memory::{Forecast, Tokens, longest_response};
use crate::lab::models::Precision;
use crate::model::config::T5Config;
use crate::settings::PpoConfig;
use crate::text::tokenizer::Tokenizer;

/// Texts that are scored together.
const SCORED: usize = 16;
/// To find the longest text in tokens, this many of the longest texts in bytes are tokenized.
const TOKENIZED: usize = 16;

/// Tokens of the longest text. Without a tokenizer, an upper limit: every token has at least one byte, except a start and an
/// end token.
///
/// # Errors
/// A text that cannot be tokenized.
pub fn longest(texts: impl IntoIterator<Item = impl AsRef<str>>, tokenizer: Option<&Tokenizer>) -> Result<usize> {
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by_key(|text| std::cmp::Reverse(text.as_ref().len()));
    texts.truncate(TOKENIZED);
    let tokens = texts.iter().map(|text| match tokenizer {
        Some(tokenizer) => tokenizer.encode(text.as_ref()).map(|ids| ids.len()),
        None => Ok(text.as_ref().len() + 2),
    });
    Ok(tokens.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0))
}

/// PPO steps with an adapter, on rows with at most `tokens`.
pub fn ppo(
    policy: &PolicySource<'_>,
    reward: Option<&RewardSource<'_>>,
    adapter: &AdapterConfig,
    config: &PpoConfig,
    tokens: Tokens,
    precision: Precision,
) -> Forecast {
    let mut forecast = Forecast::new();
    let tensors = policy.tensors_in_memory();
    forecast.weights("the policy", &tensors, precision);
    if let Some(reward) = reward {
        add_scoring(&mut forecast, reward, longest_scored(config, tokens), precision);
    }
    memory::ppo(&mut forecast, &policy.config, &adapted(adapter, &tensors), config, tokens);
    forecast
}

/// Generation for prompts and responses of at most `tokens`, `rows` together, and scoring if there is a reward model.
pub fn generation(
    policy: &PolicySource<'_>,
    reward: Option<&RewardSource<'_>>,
    rows: usize,
    tokens: Tokens,
    precision: Precision,
) -> Forecast {
    let mut forecast = of_policy(policy, precision);
    if let Some(reward) = reward {
        add_scoring(&mut forecast, reward, tokens.prompt.saturating_add(tokens.response), precision);
    }
    memory::generation(&mut forecast, &policy.config, rows, tokens);
    forecast
}

/// The per-token numbers of given rows, one row at a time.
pub fn token_numbers(policy: &PolicySource<'_>, tokens: Tokens, precision: Precision) -> Forecast {
    let mut forecast = of_policy(policy, precision);
    memory::teacher_forced(&mut forecast, &policy.config, tokens);
    forecast
}

/// Scoring texts of at most `tokens` tokens.
pub fn scoring(reward: &RewardSource<'_>, tokens: usize, precision: Precision) -> Forecast {
    let mut forecast = Forecast::new();
    add_scoring(&mut forecast, reward, tokens, precision);
    forecast
}

/// Fine-tuning an adapter, or (none) every parameter, in batches of `rows` pairs of at most `tokens`.
pub fn finetune(
    policy: &PolicySource<'_>,
    adapter: Option<&AdapterConfig>,
    rows: usize,
    tokens: Tokens,
    precision: Precision,
) -> Forecast {
    let mut forecast = Forecast::new();
    let tensors = if adapter.is_some() { policy.tensors_in_memory() } else { policy.tensors() };
    let config: &T5Config = &policy.config;
    forecast.weights("the policy", &tensors, precision);
    memory::finetune(&mut forecast, config, &tensors, adapter, rows, tokens);
    forecast
}

fn of_policy(policy: &PolicySource<'_>, precision: Precision) -> Forecast {
    let mut forecast = Forecast::new();
    forecast.weights("the policy", &policy.tensors_in_memory(), precision);
    forecast
}

fn add_scoring(forecast: &mut Forecast, reward: &RewardSource<'_>, tokens: usize, precision: Precision) {
    forecast.weights("the reward model", &reward.tensors_in_memory(), precision);
    forecast.phase(format!("scoring {SCORED} texts"), memory::scoring(&reward.config, SCORED, tokens));
}
