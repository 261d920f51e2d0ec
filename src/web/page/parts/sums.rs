//! How a token's number is calculated: for each quantity the calculation, with its inputs, that gives the number in the
//! grids. Expressions are in `expr`; the token strip shows them.

use super::expr::{Expr, input, setting};
use super::meaning::Meaning;
use crate::protocol::{Grid, Grids};
use crate::settings::{KlEstimator, PpoConfig, WhitenOver};

/// What can be shown under a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantity {
    Logprob,
    RefLogprob,
    Kl,
    #[default]
    Reward,
    Value,
    Advantage,
    Return,
    Ratio,
}

impl Quantity {
    /// What the token strip shows if the address does not say.
    pub const FIRST: Self = Self::Advantage;

    pub const ALL: [Self; 8] = [
        Self::Logprob,
        Self::RefLogprob,
        Self::Kl,
        Self::Reward,
        Self::Value,
        Self::Advantage,
        Self::Return,
        Self::Ratio,
    ];

    /// Name, origin, and what a number says.
    fn about(self) -> (&'static str, Meaning, &'static str) {
        match self {
            Self::Logprob => (
                "logprob",
                Meaning::Policy,
                "Natural log of the token's probability under the policy: 0 is certain, −5 is one in 150",
            ),
            Self::RefLogprob => ("reference logprob", Meaning::Reference, "The same under the reference"),
            Self::Kl => {
                ("KL", Meaning::Plain, "How far the policy has moved from the reference at this token, in nats")
            }
            Self::Reward => ("reward", Meaning::Reward, "Minus the KL penalty, plus the score at the last token"),
            Self::Value => ("value", Meaning::Value, "The value head's prediction of the return from this token on"),
            Self::Advantage => {
                ("advantage", Meaning::Plain, "How much better than predicted the rewards from this token on were")
            }
            Self::Return => ("return", Meaning::Value, "The number that the value head learns to predict"),
            Self::Ratio => {
                ("ratio", Meaning::Policy, "The token's probability now, divided by that when it was sampled")
            }
        }
    }

    pub fn name(self) -> &'static str {
        self.about().0
    }

    /// Its name in an address.
    pub fn slug(self) -> &'static str {
        match self {
            Self::RefLogprob => "ref-logprob",
            Self::Kl => "kl",
            other => other.name(),
        }
    }

    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quantity| quantity.slug() == slug)
    }

    pub fn meaning(self) -> Meaning {
        self.about().1
    }

    pub fn says(self) -> &'static str {
        self.about().2
    }

    /// Number of lines of its calculation, so that their height can be reserved.
    pub fn lines(self) -> usize {
        match self {
            Self::Value => 0,
            Self::Advantage => 3,
            _ => 1,
        }
    }

    /// The numbers, (B, R).
    pub fn of(self, grids: &Grids) -> &Grid {
        match self {
            Self::Logprob => &grids.old_logprobs,
            Self::RefLogprob => &grids.ref_logprobs,
            Self::Kl => &grids.kl,
            Self::Reward => &grids.rewards,
            Self::Value => &grids.old_values,
            Self::Advantage => &grids.advantages,
            Self::Return => &grids.returns,
            Self::Ratio => &grids.ratio,
        }
    }
}

/// The calculation of one number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// Each calculates one number from earlier ones; none if a model gave the number.
    pub lines: Vec<SumLine>,
    /// A remark.
    pub note: Option<String>,
}

/// `name = expression`.
#[derive(Debug, Clone, PartialEq)]
pub struct SumLine {
    pub name: &'static str,
    pub expression: Expr,
    /// The number as the engine computed it.
    pub result: f64,
    pub meaning: Meaning,
}

/// A step's grids and the settings they were made with.
#[derive(Debug, Clone, Copy)]
pub struct StepSums<'a> {
    pub grids: &'a Grids,
    pub config: &'a PpoConfig,
}

impl StepSums<'_> {
    /// Whether column k of row i is trained.
    pub fn trained(&self, i: usize, k: usize) -> bool {
        at(&self.grids.mask, i, k) > 0.0
    }

    /// The last trained column of a row, where its score is added.
    pub fn last(&self, i: usize) -> Option<usize> {
        (0..self.grids.mask.cols).rev().find(|&k| self.trained(i, k))
    }

    /// Whether clipping makes this token's gradient zero: its ratio is outside the range, in the direction of its advantage.
    pub fn clipped(&self, i: usize, k: usize) -> bool {
        let (ratio, advantage) = (at(&self.grids.ratio, i, k), at(&self.grids.advantages_whitened, i, k));
        let (low, high) = self.range();
        self.trained(i, k) && ((advantage > 0.0 && ratio > high) || (advantage < 0.0 && ratio < low))
    }

    /// The KL coefficient of this step, from the grids; `config` has only that of the first step.
    pub fn kl_coef(&self) -> f64 {
        let pairs = || self.grids.kl.data.iter().zip(&self.grids.non_score.data).zip(&self.grids.mask.data);
        let sums = pairs().filter(|(_, mask)| **mask > 0.0).fold((0.0, 0.0), |(above, below), ((kl, penalty), _)| {
            let (kl, penalty) = (f64::from(*kl), f64::from(*penalty));
            (above - penalty * kl, below + kl * kl)
        });
        if sums.1 > 1e-6 { sums.0 / sums.1 } else { self.config.kl_coef }
    }

    /// The calculation of a quantity of token k of row i.
    pub fn sum(&self, quantity: Quantity, i: usize, k: usize) -> Sum {
        if !self.trained(i, k) && !matches!(quantity, Quantity::Logprob | Quantity::RefLogprob | Quantity::Kl) {
            return Sum { lines: Vec::new(), note: Some("This token is not trained, so it has no such number".into()) };
        }
        match quantity {
            Quantity::Logprob | Quantity::RefLogprob => self.logprob(quantity, i, k),
            Quantity::Kl => sum(vec![self.line(quantity, "KL", self.kl(i, k), i, k)], Some(self.kl_note().into())),
            Quantity::Reward => self.reward(i, k),
            Quantity::Value => sum(Vec::new(), Some(self.value_note(i, k))),
            Quantity::Advantage => self.advantage(i, k),
            Quantity::Return => {
                let (advantage, value) = (self.input(Quantity::Advantage, i, k), self.input(Quantity::Value, i, k));
                sum(vec![self.line(quantity, "return", advantage.plus(value), i, k)], None)
            }
            Quantity::Ratio => self.ratio(i, k),
        }
    }

    fn range(&self) -> (f32, f32) {
        ((1.0 - self.config.clip_range) as f32, (1.0 + self.config.clip_range) as f32)
    }

    fn number(&self, quantity: Quantity, i: usize, k: usize) -> f64 {
        f64::from(at(quantity.of(self.grids), i, k))
    }

    fn input(&self, quantity: Quantity, i: usize, k: usize) -> Expr {
        input(quantity.name(), self.number(quantity, i, k), quantity.meaning())
    }

    fn line(&self, quantity: Quantity, name: &'static str, expression: Expr, i: usize, k: usize) -> SumLine {
        SumLine { name, expression, result: self.number(quantity, i, k), meaning: quantity.meaning() }
    }

    fn logprob(&self, quantity: Quantity, i: usize, k: usize) -> Sum {
        let probability = self.number(quantity, i, k).exp();
        let name =
            if quantity == Quantity::Logprob { "the policy's probability" } else { "the reference's probability" };
        let log = Expr::Log(Box::new(input(name, probability, quantity.meaning())));
        sum(vec![self.line(quantity, quantity.name(), log, i, k)], None)
    }

    fn kl(&self, i: usize, k: usize) -> Expr {
        let (policy, reference) = (self.input(Quantity::Logprob, i, k), self.input(Quantity::RefLogprob, i, k));
        let apart = policy.clone().minus(reference.clone());
        match self.config.kl_estimator {
            KlEstimator::K1 => apart,
            KlEstimator::K2 => Expr::Square(Box::new(apart)).over(Expr::Constant(2.0)),
            KlEstimator::K3 => {
                let back = Expr::Exp(Box::new(reference.minus(policy)));
                back.minus(Expr::Constant(1.0)).plus(apart)
            }
            KlEstimator::Abs => Expr::Absolute(Box::new(apart)),
        }
    }

    fn kl_note(&self) -> &'static str {
        match self.config.kl_estimator {
            KlEstimator::K1 => "k1: correct on average over many tokens; for a single token it may be negative",
            KlEstimator::K2 => "k2: never negative, but slightly wrong on average",
            KlEstimator::K3 => "k3: never negative, and correct on average",
            KlEstimator::Abs => "abs: the absolute difference",
        }
    }

    fn reward(&self, i: usize, k: usize) -> Sum {
        let k1 = self.config.kl_estimator == KlEstimator::K1;
        let kl = if k1 { self.kl(i, k) } else { self.input(Quantity::Kl, i, k) };
        let penalty = setting("kl_coef", self.kl_coef()).negative().times(kl);
        let (expression, note) = if self.last(i) == Some(k) {
            let score = input("score", self.score(i, k), Meaning::Reward);
            (penalty.plus(score), "The response's score is added at its last token")
        } else {
            (penalty, "No score here: it is added at the last token")
        };
        sum(vec![self.line(Quantity::Reward, "reward", expression, i, k)], Some(note.into()))
    }

    /// A row's score as it was added to the rewards.
    pub fn score_of(&self, i: usize) -> Option<f64> {
        self.last(i).map(|k| self.score(i, k))
    }

    /// The score as it was added to the rewards, scaled and clipped according to the settings.
    fn score(&self, i: usize, k: usize) -> f64 {
        f64::from(at(&self.grids.rewards, i, k)) - f64::from(at(&self.grids.non_score, i, k))
    }

    fn value_note(&self, i: usize, k: usize) -> String {
        let found = super::format::fixed(self.number(Quantity::Return, i, k), 4);
        format!("Predicted by the value head before the token was sampled; the return from here on was {found}")
    }

    fn advantage(&self, i: usize, k: usize) -> Sum {
        let (gamma, lambda) = (setting("γ", self.config.gamma), setting("λ", self.config.lambda));
        let reward = match self.config.whiten_rewards {
            true => input("whitened reward", self.whitened_reward(i, k), Meaning::Reward),
            false => self.input(Quantity::Reward, i, k),
        };
        let next_value = if self.trained(i, k + 1) { self.number(Quantity::Value, i, k + 1) } else { 0.0 };
        let value = self.input(Quantity::Value, i, k);
        let delta = reward.plus(gamma.clone().times(input("next value", next_value, Meaning::Value))).minus(value);
        let next = input("next advantage", at(&self.grids.advantages, i, k + 1), Meaning::Plain);
        let surprise = delta.value();
        let whole = input("δ", surprise, Meaning::Plain).plus(gamma.times(lambda).times(next));
        let mut lines = vec![
            SumLine { name: "δ", expression: delta, result: surprise, meaning: Meaning::Plain },
            self.line(Quantity::Advantage, "advantage", whole, i, k),
        ];
        let whitened = f64::from(at(&self.grids.advantages_whitened, i, k));
        let over_batch = self.config.whiten_over == WhitenOver::Batch;
        if let Some((mean, deviation)) = over_batch.then(|| moments(&self.grids.advantages, &self.grids.mask)).flatten()
        {
            let above = self.input(Quantity::Advantage, i, k).minus(input("batch mean", mean, Meaning::Plain));
            let expression = above.over(input("batch standard deviation", deviation, Meaning::Plain));
            lines.push(SumLine { name: "whitened", expression, result: whitened, meaning: Meaning::Plain });
            return sum(lines, None);
        }
        let note = match self.config.whiten_over {
            WhitenOver::Nothing => "Not whitened: the loss uses this advantage".into(),
            _ => format!("Whitened over its mini-batch: {}", super::format::fixed(whitened, 4)),
        };
        sum(lines, Some(note))
    }

    fn whitened_reward(&self, i: usize, k: usize) -> f64 {
        let reward = self.number(Quantity::Reward, i, k);
        moments(&self.grids.rewards, &self.grids.mask)
            .map_or(reward, |(mean, deviation)| (reward - mean) / deviation + mean)
    }

    fn ratio(&self, i: usize, k: usize) -> Sum {
        let (old, ratio) = (self.number(Quantity::Logprob, i, k), self.number(Quantity::Ratio, i, k));
        let new = input("new logprob", old + ratio.ln(), Meaning::Policy);
        let apart = new.minus(input("old logprob", old, Meaning::Policy));
        let line = self.line(Quantity::Ratio, "ratio", Expr::Exp(Box::new(apart)), i, k);
        sum(vec![line], Some(self.clip_note(i, k, ratio)))
    }

    fn clip_note(&self, i: usize, k: usize, ratio: f64) -> String {
        let advantage = at(&self.grids.advantages_whitened, i, k);
        let (low, high) = self.range();
        let edges = (super::format::setting(f64::from(low)), super::format::setting(f64::from(high)));
        let sign = if advantage > 0.0 { "above" } else { "below" };
        if self.clipped(i, k) {
            let edge = if advantage > 0.0 { edges.1 } else { edges.0 };
            return format!(
                "Clipped: its whitened advantage is {sign} zero and the ratio beyond {edge}, so its gradient is zero"
            );
        }
        if (f64::from(low)..=f64::from(high)).contains(&ratio) {
            return format!("Not clipped: inside {} … {}", edges.0, edges.1);
        }
        format!("Not clipped: outside {} … {}, but the advantage is {sign} zero and moves it back", edges.0, edges.1)
    }
}

fn sum(lines: Vec<SumLine>, note: Option<String>) -> Sum {
    Sum { lines, note }
}

/// A grid's number; 0 outside it.
fn at(grid: &Grid, i: usize, k: usize) -> f32 {
    if i < grid.rows && k < grid.cols { grid.data.get(i * grid.cols + k).copied().unwrap_or(0.0) } else { 0.0 }
}

/// Mean and standard deviation over the trained columns, as whitening computes them; none for fewer than two.
fn moments(grid: &Grid, mask: &Grid) -> Option<(f64, f64)> {
    let trained = || grid.data.iter().zip(&mask.data).filter(|(_, m)| **m > 0.0).map(|(x, _)| f64::from(*x));
    let n = trained().count() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = trained().sum::<f64>() / n;
    let variance = trained().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((mean, (variance + 1e-8).sqrt()))
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
