//! Trains the reward model on labelled texts from several sources, and measures it on each. Uses the loop of `supervised`, the
//! model of `classifier` and the measures of `quality`.

use super::classifier::Classifier;
use super::quality::Quality;
use super::supervised::{BatchLoss, EvaluationScore, Task, fingerprint};
use crate::error::{Error, Result};
use crate::io::pretrained::{self, Stored};
use crate::lab::events::{Event, Observer, Phase};
use crate::model::reward::{RewardModel, ScoreOptions};
use crate::nn::rng::{Purpose, Rng};
use crate::nn::tape::record;
use crate::text::labelled::{Labelled, LabelledFile};
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of an evaluation between two progress events.
const CHUNK: usize = 256;
/// The name for the held-out rows of all sources together.
pub const ALL: &str = "all";

/// The weights of training rows in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// All rows have the same weight.
    None,
    /// Both classes have the same total weight (scikit-learn's `balanced`).
    Classes,
    /// All sources have the same total weight.
    Sources,
}

/// Settings besides those of the loop.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardSettings {
    /// ε of `(1 − ε) nll + ε mean(−log p)` over the two labels.
    pub label_smoothing: f64,
    /// Fraction of a training row's tokens that are replaced by `<mask>` in each pass, so that no single word decides.
    pub mask: f32,
    /// Maximum text length in tokens; longer texts are cut at their end, in training and in evaluation.
    pub max_length: Option<usize>,
    pub balance: Balance,
    /// Fraction of a source's rows to hold out if its file does not mark them.
    pub held_out: f64,
    /// Number type of the saved weights.
    pub stored: Stored,
}

impl RewardSettings {
    /// # Errors
    /// An invalid setting, by name.
    pub fn validate(&self) -> Result<()> {
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let wrong = [
            (!fraction(self.label_smoothing), "label smoothing", "a fraction from 0 to below 1"),
            (!fraction(self.mask.into()), "share of masked tokens", "a fraction from 0 to below 1"),
            (!fraction(self.held_out) || self.held_out == 0.0, "held-out share", "a fraction between 0 and 1"),
            (self.max_length.is_some_and(|n| n < 3), "max length", "at least 3 tokens"),
        ];
        match wrong.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, name, want)) => Err(Error::input(format!("the {name} is out of range"), format!("give {want}"))),
            None => Ok(()),
        }
    }
}

struct EncodedRow {
    ids: Vec<u32>,
    hate: bool,
    weight: f64,
}

/// Held-out rows of one source.
struct HeldOut {
    name: String,
    ids: Vec<Vec<u32>>,
    labels: Vec<bool>,
    /// Whether the source has training rows too.
    own: bool,
}

/// A classifier with its data.
pub struct TrainReward {
    classifier: Classifier,
    settings: RewardSettings,
    mask: Option<u32>,
    train: Vec<EncodedRow>,
    lengths: Vec<usize>,
    held_out: Vec<HeldOut>,
    batch_size: usize,
}

impl TrainReward {
    /// Splits and tokenizes the data: the rows of `sources` are used for training except the held-out ones, all rows of
    /// `others` are held out. A source is split as its file says, or else at random (seeded).
    ///
    /// # Errors
    /// Two sources with the same name, no training rows of one class, no held-out row.
    pub fn new(
        classifier: Classifier,
        settings: RewardSettings,
        sources: Vec<LabelledFile>,
        others: Vec<LabelledFile>,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        settings.validate()?;
        check_names(sources.iter().chain(&others))?;
        let limit = classifier.model.classifier().config().limit();
        let limit = settings.max_length.map_or(limit, |length| length.min(limit));
        let encode = |text: &str| classifier.tokenizer.encode_truncated(text, limit);
        let (mut by_source, mut held_out) = (Vec::new(), Vec::new());
        for (index, source) in sources.into_iter().enumerate() {
            let mut rng = Rng::new(seed, Purpose::Evaluation, index as u64, 0);
            let (train, rest) = split(source.rows, settings.held_out, &mut rng);
            let row = |row: Labelled| Ok(EncodedRow { ids: encode(&row.text)?, hate: row.hate, weight: 1.0 });
            by_source.push(train.into_iter().map(row).collect::<Result<Vec<EncodedRow>>>()?);
            held_out.push((source.name, rest, true));
        }
        held_out.extend(others.into_iter().map(|source| (source.name, source.rows, false)));
        let train = weighted(by_source, settings.balance)?;
        let held_out = held_out.into_iter().filter(|(_, rows, _)| !rows.is_empty()).map(|(name, rows, own)| {
            let ids = rows.iter().map(|row| encode(&row.text)).collect::<Result<_>>()?;
            Ok(HeldOut { name, ids, labels: rows.iter().map(|row| row.hate).collect(), own })
        });
        let held_out = held_out.collect::<Result<Vec<_>>>()?;
        if !held_out.iter().any(|source| source.own) {
            return Err(Error::input("no row of the training files is held out", "give some rows the split test"));
        }
        let lengths = train.iter().map(|row| row.ids.len()).collect();
        let mask = classifier.tokenizer.mask_id();
        if settings.mask > 0.0 && mask.is_none() {
            return Err(Error::input("this tokenizer has no <mask>", "train without masked tokens"));
        }
        Ok(Self { classifier, settings, mask, train, lengths, held_out, batch_size })
    }

    /// Number of training rows and of held-out rows.
    pub fn rows(&self) -> (usize, usize) {
        (self.train.len(), self.held_out.iter().map(|source| source.labels.len()).sum())
    }

    /// Number of training rows with the maximum length (nearly all of them were cut), and that length.
    pub fn at_limit(&self) -> (usize, usize) {
        let limit = self.classifier.model.classifier().config().limit();
        let limit = self.settings.max_length.map_or(limit, |length| length.min(limit));
        (self.lengths.iter().filter(|length| **length >= limit).count(), limit)
    }

    /// Number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.classifier.parameters()
    }

    /// Measures a model on all held-out rows of the training sources ([`ALL`]), then on each source.
    ///
    /// # Errors
    /// As [`RewardModel::score`].
    pub async fn measure(&self, model: &RewardModel, observer: &mut impl Observer) -> Result<Vec<(String, Quality)>> {
        let (mut done, of) = (0, self.rows().1);
        let options = ScoreOptions { batch_size: self.batch_size, truncate: true };
        let (mut all, mut labels, mut qualities) = (Vec::new(), Vec::new(), Vec::new());
        for source in &self.held_out {
            let mut probabilities = Vec::with_capacity(source.labels.len());
            for ids in source.ids.chunks(CHUNK) {
                for scored in model.score(ids, options, observer).await? {
                    let difference = f64::from(scored.logits.hate) - f64::from(scored.logits.nothate);
                    probabilities.push(1.0 / (1.0 + (-difference).exp()));
                }
                done += ids.len();
                observer.event(Event::Progress { phase: Phase::Score, done, of });
            }
            qualities.extend(Quality::measure(&probabilities, &source.labels).map(|q| (source.name.clone(), q)));
            if source.own {
                all.extend(probabilities);
                labels.extend(&source.labels);
            }
        }
        let all = Quality::measure(&all, &labels).map(|quality| (ALL.to_string(), quality));
        Ok(all.into_iter().chain(qualities).collect())
    }
}

/// −t log σ(z) − (1 − t) log σ(−z) = max(z, 0) + log(1 + e^−|z|) − t z, the cross-entropy of two labels, and its derivative by z,
/// σ(z) − t.
fn cross_entropy(z: f64, target: f64) -> (f64, f64) {
    let loss = z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z;
    (loss, 1.0 / (1.0 + (-z).exp()) - target)
}

/// Refuses equal names, because metrics use the names of sources.
fn check_names<'a>(sources: impl Iterator<Item = &'a LabelledFile>) -> Result<()> {
    let mut names = BTreeSet::from([ALL]);
    for source in sources {
        if !names.insert(&source.name) {
            let what = format!("two sources have the name {:?}", source.name);
            return Err(Error::input(what, "rename one file: its name without ending is the source's name"));
        }
    }
    Ok(())
}

/// Splits rows into training and held-out rows.
fn split(rows: Vec<Labelled>, share: f64, rng: &mut Rng) -> (Vec<Labelled>, Vec<Labelled>) {
    let held_out = (share * rows.len() as f64).round() as usize;
    let mut lot = vec![false; rows.len()];
    rng.permutation(rows.len()).into_iter().take(held_out).for_each(|row| lot[row] = true);
    let is_held_out = |(row, lot): &(Labelled, bool)| row.held_out.unwrap_or(*lot);
    let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().zip(lot).partition(is_held_out);
    let rows = |rows: Vec<(Labelled, bool)>| rows.into_iter().map(|(row, _)| row).collect();
    (rows(train), rows(held_out))
}

/// All training rows, with a mean weight of 1.
fn weighted(by_source: Vec<Vec<EncodedRow>>, balance: Balance) -> Result<Vec<EncodedRow>> {
    let total: usize = by_source.iter().map(Vec::len).sum();
    let hate = by_source.iter().flatten().filter(|row| row.hate).count();
    if hate == 0 || hate == total {
        let class = if hate == 0 { "nothate" } else { "hate" };
        let what = format!("all {total} training rows are labelled {class}");
        return Err(Error::input(what, "give rows of both labels; the split column may have left one out"));
    }
    let sources = by_source.iter().filter(|rows| !rows.is_empty()).count();
    let mut rows = Vec::with_capacity(total);
    for source in by_source {
        let of_source = source.len();
        let weight = |row: &EncodedRow| match balance {
            Balance::None => 1.0,
            Balance::Classes => total as f64 / (2 * if row.hate { hate } else { total - hate }) as f64,
            Balance::Sources => total as f64 / (sources * of_source) as f64,
        };
        rows.extend(source.into_iter().map(|row| EncodedRow { weight: weight(&row), ..row }));
    }
    Ok(rows)
}

/// `ids` with a fraction of its tokens masked, but not the special tokens at both ends.
fn masked(ids: &[u32], share: f32, mask: u32, rng: &mut Rng) -> Vec<u32> {
    let last = ids.len() - 1;
    let token = |(at, id): (usize, &u32)| if at > 0 && at < last && rng.uniform() < share { mask } else { *id };
    ids.iter().enumerate().map(token).collect()
}

impl Task for TrainReward {
    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn fingerprint(&self) -> u64 {
        fingerprint(self.train.iter().flat_map(|row| row.ids.iter().copied().chain([row.hate.into()])))
    }

    fn vars(&self) -> Vec<(String, Var)> {
        self.classifier.vars.clone()
    }

    fn loss(&self, rows: &[usize], dropout: &RefCell<Rng>) -> Result<BatchLoss> {
        let rng = &mut *dropout.borrow_mut();
        let rows: Vec<&EncodedRow> = rows.iter().map(|row| &self.train[*row]).collect();
        let ids: Vec<Vec<u32>> = match self.mask.filter(|_| self.settings.mask > 0.0) {
            Some(mask) => rows.iter().map(|row| masked(&row.ids, self.settings.mask, mask, rng)).collect(),
            None => rows.iter().map(|row| row.ids.clone()).collect(),
        };
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let model = &self.classifier.model;
        let (logits, tape) = record(|| model.classifier().logits(&ids, Some(rng)))?; // (B, 2)
        let (nothate, hate) = (model.nothate_column(), 1 - model.nothate_column());
        let smooth = self.settings.label_smoothing / 2.0;
        let (mut sum, mut by_logits) = (0.0, vec![0f32; logits.elem_count()]);
        let labels = logits.dim(1)?;
        for (row, (z, by)) in rows.iter().zip(logits.to_vec2::<f32>()?.iter().zip(by_logits.chunks_exact_mut(labels))) {
            let target = if row.hate { 1.0 - smooth } else { smooth };
            let (loss, slope) = cross_entropy(f64::from(z[hate]) - f64::from(z[nothate]), target);
            sum += row.weight * loss;
            by[hate] = (row.weight * slope) as f32;
            by[nothate] = -by[hate];
        }
        let by_logits = Tensor::from_vec(by_logits, logits.shape(), &Device::Cpu)?;
        let terms = rows.iter().map(|row| row.weight).sum();
        Ok(BatchLoss { sum, terms, backward: Box::new(move || tape.backward([(logits, by_logits)])) })
    }

    async fn evaluate(&self, observer: &mut impl Observer) -> Result<EvaluationScore> {
        let mut metrics = Vec::new();
        let mut score = f64::NAN;
        for (name, q) in self.measure(&self.classifier.model, observer).await? {
            let prefix = if name == ALL { "eval".to_string() } else { format!("eval/{name}") };
            let numbers = [
                ("loss", Some(q.loss)),
                ("accuracy", Some(q.accuracy)),
                ("f1", q.f1),
                ("auc", q.auc),
                ("ece", Some(q.ece)),
                ("brier", Some(q.brier)),
            ];
            metrics.extend(numbers.into_iter().filter_map(|(what, x)| Some((format!("{prefix}/{what}"), x?))));
            if name == ALL {
                score = -q.loss; // not the AUC, because the value of P(hate) is used and must be calibrated
            }
        }
        Ok(EvaluationScore { metrics, score })
    }

    fn export(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let c = &self.classifier;
        let tensors = c.vars.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        pretrained::to_files(&c.config, &tensors, self.settings.stored, c.tokenizer_files.clone())
    }
}
