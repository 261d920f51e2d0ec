//! Chapters 2.3, 3.3 and 3.4: generates responses of two adapters to the same dialogues with the same random numbers, and
//! measures their toxicity, their ROUGE against the human summaries, and whether the difference is more than noise.

use super::events::{Event, Observer, Phase};
use super::models::{Actor, Judge};
use super::rollout::{Draw, RolloutFor, Sample, rollout};
use super::statistics::{Difference, Spread, TOXIC_FROM, Toxicity, distinct, improvement, mean_words};
use super::table::ComparisonRow;
use crate::error::{Error, Result};
use crate::model::generate::Sampling;
use crate::model::policy::{AdapterName, Given, TrainablePolicy};
use crate::nn::rng::{Purpose, Rng};
use crate::ppo::peers::Peers;
pub use crate::protocol::{EvaluateOptions, EvaluatedSide as Side, Evaluation};
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use crate::text::rouge::{self, References, Rouge};

/// One dialogue, before and after.
pub struct Paired {
    /// Index in the test split.
    pub index: usize,
    pub dialogue: Dialogue,
    pub before: Sample,
    pub after: Sample,
    pub rouge_before: Rouge,
    pub rouge_after: Rouge,
    /// Σ log p_after − log p_before over the after-response's tokens, in nats: an estimate of the KL between the two.
    pub kl: f64,
}

impl Paired {
    /// This pair as a row of the before/after table; the settings say which logit is the score.
    pub fn row(&self) -> ComparisonRow {
        ComparisonRow {
            index: self.index,
            query: self.dialogue.dialogue.clone(),
            reference: self.dialogue.summary.clone(),
            before: self.before.response.clone(),
            after: self.after.response.clone(),
            score_before: self.before.reward.into(),
            score_after: self.after.reward.into(),
        }
    }
}

/// Generates and scores both sides for the first `n` dialogues. Each of the `peers` computes its share of every batch.
#[allow(clippy::too_many_arguments)] // both adapters, the models, who computes and watches
pub async fn pairs(
    actor: &Actor,
    judge: &Judge,
    dialogues: &[Dialogue],
    before: AdapterName<'_>,
    after: AdapterName<'_>,
    options: &EvaluateOptions,
    config: &PpoConfig,
    peers: &Peers,
    observer: &mut impl Observer,
) -> Result<Vec<Paired>> {
    let n = options.n + usize::from(config.eval_samples_plus_one);
    if options.n == 0 || dialogues.len() < n {
        let what = format!("{n} dialogues were asked for, and there are {}", dialogues.len());
        return Err(Error::input(what, "ask for at least 1 and at most the number of dialogues in the test split"));
    }
    let sampling = Sampling { greedy: options.greedy, ..Sampling::default() }; // the lab evaluates without min_length
    let mut out = Vec::with_capacity(n);
    for (batch, chunk) in dialogues[..n].chunks(options.batch_size.max(1)).enumerate() {
        let rows: Vec<&Dialogue> = chunk.iter().collect();
        let first = batch * options.batch_size.max(1);
        let draws = || {
            let draw = |i: usize| Draw {
                max_new_tokens: options.max_new_tokens,
                rng: Rng::new(options.seed, Purpose::Evaluation, 0, (first + i) as u64),
            };
            (0..rows.len()).map(draw).collect::<Vec<_>>()
        };
        let stage = RolloutFor::Evaluation;
        let was =
            rollout(stage, actor, judge, &rows, before, draws(), &sampling, config, peers, observer).await?.samples;
        let is = if after == before {
            was.clone() // same adapter and random streams: the same responses
        } else {
            rollout(stage, actor, judge, &rows, after, draws(), &sampling, config, peers, observer).await?.samples
        };
        let kls = kls(actor, &is[peers.share(is.len())], before, observer).await;
        let kls = peers.gather(kls.map(|kls| kls.iter().flat_map(|kl| kl.to_le_bytes()).collect()))?.concat();
        let kls = kls.as_chunks::<8>().0.iter().map(|kl| f64::from_le_bytes(*kl));
        for (i, ((before_sample, after_sample), kl)) in was.into_iter().zip(is).zip(kls).enumerate() {
            let references = &rows[i].references;
            out.push(Paired {
                index: first + i,
                dialogue: rows[i].clone(),
                rouge_before: rouge::score_multi(references, &before_sample.response, References::Mean),
                rouge_after: rouge::score_multi(references, &after_sample.response, References::Mean),
                before: before_sample,
                after: after_sample,
                kl,
            });
        }
        observer.event(Event::Progress { phase: Phase::Evaluate, done: out.len(), of: n });
    }
    Ok(out)
}

/// Σ log p_after − log p_before over the tokens of each sample, in nats.
async fn kls(
    actor: &Actor,
    samples: &[Sample],
    before: AdapterName<'_>,
    observer: &mut impl Observer,
) -> Result<Vec<f64>> {
    let mut kls = Vec::with_capacity(samples.len());
    for sample in samples {
        observer.pause().await?;
        let ids = &sample.generated.ids;
        let row = [(sample.query_ids.as_slice(), ids.as_slice())];
        let scores = actor.policy.evaluate(&Given::new(&row, ids.len(), before), None)?;
        let under_before: Vec<f32> = scores.logprobs.flatten_all()?.to_vec1()?;
        kls.push(sample.generated.logprobs.iter().zip(&under_before).map(|(a, b)| f64::from(a - b)).sum());
    }
    Ok(kls)
}

/// Computes the evaluation of a set of pairs.
pub fn evaluation(pairs: &[Paired], options: &EvaluateOptions) -> Result<Evaluation> {
    let before = side(pairs.iter().map(|p| (&p.before, &p.rouge_before)))?;
    let after = side(pairs.iter().map(|p| (&p.after, &p.rouge_after)))?;
    let difference = |number: &dyn Fn(&Sample, &Rouge) -> f64| {
        let was: Vec<f64> = pairs.iter().map(|p| number(&p.before, &p.rouge_before)).collect();
        let is: Vec<f64> = pairs.iter().map(|p| number(&p.after, &p.rouge_after)).collect();
        Difference::paired(&was, &is, options.seed)
    };
    Ok(Evaluation {
        options: options.clone(),
        n: pairs.len(),
        toxicity_difference: difference(&|s, _| f64::from(s.scored.toxicity))?,
        score_difference: difference(&|s, _| f64::from(s.scored.score))?,
        rouge1_difference: difference(&|_, r| r.rouge1.f1)?,
        toxicity_mean_improvement: improvement(before.toxicity.spread.mean, after.toxicity.spread.mean),
        toxicity_std_improvement: improvement(before.toxicity.spread.std, after.toxicity.spread.std),
        kl: pairs.iter().map(|p| p.kl).sum::<f64>() / pairs.len() as f64,
        before,
        after,
    })
}

fn side<'a>(rows: impl Iterator<Item = (&'a Sample, &'a Rouge)>) -> Result<Side> {
    let (samples, rouges): (Vec<&Sample>, Vec<Rouge>) = rows.map(|(s, r)| (s, *r)).unzip();
    let texts: Vec<&str> = samples.iter().map(|s| s.response.as_str()).collect();
    let mean = rouge::mean(&rouges);
    Ok(Side {
        toxicity: Toxicity::of(samples.iter().map(|s| f64::from(s.scored.toxicity)).collect(), TOXIC_FROM)?,
        score: Spread::of(&samples.iter().map(|s| f64::from(s.scored.score)).collect::<Vec<_>>())?,
        rouge1: mean.rouge1.f1,
        rouge2: mean.rouge2.f1,
        rouge_l: mean.rouge_l.f1,
        distinct1: distinct(&texts, 1),
        distinct2: distinct(&texts, 2),
        mean_length: mean_words(&texts),
        empty: texts.iter().filter(|t| t.trim().is_empty()).count(),
    })
}
