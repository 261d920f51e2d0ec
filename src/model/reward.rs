//! The reward model: computes hate-speech scores of rows of RoBERTa ids. Labels are identified by name, not by position.

use crate::error::{Error, Result};
use crate::model::roberta::{Roberta, RobertaConfig};
use crate::nn::params::Params;
use crate::pace::Pace;
pub use crate::protocol::{ByLabel, Scored};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A checkpoint's two label names, the harmless one first, such as `neutral,toxic`. Case is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels(String);

impl std::str::FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(',') {
            Some((harmless, hateful)) if !harmless.trim().is_empty() && !hateful.trim().is_empty() => {
                Ok(Self(text.trim().to_string()))
            }
            _ => Err("give the reward model's two labels, separated by a comma, the harmless one first, such as \
                              neutral,toxic"
                .into()),
        }
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Labels {
    /// Whether these are the two labels, in this order. Labels may contain commas.
    pub fn are(&self, harmless: &str, hateful: &str) -> bool {
        let same = |between: &str| self.0.to_lowercase() == format!("{harmless}{between}{hateful}").to_lowercase();
        same(",") || same(", ")
    }
}

impl Scored {
    /// The scores that follow from a row's logits.
    pub fn new(logits: ByLabel) -> Self {
        let difference = f64::from(logits.hate) - f64::from(logits.nothate);
        let hate = 1.0 / (1.0 + (-difference).exp());
        let nothate = 1.0 / (1.0 + difference.exp()); // more exact than 1 - hate for tiny probabilities
        let probabilities = ByLabel { nothate: nothate as f32, hate: hate as f32 };
        Self { logits, probabilities, score: logits.nothate, toxicity: probabilities.hate }
    }

    /// The score of the published lab: the first of the results, which its pipeline sorts by score. So it is the larger logit,
    /// whatever its label (docs/ppo.md 2.4).
    pub fn lab_reward(&self) -> f32 {
        self.logits.nothate.max(self.logits.hate)
    }
}

/// Options for scoring.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions {
    /// Rows per forward pass; it affects memory, but not the numbers.
    pub batch_size: usize,
    /// Cut rows above the model's limit but keep their last id (`</s>`), as transformers' `truncation=True` does. If false,
    /// such a row is an error, as in the published lab.
    pub truncate: bool,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { batch_size: 16, truncate: true }
    }
}

/// A hate-speech classifier with known labels.
pub struct RewardModel {
    classifier: Roberta,
    /// Column of the `nothate` logit; the other one is `hate`.
    nothate: usize,
}

impl RewardModel {
    /// Builds the classifier from its tensors and the text of its `config.json`, whose two labels must be `nothate` and
    /// `hate` in one of their usual spellings (such as NOT_HATE and HATE, non-hate and hate).
    ///
    /// # Errors
    /// As [`RobertaConfig::from_json`] and [`Roberta::load`], and other labels, which the message lists.
    pub fn load(params: &Params, config_json: &str) -> Result<Self> {
        Self::load_with_labels(params, config_json, None)
    }

    /// [`RewardModel::load`] for a checkpoint whose labels have other names.
    pub fn load_with_labels(params: &Params, config_json: &str, labels: Option<&Labels>) -> Result<Self> {
        let config = RobertaConfig::from_json(config_json)?;
        let nothate = nothate_column(&config, labels)?;
        Ok(Self { classifier: Roberta::load(params, config)?, nothate })
    }

    /// The checkpoint's names of `nothate` and `hate`.
    pub fn label_names(&self) -> [&str; 2] {
        [self.nothate, 1 - self.nothate].map(|i| self.classifier.config().id2label.get(&i).map_or("", String::as_str))
    }

    /// The classifier.
    pub fn classifier(&self) -> &Roberta {
        &self.classifier
    }

    /// The column of the `nothate` logit, 0 or 1; the other one is `hate`.
    pub fn nothate_column(&self) -> usize {
        self.nothate
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        self.classifier.config().parameter_count()
    }

    /// Scores rows of ids (with special tokens); results are in the order of `ids`. Pauses after every layer.
    ///
    /// # Errors
    /// An empty row, an id outside the vocabulary, a row over the limit that must not be cut, logits that are not finite (each
    /// names the row), a batch size of 0, or a stop at a pause point.
    pub async fn score(&self, ids: &[Vec<u32>], options: ScoreOptions, pace: &mut impl Pace) -> Result<Vec<Scored>> {
        if options.batch_size == 0 {
            return Err(Error::input("the batch size is 0", "give at least 1"));
        }
        let limit = self.classifier.config().limit();
        let rows: Vec<Vec<u32>> =
            ids.iter().map(|row| if options.truncate { truncate(row, limit) } else { row.clone() }).collect();
        for (index, row) in rows.iter().enumerate() {
            self.classifier.check(index, row)?;
        }
        // Longest rows first, so that a lack of memory shows at the start.
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

    /// How each span of a row changes its score: for each of `spans`, the score without this span minus the score with it.
    /// Below 0, the span speaks for `nothate`.
    ///
    /// # Errors
    /// As [`RewardModel::score`], and a span that is not inside the row, or is all of it. A row over the model's limit is
    /// refused, because other ids would replace the removed ones.
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
                    "give spans start..end with start <= end <= the row's length, which do not cover the whole row",
                ));
            }
            rows.push([&ids[..span.start], &ids[span.end..]].concat());
        }
        let scored = self.score(&rows, ScoreOptions { batch_size, truncate: false }, pace).await?;
        Ok(scored[1..].iter().map(|without| without.score - scored[0].score).collect())
    }

    /// Logits (B, 2) of a batch.
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

/// The column of the harmless label: the first of `labels`, or the one that says "not hate".
pub fn nothate_column(config: &RobertaConfig, labels: Option<&Labels>) -> Result<usize> {
    let found: Vec<&str> = config.id2label.values().map(String::as_str).collect();
    let &[first, second] = &found[..] else {
        return Err(Error::input(
            format!("the reward model has {} labels ({}), expected 2", found.len(), found.join(", ")),
            "give a classifier with two labels, one for harmless and one for hateful text",
        ));
    };
    let options = format!("--reward-labels {}, or --reward-labels {}", pair(first, second), pair(second, first));
    let Some(labels) = labels else {
        return match (spells_hate(first), spells_hate(second)) {
            (Some(false), Some(true)) => Ok(0),
            (Some(true), Some(false)) => Ok(1),
            _ => Err(Error::input(
                format!("the reward model's labels are {first} and {second}, expected nothate and hate"),
                format!("name them, the harmless one first: {options}"),
            )),
        };
    };
    match (labels.are(first, second), labels.are(second, first)) {
        (true, false) => Ok(0),
        (false, true) => Ok(1),
        _ => Err(Error::input(
            format!("--reward-labels {labels} does not name the reward model's labels, which are {first} and {second}"),
            format!("give both, the harmless one first: {options}"),
        )),
    }
}

/// Two labels as they are written after an option.
fn pair(harmless: &str, hateful: &str) -> String {
    let text = format!("{harmless},{hateful}");
    if text.contains(|c: char| !c.is_alphanumeric() && !"_-,.".contains(c)) { format!("'{text}'") } else { text }
}

/// Whether a label means "hate" (true) or the contrary, such as NOT_HATE or non-hate (false); none for other labels.
fn spells_hate(label: &str) -> Option<bool> {
    let letters: String = label.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let hate = |text: &str| ["hate", "hateful", "hatespeech"].contains(&text);
    let negated = ["not", "non", "no"].into_iter().filter_map(|no| letters.strip_prefix(no)).any(hate);
    if negated { Some(false) } else { hate(&letters).then_some(true) }
}

/// At most `limit` ids: the first ones, and the last.
fn truncate(row: &[u32], limit: usize) -> Vec<u32> {
    match row.last() {
        Some(&last) if row.len() > limit => [&row[..limit - 1], &[last]].concat(),
        _ => row.to_vec(),
    }
}
