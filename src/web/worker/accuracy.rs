//! What a number type costs in accuracy: the numbers of a kept model beside those of the files that it was converted from.

use super::keep::Opened;
use super::port::Port;
use super::real::precision;
use super::session::Session;
use crate::error::Result;
use crate::lab::memory::held;
use crate::lab::models::{Actor, Judge, Precision};
use crate::lab::responses::token_numbers;
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::pace::NonStop;
use crate::protocol::KeptModel;
use crate::text::dialogue::Dialogue;
use crate::text::prompt::Query;

/// Dialogues that are compared.
const COMPARED: usize = 4;
/// The largest model, in bytes, that is held in f32 for it. Of a larger one f16 is the reference.
const LARGEST: u64 = 3 << 29;

/// Log-probs of the dialogues' reference summaries, token by token.
fn logprobs(actor: &Actor, dialogues: &[Dialogue]) -> Result<Vec<f32>> {
    let tokenizer = actor.tokenizer()?;
    let mut all = Vec::new();
    for dialogue in dialogues {
        let query = Query::new(tokenizer, &dialogue.dialogue)?;
        all.extend(token_numbers(actor, None, &query.ids, &tokenizer.encode(&dialogue.summary)?)?.logprobs);
    }
    Ok(all)
}

/// Both logits of the dialogues' reference summaries.
async fn logits(judge: &Judge, dialogues: &[Dialogue]) -> Result<Vec<f32>> {
    let texts: Vec<String> = dialogues.iter().map(|dialogue| dialogue.summary.clone()).collect();
    let scored = judge.score(&texts, true, &mut NonStop).await?;
    Ok(scored.iter().flat_map(|scored| [scored.logits.nothate, scored.logits.hate]).collect())
}

/// Mean and largest difference in words; nothing if the numbers cannot be compared.
fn words(what: &str, reference: Precision, exact: &[f32], now: &[f32]) -> Option<String> {
    let off = || exact.iter().zip(now).map(|(a, b)| f64::from((a - b).abs()));
    if exact.is_empty() || exact.len() != now.len() || off().any(|off| !off.is_finite()) {
        return None;
    }
    let (mean, most) = (off().sum::<f64>() / exact.len() as f64, off().fold(0.0, f64::max));
    Some(format!("{what} differ from {} by {mean:.1e} on average, at most {most:.1e}", reference.name()))
}

impl<P: Port> Session<P> {
    /// Compares a kept model with the files that it was converted from, and notes the result beside it. A model that is kept in f32
    /// has the numbers of its files.
    pub(super) async fn note_accuracy(&mut self, files: Opened, kept: &KeptModel) -> Result<()> {
        let kind = precision(kept.weights);
        let reference = if held(&files.tensors(), Precision::F32) <= LARGEST { Precision::F32 } else { Precision::F16 };
        if kind == Precision::F32 || kind == reference {
            return Ok(());
        }
        let mut dialogues = self.dialogues().await?;
        dialogues.truncate(COMPARED);
        let (what, exact, now) = match files {
            Opened::Policy(policy) => {
                let exact = logprobs(&policy.load(reference, 0)?, &dialogues)?;
                let now = PolicySource::open(self.kept(kept).await?)?.load(kind, 0)?;
                ("log-probs", exact, logprobs(&now, &dialogues)?)
            }
            Opened::Reward(reward) => {
                let labels = reward.labels;
                let exact = logits(&reward.source.load(reference, labels.as_ref())?, &dialogues).await?;
                let now = RewardSource::open(self.kept(kept).await?)?.load(kind, labels.as_ref())?;
                ("logits", exact, logits(&now, &dialogues).await?)
            }
        };
        if let Some(words) = words(&format!("{what} of reference summaries"), reference, &exact, &now) {
            self.port.model_accuracy(&kept.key, &words).await;
        }
        Ok(())
    }
}
