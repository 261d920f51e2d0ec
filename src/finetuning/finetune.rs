//! Supervised fine-tuning of the policy on (dialogue, summary) pairs: trains a LoRA adapter, which the lab starts from, or a
//! whole model. `supervised` has the training loop; the caller reads data and models.

use super::supervised::{BatchLoss, EvaluationScore, Task, fingerprint};
use crate::error::{Error, Result};
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::pretrained::{self, Stored};
use crate::kernels::pool::for_tasks;
use crate::lab::events::{Event, Observer, Phase};
use crate::lab::head;
use crate::lab::models::{Actor, POLICY};
use crate::model::generate::{Listener, Prompt, Sampling, generate};
use crate::model::policy::{AdapterName, Policy, TrainablePolicy};
use crate::model::t5::{Pass, T5};
use crate::nn::cross_entropy::smoothed_cross_entropy;
use crate::nn::rng::{Purpose, Rng};
use crate::nn::tape::record;
use crate::text::dialogue::Dialogue;
use crate::text::prompt::prompt;
use crate::text::rouge::{self, References};
use crate::text::tokenizer::Tokenizer;
use candle_core::{DType, Tensor, Var};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Settings besides those of the loop.
#[derive(Debug, Clone, PartialEq)]
pub struct FinetuneSettings {
    /// ε of `(1 − ε) nll + ε mean(−log p)` over the vocabulary.
    pub label_smoothing: f32,
    /// T5's dropout while training.
    pub dropout: f32,
    /// Maximum prompt length in tokens; longer dialogues are cut at their end.
    pub max_source: usize,
    /// Maximum summary length in tokens.
    pub max_target: usize,
    /// Number of validation dialogues to measure ROUGE on, with greedy decoding; 0: the best model has the lowest loss.
    pub rouge_rows: usize,
    /// Number type of the saved weights.
    pub stored: Stored,
}

impl FinetuneSettings {
    /// # Errors
    /// An invalid setting, by name.
    pub fn validate(&self) -> Result<()> {
        let fraction = |x: f32| (0.0..1.0).contains(&x);
        if !fraction(self.label_smoothing) || !fraction(self.dropout) {
            return Err(Error::input("label smoothing or dropout is out of range", "give a number from 0 to below 1"));
        }
        if self.max_source < 2 || self.max_target < 2 {
            return Err(Error::input("max-source or max-target is below 2 tokens", "give at least 2"));
        }
        Ok(())
    }
}

/// A dialogue's prompt and its summary as ids, each ending in `</s>`.
struct Pair {
    source: Vec<u32>,
    target: Vec<u32>,
    /// Whether the dialogue was cut.
    cut: bool,
}

impl Pair {
    fn new(tokenizer: &Tokenizer, dialogue: &str, summary: &str, settings: &FinetuneSettings) -> Result<Self> {
        let whole = tokenizer.encode(&prompt(dialogue))?;
        let cut = whole.len() > settings.max_source;
        let source = if !cut {
            whole
        } else {
            // The dialogue is cut, but not the instruction after it.
            let around = tokenizer.encode(&prompt(""))?.len();
            let room = settings.max_source.saturating_sub(around).max(2);
            let kept = tokenizer.encode_truncated(dialogue, room)?;
            tokenizer.encode_truncated(&prompt(tokenizer.decode(&kept, true)?.trim_end()), settings.max_source)?
        };
        Ok(Self { source, target: tokenizer.encode_truncated(summary, settings.max_target)?, cut })
    }
}

/// What is trained and saved.
pub enum Trained {
    /// A LoRA adapter under [`POLICY`]; saved in PEFT layout.
    Adapter(Box<AdapterConfig>),
    /// Every parameter; saved as a Hugging Face folder with this `config.json` and these tokenizer files.
    Model { vars: Vec<(String, Var)>, config: Value, tokenizer: BTreeMap<String, Vec<u8>> },
}

/// A policy with its training and validation data.
pub struct Finetune {
    actor: Actor,
    trained: Trained,
    settings: FinetuneSettings,
    train: Vec<Pair>,
    lengths: Vec<usize>,
    validation: Vec<(Pair, Vec<String>)>,
    /// Rows in one forward pass of an evaluation.
    batch_size: usize,
}

impl Finetune {
    /// Tokenizes the data; each summary of a training dialogue makes one row.
    pub fn new(
        mut actor: Actor,
        trained: Trained,
        settings: FinetuneSettings,
        train: &[Dialogue],
        validation: &[Dialogue],
        batch_size: usize,
    ) -> Result<Self> {
        settings.validate()?;
        actor.policy.t5.config.dropout_rate = settings.dropout;
        if validation.is_empty() {
            return Err(Error::input("there is no validation dialogue", "give a --validation file with some rows"));
        }
        let rows: Vec<(&str, &str)> =
            train.iter().flat_map(|d| d.references.iter().map(|s| (d.dialogue.as_str(), s.as_str()))).collect();
        let tokenizer = actor.tokenizer()?;
        let pairs = for_tasks(rows.len(), |i| Pair::new(tokenizer, rows[i].0, rows[i].1, &settings));
        let pairs = pairs.into_iter().collect::<Result<Vec<_>>>()?;
        let held_out = validation.iter().map(|d| {
            let pair = Pair::new(tokenizer, &d.dialogue, &d.summary, &settings)?;
            Ok((pair, d.references.clone()))
        });
        let held_out = held_out.collect::<Result<Vec<_>>>()?;
        let lengths = pairs.iter().map(|p| p.source.len() + p.target.len()).collect();
        Ok(Self { actor, trained, settings, train: pairs, lengths, validation: held_out, batch_size })
    }

    /// Number of training pairs whose dialogue was cut.
    pub fn cut(&self) -> usize {
        self.train.iter().filter(|pair| pair.cut).count()
    }

    /// Number of trained parameters.
    pub fn trainable_parameters(&self) -> usize {
        self.vars().iter().map(|(_, var)| var.elem_count()).sum()
    }

    fn adapter(&self) -> AdapterName<'static> {
        matches!(self.trained, Trained::Adapter(_)).then_some(POLICY)
    }

    /// Decoder states (N, D) of rows, packed.
    fn states(&self, t5: &T5, rows: &[&Pair], pass: Pass<'_>) -> Result<Tensor> {
        let sources: Vec<&[u32]> = rows.iter().map(|p| p.source.as_slice()).collect();
        let encoded = t5.encode(&sources, pass)?;
        let shifted: Vec<Vec<u32>> = rows.iter().map(|p| shift_right(&p.target, t5)).collect();
        let fed: Vec<&[u32]> = shifted.iter().map(Vec::as_slice).collect();
        let valid: Vec<usize> = fed.iter().map(|ids| ids.len()).collect();
        Ok(t5.decode(&fed, &valid, &encoded, pass)?.hidden)
    }

    /// Per-token losses (N) of rows from their decoder states (N, D).
    fn losses(&self, t5: &T5, states: &Tensor, rows: &[&Pair], smoothing: f32) -> Result<Tensor> {
        let targets: Vec<u32> = rows.iter().flat_map(|p| p.target.iter().copied()).collect();
        smoothed_cross_entropy(&t5.head_input(states)?, t5.head(), &targets, smoothing)
    }

    /// Mean negative log-likelihood per token over the validation rows, in nats.
    async fn validation_loss(&self, policy: &Policy, observer: &mut impl Observer) -> Result<f64> {
        let pass = Pass { lora: policy.adapter(self.adapter())?, dropout: None };
        let (mut sum, mut tokens) = (0.0, 0);
        for chunk in self.validation.chunks(self.batch_size) {
            observer.pause().await?;
            let rows: Vec<&Pair> = chunk.iter().map(|(pair, _)| pair).collect();
            let states = self.states(&policy.t5, &rows, pass)?;
            let losses = self.losses(&policy.t5, &states, &rows, 0.0)?.to_vec1::<f32>()?;
            sum += losses.iter().map(|x| f64::from(*x)).sum::<f64>();
            tokens += losses.len();
        }
        Ok(sum / tokens as f64)
    }

    /// ROUGE-1, -2 and -L F1 of greedy summaries; the mean over a dialogue's references.
    async fn rouge(&self, policy: &Policy, observer: &mut impl Observer) -> Result<[f64; 3]> {
        let tokenizer = self.actor.tokenizer()?;
        let rows = &self.validation[..self.settings.rouge_rows.min(self.validation.len())];
        let mut scores = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.batch_size) {
            let prompt = |(pair, _): &'_ (Pair, _)| -> Vec<u32> { pair.source.clone() };
            let sources: Vec<Vec<u32>> = chunk.iter().map(prompt).collect();
            let prompts = (sources.iter())
                .map(|ids| Prompt {
                    ids,
                    max_new_tokens: self.settings.max_target,
                    rng: Rng::new(0, Purpose::Evaluation, 0, 0), // not used by greedy decoding
                })
                .collect();
            let out = generate(policy, self.adapter(), prompts, &Sampling::greedy(), &mut Quiet(observer)).await?;
            for (generated, (_, references)) in out.iter().zip(chunk) {
                let text = tokenizer.decode(&generated.ids, true)?;
                scores.push(rouge::score_multi(references, &text, References::Mean));
            }
            observer.event(Event::Progress { phase: Phase::Evaluate, done: scores.len(), of: rows.len() });
        }
        let mean = rouge::mean(&scores);
        Ok([mean.rouge1.f1, mean.rouge2.f1, mean.rouge_l.f1])
    }
}

/// The decoder's input: the start token, then the target without its last token.
fn shift_right(target: &[u32], t5: &T5) -> Vec<u32> {
    let rest = &target[..target.len() - 1];
    std::iter::once(t5.config.decoder_start_token_id).chain(rest.iter().copied()).collect()
}

/// Pauses as the observer does, but does not report single tokens.
struct Quiet<'a, O>(&'a mut O);

impl<O: Observer> crate::pace::Pace for Quiet<'_, O> {
    async fn pause(&mut self) -> Result<()> {
        self.0.pause().await
    }
}

impl<O: Observer> Listener for Quiet<'_, O> {}

impl Task for Finetune {
    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn fingerprint(&self) -> u64 {
        fingerprint(self.train.iter().flat_map(|p| p.source.iter().chain(&p.target).copied()))
    }

    fn vars(&self) -> Vec<(String, Var)> {
        match &self.trained {
            Trained::Model { vars, .. } => vars.clone(),
            Trained::Adapter(_) => {
                let all = self.actor.policy.trainable();
                all.into_iter().filter(|(name, _)| name.contains(".lora_")).collect()
            }
        }
    }

    fn loss(&self, rows: &[usize], dropout: &RefCell<Rng>) -> Result<BatchLoss> {
        let policy = &self.actor.policy;
        let pass = Pass { lora: policy.adapter(self.adapter())?, dropout: Some(dropout) };
        let rows: Vec<&Pair> = rows.iter().map(|row| &self.train[*row]).collect();
        let (losses, tape) = record(|| {
            let states = self.states(&policy.t5, &rows, pass)?; // (N, D)
            self.losses(&policy.t5, &states, &rows, self.settings.label_smoothing) // (N)
        })?;
        let sum = losses.to_vec1::<f32>()?.iter().map(|x| f64::from(*x)).sum();
        let (terms, by_sum) = (losses.elem_count() as f64, losses.ones_like()?);
        Ok(BatchLoss { sum, terms, backward: Box::new(move || tape.backward([(losses, by_sum)])) })
    }

    async fn evaluate(&self, observer: &mut impl Observer) -> Result<EvaluationScore> {
        let policy = &self.actor.policy;
        let loss = self.validation_loss(policy, observer).await?;
        let mut metrics = vec![("eval/loss".to_string(), loss)];
        if self.settings.rouge_rows == 0 {
            return Ok(EvaluationScore { metrics, score: -loss });
        }
        let rouge = self.rouge(policy, observer).await?;
        let names = ["eval/rouge1", "eval/rouge2", "eval/rougeL"];
        metrics.extend(names.into_iter().zip(rouge).map(|(name, value)| (name.to_string(), value)));
        Ok(EvaluationScore { metrics, score: rouge.iter().sum::<f64>() / 3.0 })
    }

    fn export(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        match &self.trained {
            Trained::Adapter(config) => {
                let dtype = if self.settings.stored == Stored::F16 { DType::F16 } else { DType::F32 };
                let half = |(name, t): (String, Tensor)| Ok((name, t.to_dtype(dtype)?));
                let tensors = self.actor.adapter_tensors().into_iter().map(half).collect::<Result<_>>()?;
                PeftAdapter { config: (**config).clone(), tensors, name: String::new() }.to_files()
            }
            Trained::Model { vars, config, tokenizer } => {
                let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor()));
                let (mut config, mut tensors) = (config.clone(), tensors.collect());
                head::saved_form(&self.actor.policy.t5.config, &mut config, &mut tensors)?;
                pretrained::to_files(&config, &tensors, self.settings.stored, tokenizer.clone())
            }
        }
    }
}
