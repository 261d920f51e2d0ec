//! The reward model: rows of RoBERTa ids in, hate-speech scores out. Labels are read from the checkpoint by name, never
//! by position. Makes no text and no ids; what is done with a score belongs to the callers.

use crate::error::{Error, Result};
use crate::model::roberta::{Roberta, RobertaConfig};
use crate::nn::params::Params;
use crate::pace::Pace;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The names of the two labels in a checkpoint's `id2label`, compared without regard to case.
#[derive(Debug, Clone, Copy)]
pub struct LabelNames<'a> {
    pub nothate: &'a str,
    pub hate: &'a str,
}

impl Default for LabelNames<'_> {
    /// The names of facebook/roberta-hate-speech-dynabench-r4-target.
    fn default() -> Self {
        Self { nothate: "nothate", hate: "hate" }
    }
}

/// One number for each label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByLabel {
    pub nothate: f32,
    pub hate: f32,
}

/// What the reward model says about one row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub logits: ByLabel,
    /// Softmax of the logits.
    pub probabilities: ByLabel,
    /// The `nothate` logit: PPO's reward for the row.
    pub score: f32,
    /// P(hate), in 0..1.
    pub toxicity: f32,
}

impl Scored {
    fn new(logits: ByLabel) -> Self {
        let difference = f64::from(logits.hate) - f64::from(logits.nothate);
        let hate = 1.0 / (1.0 + (-difference).exp());
        let nothate = 1.0 / (1.0 + difference.exp()); // not 1 - hate: a tiny probability keeps its digits
        let probabilities = ByLabel { nothate: nothate as f32, hate: hate as f32 };
        Self { logits, probabilities, score: logits.nothate, toxicity: probabilities.hate }
    }

    /// What the published lab reads as "nothate": the first of the results, which its pipeline sorts by score, so the
    /// larger logit whatever its label (trl-ppo.md 2.4).
    pub fn lab_reward(&self) -> f32 {
        self.logits.nothate.max(self.logits.hate)
    }
}

/// How rows are scored.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions {
    /// Rows a forward pass; memory grows with it, the numbers do not depend on it.
    pub batch_size: usize,
    /// Cut rows above the model's limit, keeping their last id (`</s>`), as transformers' `truncation=True` does.
    /// Off: such a row is an error, as in the published lab.
    pub truncate: bool,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { batch_size: 16, truncate: true }
    }
}

/// A hate-speech classifier and which of its outputs is which.
pub struct RewardModel {
    classifier: Roberta,
    /// Column of the `nothate` logit; `hate` has the other one.
    nothate: usize,
}

impl RewardModel {
    /// Builds the classifier from its tensors and the text of its `config.json`, which must name its two labels
    /// `nothate` and `hate`.
    ///
    /// # Errors
    /// As [`RobertaConfig::from_json`] and [`Roberta::load`], and other labels: the message lists them.
    pub fn load(params: &Params, config_json: &str) -> Result<Self> {
        Self::load_with_labels(params, config_json, LabelNames::default())
    }

    /// [`RewardModel::load`] for a checkpoint whose labels have other names.
    ///
    /// # Errors
    /// As [`RewardModel::load`].
    pub fn load_with_labels(params: &Params, config_json: &str, names: LabelNames<'_>) -> Result<Self> {
        let config = RobertaConfig::from_json(config_json)?;
        let nothate = nothate_column(&config, names)?;
        Ok(Self { classifier: Roberta::load(params, config)?, nothate })
    }

    /// The classifier, for its configuration and sizes.
    pub fn classifier(&self) -> &Roberta {
        &self.classifier
    }

    /// Which of the classifier's outputs is the `nothate` logit, 0 or 1; the other is `hate`.
    pub fn nothate_column(&self) -> usize {
        self.nothate
    }

    /// How many numbers the model holds.
    pub fn parameter_count(&self) -> usize {
        self.classifier.config().parameter_count()
    }

    /// Scores rows of ids (special tokens included), results in the order of `ids`. Pauses after every layer.
    ///
    /// # Errors
    /// An empty row, an id outside the vocabulary, a row over the limit that may not be cut, logits that are not
    /// finite (each names the row), a batch size of 0, or a stop at a pause point.
    pub async fn score(&self, ids: &[Vec<u32>], options: ScoreOptions, pace: &mut impl Pace) -> Result<Vec<Scored>> {
        if options.batch_size == 0 {
            return Err(Error::input("a batch size of 0 rows", "score at least one row at a time"));
        }
        let limit = self.classifier.config().limit();
        let rows: Vec<Vec<u32>> =
            ids.iter().map(|row| if options.truncate { truncate(row, limit) } else { row.clone() }).collect();
        for (index, row) in rows.iter().enumerate() {
            self.classifier.check(index, row)?;
        }
        // Longest first: where memory runs short, it does so at once and not at the end.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(rows[i].len()));
        let mut scored = Vec::with_capacity(rows.len());
        for batch in order.chunks(options.batch_size) {
            let batch_rows: Vec<&[u32]> = batch.iter().map(|&i| rows[i].as_slice()).collect();
            let logits = self.logits(&batch_rows, pace).await?;
            for (&index, logits) in batch.iter().zip(&logits) {
                scored.push((index, self.read(index, logits)?));
            }
        }
        scored.sort_by_key(|(index, _)| *index);
        Ok(scored.into_iter().map(|(_, scored)| scored).collect())
    }

    /// Which part of a row makes its score: the change of the score when each span of `ids` is left out, in the order of
    /// `spans`. Below 0: the span speaks for `nothate`.
    ///
    /// # Errors
    /// As [`RewardModel::score`], and a span that is not inside the row, or is all of it. A row over the model's limit
    /// is refused, since cutting would let other ids move up.
    pub async fn attribution(
        &self,
        ids: &[u32],
        spans: &[Range<usize>],
        batch_size: usize,
        pace: &mut impl Pace,
    ) -> Result<Vec<f32>> {
        let mut rows = vec![ids.to_vec()];
        for span in spans {
            if span.start > span.end || span.end > ids.len() || span.len() == ids.len() {
                return Err(Error::input(
                    format!("span {span:?} is not a part of a row of {} ids", ids.len()),
                    "give spans start..end with start <= end <= the row's length that leave something of it",
                ));
            }
            rows.push([&ids[..span.start], &ids[span.end..]].concat());
        }
        let scored = self.score(&rows, ScoreOptions { batch_size, truncate: false }, pace).await?;
        Ok(scored[1..].iter().map(|without| without.score - scored[0].score).collect())
    }

    /// Logits (B, 2) of one batch.
    async fn logits(&self, rows: &[&[u32]], pace: &mut impl Pace) -> Result<Vec<Vec<f32>>> {
        let mut hidden = self.classifier.embed(rows, &mut None)?;
        for index in 0..self.classifier.depth() {
            hidden = self.classifier.layer(index, &hidden, &mut None)?;
            pace.pause().await?;
        }
        Ok(self.classifier.head(&hidden, &mut None)?.to_vec2()?)
    }

    fn read(&self, row: usize, logits: &[f32]) -> Result<Scored> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::not_finite(
                format!("a logit of the reward model for row {} ({logits:?})", row + 1),
                "check the reward model's weights for NaN, infinite or huge numbers",
            )
            .in_row(row));
        }
        Ok(Scored::new(ByLabel { nothate: logits[self.nothate], hate: logits[1 - self.nothate] }))
    }
}

/// The column called `names.nothate`, of two whose other is called `names.hate`.
fn nothate_column(config: &RobertaConfig, names: LabelNames<'_>) -> Result<usize> {
    let column =
        |name: &str| config.id2label.iter().find(|(_, label)| label.eq_ignore_ascii_case(name)).map(|(i, _)| *i);
    match (column(names.nothate), column(names.hate)) {
        (Some(nothate), Some(hate)) if nothate != hate && config.id2label.len() == 2 => Ok(nothate),
        _ => Err(Error::input(
            format!(
                "the reward model's labels are {:?}, expected two: {:?} and {:?}",
                config.id2label.values().collect::<Vec<_>>(),
                names.nothate,
                names.hate
            ),
            "take a hate-speech classifier with these labels, or say which of its labels mean them",
        )),
    }
}

/// At most `limit` ids: the first ones, and the last.
fn truncate(row: &[u32], limit: usize) -> Vec<u32> {
    match row.last() {
        Some(&last) if row.len() > limit => [&row[..limit - 1], &[last]].concat(),
        _ => row.to_vec(),
    }
}
