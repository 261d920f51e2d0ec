//! Converts the lab's types to the protocol's.

use crate::error::Result;
use crate::io::adapter_config::AdapterConfig;
use crate::lab::evaluate::{Evaluation, Paired};
use crate::lab::events::{Dialogue, Generated, Query as LabQuery, StepStage};
use crate::lab::models::{Actor, POLICY};
use crate::lab::replay::StepOutcome;
use crate::lab::table::ComparisonTable;
use crate::lab::train::Stepped;
use crate::lab::what_if::Recomputed;
use crate::protocol::{
    self, Evaluated, EvaluatedRow, Grid, Grids, Piece, PolicyInfo, Query, Response, Stage, Step, WhatIf,
};
use crate::text::tokenizer::Tokenizer;

/// The numbers of a stage of the PPO step; none for a progress event.
pub fn stage(stage: &StepStage<'_>) -> Option<Stage> {
    Some(match stage {
        StepStage::Progress { .. } => return None,
        StepStage::Forward { batch, forward } => Stage::Forward {
            mask: batch.mask.clone(),
            old_logprobs: finite(&forward.old_logprobs),
            ref_logprobs: finite(&forward.ref_logprobs),
            old_values: finite(&forward.old_values),
        },
        StepStage::Rewards { scores, kl, kl_coef, rewards } => Stage::Rewards {
            scores: scores.to_vec(),
            kl: finite(kl),
            kl_coef: *kl_coef,
            non_score: finite(&rewards.non_score),
            rewards: finite(&rewards.rewards),
        },
        StepStage::Advantages(x) => {
            Stage::Advantages { advantages: finite(&x.advantages), returns: finite(&x.returns) }
        }
        StepStage::MiniBatch(mini) => Stage::MiniBatch {
            indices: mini.indices.clone(),
            advantages: finite(&mini.advantages),
            ratio: finite(&mini.loss.ratio),
            stats: mini.loss.stats,
        },
        StepStage::Optimizer { updates, grad_norm, learning_rate } => {
            Stage::Optimizer { updates: *updates, grad_norm: *grad_norm, learning_rate: *learning_rate }
        }
        StepStage::Stats(stats) => Stage::Statistics(Box::new(stats.line.clone())),
    })
}

/// JSON has no NaN; the numbers of masked columns are not used anyway.
fn finite(grid: &Grid) -> Grid {
    grid.map(|x| if x.is_finite() { x } else { 0.0 })
}

pub fn queries_stage(dialogues: &[&Dialogue], queries: &[LabQuery]) -> Stage {
    let query =
        |(d, q): (&&Dialogue, &LabQuery)| Query { id: d.id.clone(), dialogue: d.dialogue.clone(), tokens: q.ids.len() };
    Stage::Queries { rows: dialogues.iter().zip(queries).map(query).collect() }
}

pub fn responses_stage(generated: &[Generated], tokenizer: Option<&Tokenizer>) -> Stage {
    Stage::Responses { rows: generated.iter().map(|g| response(&g.ids, tokenizer)).collect() }
}

/// From decoder ids, the start token first; the columns are about the ids after it.
fn response(ids: &[u32], tokenizer: Option<&Tokenizer>) -> Response {
    let Some(tokenizer) = tokenizer else { return Response { text: String::new(), pieces: Vec::new() } };
    let text = tokenizer.decode(ids, true).unwrap_or_default();
    Response { text, pieces: pieces(tokenizer, ids.get(1..).unwrap_or_default()) }
}

pub fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<Piece> {
    tokenizer.pieces(ids).into_iter().map(|p| Piece { id: p.id, text: p.text }).collect()
}

/// The per-token numbers of a step.
pub fn grids(outcome: &StepOutcome) -> Grids {
    Grids {
        mask: outcome.mask.clone(),
        old_logprobs: finite(&outcome.forward.old_logprobs),
        ref_logprobs: finite(&outcome.forward.ref_logprobs),
        old_values: finite(&outcome.forward.old_values),
        kl: finite(&outcome.kl),
        non_score: finite(&outcome.rewards.non_score),
        rewards: finite(&outcome.rewards.rewards),
        advantages: finite(&outcome.advantages.advantages),
        advantages_whitened: finite(&outcome.advantages_whitened),
        returns: finite(&outcome.advantages.returns),
        ratio: finite(&outcome.ratio),
    }
}

/// A whole step; `dialogue` finds a dialogue's text by its id.
pub fn step(stepped: &Stepped, tokenizer: &Tokenizer, dialogue: impl Fn(&str) -> String) -> Step {
    let samples = &stepped.samples;
    let query = |s: &crate::lab::rollout::Sample| Query {
        id: s.id.clone(),
        dialogue: dialogue(&s.id),
        tokens: s.query_ids.len(),
    };
    Step {
        step: stepped.step,
        statistics: stepped.statistics.clone(),
        queries: samples.iter().map(query).collect(),
        responses: samples.iter().map(|s| response(&s.generated.ids, Some(tokenizer))).collect(),
        scored: samples.iter().map(|s| s.scored).collect(),
        rewards: samples.iter().map(|s| s.reward).collect(),
        grids: grids(&stepped.outcome),
        seconds: stepped.seconds,
    }
}

/// A rollout recomputed with other settings, beside the step as it was.
pub fn what_if(x: Recomputed, outcome: &StepOutcome) -> WhatIf {
    let (rewards, advantages) = (&x.rewards, &x.advantages);
    WhatIf {
        grids: Grids {
            kl: finite(&x.kl),
            non_score: finite(&rewards.non_score),
            rewards: finite(&rewards.rewards),
            advantages: finite(&advantages.advantages),
            advantages_whitened: finite(&x.advantages_whitened),
            returns: finite(&advantages.returns),
            ..grids(outcome)
        },
        scores: x.scores,
        stats: x.stats,
        was: outcome.stats.mean,
        not_shown: x.not_shown,
    }
}

/// An evaluation with its rows and the table as csv.
pub fn evaluated(numbers: Evaluation, pairs: &[Paired]) -> Result<Evaluated> {
    let about = vec![("seed".to_string(), numbers.options.seed.to_string())];
    let table = ComparisonTable::new(pairs.iter().map(Paired::row).collect(), about, numbers.options.seed)?;
    let row = |p: &Paired| EvaluatedRow {
        id: p.dialogue.id.clone(),
        dialogue: p.dialogue.dialogue.clone(),
        reference: p.dialogue.summary.clone(),
        before: p.before.response.clone(),
        after: p.after.response.clone(),
        score_before: p.before.reward,
        score_after: p.after.reward,
        toxicity_before: p.before.scored.toxicity,
        toxicity_after: p.after.scored.toxicity,
    };
    let csv = String::from_utf8_lossy(&table.csv()?).into_owned();
    Ok(Evaluated { numbers, rows: pairs.iter().map(row).collect(), csv })
}

/// The policy in numbers, counted from its tensors.
pub fn policy(actor: &Actor, adapter: &AdapterConfig, bytes: u64) -> Result<PolicyInfo> {
    let (config, set) = (&actor.policy.t5.config, actor.policy.adapter(Some(POLICY))?);
    let layers: Vec<String> =
        set.map(|s| s.vars().map(|(module, ..)| module.to_string()).collect()).unwrap_or_default();
    let head: usize = actor.value_head_tensors().values().map(|t| t.elem_count()).sum();
    Ok(PolicyInfo {
        base_parameters: actor.policy.t5.parameters(),
        adapter_parameters: actor.policy.trainable_parameters() - head,
        value_head_parameters: head,
        encoder_blocks: config.num_layers,
        decoder_blocks: config.num_decoder_layers.unwrap_or(config.num_layers),
        width: config.d_model,
        heads: config.num_heads,
        vocabulary: config.vocab_size,
        lora_r: adapter.r,
        lora_alpha: adapter.lora_alpha,
        lora_layers: layers,
        bytes,
    })
}

/// A shipped dialogue.
pub fn dialogue(d: &Dialogue, held_out: bool) -> protocol::Dialogue {
    protocol::Dialogue { id: d.id.clone(), dialogue: d.dialogue.clone(), summary: d.summary.clone(), held_out }
}
