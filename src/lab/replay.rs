//! Runs PPO steps on given rows and writes every number: to compare a step with TRL, or to study one batch with other settings.
//! Also parses the files of rows.

use super::events::StepObserver;
use super::models::{Actor, keep_initial};
use super::run::{grids, json_bytes};
use super::train::adapter_files;
use crate::encoding;
use crate::error::{Error, Result};
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::safetensors::to_bytes;
pub use crate::ppo::batch::Row;
use crate::ppo::peers::Peers;
use crate::ppo::state::PpoState;
pub use crate::ppo::step::StepOutcome;
use crate::ppo::step::ppo_step;
use crate::settings::PpoConfig;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The form of a line in a rows file, for messages.
const FORM: &str = r#"write {"query_ids":[…],"response_ids":[…],"score":x} on each line"#;

/// A line of `rollouts/step-00001.jsonl`.
#[derive(Deserialize)]
struct RecordedRow {
    query_ids: Vec<u32>,
    response_ids: Vec<u32>,
    score: f32,
}

/// The rows of a jsonl file, in the form that a run writes into `rollouts/`; blank lines are skipped. `path` is for messages.
///
/// # Errors
/// Text that is not UTF-8, a line with another form, no rows; names the line.
pub fn parse_rows(path: &str, bytes: &[u8]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let text = encoding::text(path, bytes)?;
    for (index, line) in encoding::lines(&text).enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: RecordedRow =
            serde_json::from_str(line).map_err(|e| Error::file(format!("{path}, line {}", index + 1), e, FORM))?;
        let RecordedRow { query_ids, response_ids: decoder_ids, score } = line;
        rows.push(Row { query_ids, decoder_ids, score, generated: None });
    }
    if rows.is_empty() {
        return Err(Error::file(path, "no rows in it", FORM));
    }
    Ok(rows)
}

/// A sequence of PPO steps of one policy.
pub struct Replay {
    actor: Actor,
    adapter: AdapterConfig,
    config: PpoConfig,
    state: PpoState,
}

impl Replay {
    /// Starts with the actor's trainable adapter and value head. Padding columns are computed as in TRL.
    pub fn new(mut actor: Actor, adapter: AdapterConfig, mut config: PpoConfig) -> Result<Self> {
        config.pad_to_batch = true;
        actor.policy.value_head.dropout = config.value_head_dropout as f32;
        keep_initial(&mut actor)?;
        let state = PpoState::new(&config);
        Ok(Self { actor, adapter, config, state })
    }

    /// One step on all of `rows`, with mini-batches in the given order or a random one.
    pub async fn step(
        &mut self,
        rows: &[Row],
        orders: Option<&[Vec<usize>]>,
        observer: &mut impl StepObserver,
    ) -> Result<StepOutcome> {
        self.config.batch_size = rows.len();
        ppo_step(&self.actor.policy, &mut self.state, &self.config, rows, orders, &Peers::alone(), observer).await
    }

    /// The files of a step: `stats.json` with TRL's keys, `tensors.safetensors`, adapter and value head.
    pub fn files(&self, outcome: &StepOutcome) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = adapter_files(&self.actor, &self.adapter)?;
        files.insert("stats.json".into(), json_bytes(&outcome.stats.to_json())?);
        files.insert("tensors.safetensors".into(), to_bytes(&grids(outcome)?)?);
        Ok(files)
    }
}
