//! Responses outside a run: generates them for given prompts, or computes the numbers of given ones token by token.

use super::events::Listener;
use super::models::Actor;
use crate::error::Result;
pub use crate::model::generate::{Generated, Sampling};
use crate::model::generate::{Prompt, generate};
use crate::model::policy::{AdapterName, Given, TrainablePolicy};
use crate::nn::rng::{Purpose, Rng};
use candle_core::Tensor;

/// Generates one response for each query (ids), with the random streams of rows `first_row`, `first_row` + 1, … of a seed.
#[allow(clippy::too_many_arguments)] // everything that a generation depends on
pub async fn responses(
    actor: &Actor,
    adapter: AdapterName<'_>,
    queries: &[Vec<u32>],
    max_new_tokens: usize,
    sampling: &Sampling,
    seed: u64,
    first_row: u64,
    listener: &mut impl Listener,
) -> Result<Vec<Generated>> {
    let prompts = (queries.iter().zip(first_row..))
        .map(|(ids, row)| Prompt { ids, max_new_tokens, rng: Rng::new(seed, Purpose::Sampling, 0, row) })
        .collect();
    generate(&actor.policy, adapter, prompts, sampling, listener).await
}

/// Per-token numbers of a response, one entry for each response token (not the start token).
pub struct TokenNumbers {
    pub response_ids: Vec<u32>,
    /// Natural log.
    pub logprobs: Vec<f32>,
    pub values: Vec<f32>,
    /// Nats.
    pub entropy: Vec<f32>,
}

/// Log-probs, values and entropy of a given response; a missing start token is added.
pub fn token_numbers(actor: &Actor, adapter: AdapterName<'_>, query: &[u32], response: &[u32]) -> Result<TokenNumbers> {
    let start = actor.policy.t5.config.decoder_start_token_id;
    let mut decoder = response.to_vec();
    if decoder.first() != Some(&start) {
        decoder.insert(0, start);
    }
    let scores = actor.policy.evaluate(&Given::new(&[(query, &decoder)], decoder.len(), adapter), None)?;
    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    Ok(TokenNumbers {
        logprobs: flat(&scores.logprobs)?,
        values: flat(&scores.values)?,
        entropy: flat(&scores.entropy)?,
        response_ids: decoder.split_off(1),
    })
}
