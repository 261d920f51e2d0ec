//! Whether a policy is the one that a run was trained with.

use super::models::{Actor, INITIAL};
use super::replay::parse_rows;
use super::responses::token_numbers;
use super::run::{ROLLOUTS, RunConfig, Store};
use crate::error::{Error, Result};
use crate::io::checkpoint::weights::load_file;
use crate::settings::KlReference;

/// The largest difference in a token's log-prob when one model is computed on two machines or with other numbers of threads.
const SAME: f32 = 0.05;

/// Refuses a policy that has the right shape but other weights: compares its log-probs of a saved response with the run's.
///
/// # Errors
/// Another policy, with this hint; a run that cannot be read.
pub fn check_same_policy(store: &dyn Store, config: &RunConfig, actor: &Actor, hint: &str) -> Result<()> {
    let rollouts = store.list(ROLLOUTS)?;
    let Some(name) = rollouts.iter().rev().find_map(|name| name.strip_suffix(".jsonl")) else { return Ok(()) };
    let (rows, tensors) = (format!("{ROLLOUTS}/{name}.jsonl"), format!("{ROLLOUTS}/{name}.safetensors"));
    let rows = parse_rows(&store.path(&rows), &store.read(&rows)?)?;
    let numbers = load_file(store, &tensors, &|name| name == "ref_logprobs")?;
    let (Some(row), Some(numbers)) = (rows.first(), numbers.get("ref_logprobs")) else { return Ok(()) };
    if row.decoder_ids.first() != Some(&actor.policy.t5.config.decoder_start_token_id) {
        return Ok(()); // without its start token, the response was computed one position off
    }
    let adapter = match config.ppo.kl_reference {
        KlReference::Base => None,
        KlReference::Initial => Some(INITIAL),
    };
    let now = token_numbers(actor, adapter, &row.query_ids, &row.decoder_ids)?.logprobs;
    let then = numbers.get(0)?.to_vec1::<f32>()?;
    match now.iter().zip(&then).find(|(now, then)| (*now - *then).abs() > SAME) {
        None => Ok(()),
        Some((now, then)) => {
            let what = format!(
                "this is not the policy that the run was trained with: it gives a token of {} the log-prob {now:.3}, but the \
                                 run's policy gave it {then:.3}",
                store.path(ROLLOUTS)
            );
            Err(Error::file(&config.policy, what, hint))
        }
    }
}
