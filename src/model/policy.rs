//! The policy: T5 with a value head and named adapters for one set of frozen base weights. `policy` is trained, `initial` is
//! its copy from step 0, none is the base model alone. Computes per-token numbers; `generate` chooses tokens.

use super::t5::{Packed, Pass, T5};
use crate::error::{Error, Result};
use crate::nn::dropout::dropout_of_part;
use crate::nn::linear::linear;
use crate::nn::logprobs::chosen_logprobs;
use crate::nn::lora::{LoraSet, LoraSpec};
use crate::nn::ops;
use crate::nn::rng::Rng;
use crate::nn::tape::{Tape, VarGradients, record};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;

/// The name of the active adapter; none for the base model alone.
pub type AdapterName<'a> = Option<&'a str>;

/// The adapter that is trained.
pub const POLICY: &str = "policy";
/// The adapter's copy from step 0.
pub const INITIAL: &str = "initial";

/// TRL's value head: `v = dropout(h) · w + c` on the decoder's last hidden state (docs/ppo.md 1.3).
pub struct ValueHead {
    weight: Var,
    bias: Var,
    /// Dropout probability on the hidden state, in passes with dropout.
    pub dropout: f32,
}

impl ValueHead {
    /// From TRL's tensors `v_head.summary.weight` (1, D) and `v_head.summary.bias` (1).
    pub fn new(weight: &Tensor, bias: &Tensor, width: usize) -> Result<Self> {
        let hint = "use the value head that was trained with this base model";
        if weight.dims() != [1, width] {
            return Err(Error::shape("v_head.summary.weight", weight.dims(), &[1, width], hint));
        }
        if bias.dims() != [1] {
            return Err(Error::shape("v_head.summary.bias", bias.dims(), &[1], hint));
        }
        let var = |t: &Tensor| Ok::<_, Error>(Var::from_tensor(&t.to_dtype(DType::F32)?.copy()?)?);
        Ok(Self { weight: var(weight)?, bias: var(bias)?, dropout: 0.0 })
    }

    /// torch's `nn.Linear` default: w and c uniform in ±1/√D.
    pub fn fresh(width: usize, rng: &mut Rng) -> Result<Self> {
        let bound = 1.0 / (width as f32).sqrt();
        let mut draw = |n| (0..n).map(|_| (2.0 * rng.uniform() - 1.0) * bound).collect::<Vec<f32>>();
        let device = &candle_core::Device::Cpu;
        let weight = Tensor::from_vec(draw(width), (1, width), device)?;
        Self::new(&weight, &Tensor::from_vec(draw(1), 1, device)?, width)
    }

    /// (N, D) → (N, 1). `before`: number of states of the same pass before these, for the dropout mask.
    fn forward(&self, hidden: &Tensor, before: usize, dropout: Option<&mut Rng>) -> Result<Tensor> {
        let hidden = match dropout {
            Some(rng) => dropout_of_part(hidden, before * self.weight.elem_count(), self.dropout, rng)?,
            None => hidden.clone(),
        };
        linear(&hidden, self.weight.as_tensor(), Some(self.bias.as_tensor()))
    }
}

/// Per-token numbers of a batch, each (B, width − 1); column k scores decoder id k + 1.
pub struct TokenScores {
    /// log softmax(logits)[next id], natural log.
    pub logprobs: Tensor,
    /// The value head's estimate at the position that chose the token.
    pub values: Tensor,
    /// Entropy of the distribution that the token was sampled from, in nats.
    pub entropy: Tensor,
    /// Computes gradients, if the pass was recorded.
    pub backward: Option<Backward>,
}

/// Computes the gradients of the variables from those of log-probs and values, (B, width − 1) each.
pub type Backward = Box<dyn FnOnce(&Tensor, &Tensor) -> Result<VarGradients>>;

impl TokenScores {
    /// The gradients of `Σ by_logprobs · logprobs + by_values · values` for every variable; both factors (B, width − 1).
    pub fn backward(self, by_logprobs: &Tensor, by_values: &Tensor) -> Result<VarGradients> {
        let Some(backward) = self.backward else {
            return Err(Error::input(
                "gradients of a pass that was not recorded",
                "this is a bug in detox-lab: please open an issue with this message",
            ));
        };
        backward(by_logprobs, by_values)
    }
}

/// Rows to evaluate, with options.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Query ids, and decoder ids as fed.
    pub rows: &'a [(&'a [u32], &'a [u32])],
    /// The number of decoder ids in the longest row, or more.
    pub width: usize,
    /// If set, rows are right-padded with the pad id to `width` decoder ids and the padded columns are computed, as in TRL;
    /// else these columns are 0 and are not computed.
    pub padded: bool,
    pub adapter: AdapterName<'a>,
    /// Records the pass for [`TokenScores::backward`].
    pub grad: bool,
    /// Number of tokens of the pass's earlier rows if another process computes them: the dropout mask is that of all rows.
    pub tokens_before: usize,
}

impl<'a> Given<'a> {
    /// Rows without padding, not recorded.
    pub fn new(rows: &'a [(&'a [u32], &'a [u32])], width: usize, adapter: AdapterName<'a>) -> Self {
        Self { rows, width, padded: false, adapter, grad: false, tokens_before: 0 }
    }
}

/// A model that PPO can train: it scores given responses, and has trainable variables.
pub trait TrainablePolicy {
    /// Log-probs, values and entropies of given rows, (B, width − 1) each: column k is for decoder id k + 1. `dropout` switches
    /// the value head's dropout on.
    ///
    /// # Errors
    /// A row shorter than 2 decoder ids or longer than `width`, an empty query, an id outside the vocabulary.
    fn evaluate(&self, given: &Given<'_>, dropout: Option<&mut Rng>) -> Result<TokenScores>;

    /// Trainable variables by checkpoint name, always in the same order.
    fn trainable(&self) -> Vec<(String, Var)>;
}

/// T5, a value head and named adapters.
pub struct Policy {
    pub t5: T5,
    pub value_head: ValueHead,
    adapters: BTreeMap<String, LoraSet>,
}

impl Policy {
    /// The base model without adapters.
    pub fn new(t5: T5, value_head: ValueHead) -> Self {
        Self { t5, value_head, adapters: BTreeMap::new() }
    }

    /// Adds an adapter under a name, trainable or frozen.
    pub fn add_adapter(&mut self, name: &str, specs: Vec<LoraSpec>, dropout: f32, trainable: bool) -> Result<()> {
        let set = LoraSet::new(specs, self.t5.modules(), dropout, trainable)?;
        self.adapters.insert(name.into(), set);
        Ok(())
    }

    /// Adds a frozen copy of an adapter under another name.
    pub fn copy_adapter(&mut self, from: &str, to: &str) -> Result<()> {
        let copy = self.adapter(Some(from))?.map(LoraSet::frozen_copy).transpose()?;
        if let Some(copy) = copy {
            self.adapters.insert(to.into(), copy);
        }
        Ok(())
    }

    /// The adapter with this name.
    pub fn adapter(&self, name: AdapterName<'_>) -> Result<Option<&LoraSet>> {
        let Some(name) = name else { return Ok(None) };
        self.adapters.get(name).map(Some).ok_or_else(|| {
            let have: Vec<&str> = self.adapters.keys().map(String::as_str).collect();
            Error::input(format!("there is no adapter named {name}"), format!("use one of {have:?}"))
        })
    }

    /// Number of trained parameters.
    pub fn trainable_parameters(&self) -> usize {
        self.trainable().iter().map(|(_, v)| v.elem_count()).sum()
    }

    /// Number of parameters: base, the policy's adapter, value head (as in PEFT, reference copies do not count).
    pub fn parameters(&self) -> usize {
        self.t5.parameters() + self.trainable_parameters()
    }

    /// Packed decoder states of rows, and their decoder ids.
    fn states(&self, given: &Given<'_>) -> Result<(Packed, Vec<Vec<u32>>)> {
        let Given { rows, width, padded, .. } = *given;
        let lora = self.adapter(given.adapter)?;
        for (i, (_, decoder)) in rows.iter().enumerate() {
            if decoder.len() < 2 || decoder.len() > width {
                return Err(Error::input(
                    format!("row {} has {} decoder ids, but needs 2 to {width}", i + 1, decoder.len()),
                    "leave rows without a response out",
                ));
            }
        }
        let pass = Pass { lora, dropout: None };
        let queries: Vec<&[u32]> = rows.iter().map(|r| r.0).collect();
        let encoded = self.t5.encode(&queries, pass)?;
        let fed: Vec<Vec<u32>> = rows.iter().map(|r| self.fed(r.1, width, padded)).collect();
        let valid: Vec<usize> = rows.iter().map(|r| r.1.len()).collect();
        let slices: Vec<&[u32]> = fed.iter().map(Vec::as_slice).collect();
        let decoded = self.t5.decode(&slices, &valid, &encoded, pass)?; // (N, D)
        Ok((decoded, fed))
    }

    fn fed(&self, decoder: &[u32], width: usize, padded: bool) -> Vec<u32> {
        let mut ids = decoder.to_vec();
        if padded {
            ids.resize(width, self.t5.config.pad_token_id);
        }
        ids
    }

    /// Computes the numbers of the chosen tokens of `rows` from their decoder states.
    fn score(
        &self,
        decoded: &Packed,
        rows: &[Vec<u32>],
        given: &Given<'_>,
        dropout: Option<&mut Rng>,
    ) -> Result<ScoredTokens> {
        let width = given.width;
        let (mut from, mut chosen) = (Vec::new(), Vec::new()); // a row's last state chooses no token
        let mut cells = Vec::new();
        for (i, (row, (at, _))) in rows.iter().zip(&decoded.spans).enumerate() {
            for k in 0..row.len() - 1 {
                cells.push(i * (width - 1) + k);
                from.push((at + k) as u32);
                chosen.push(row[k + 1]);
            }
        }
        let hidden = ops::rows(&decoded.hidden, &from, None)?; // (total, D)
        let tokens = chosen_logprobs(&self.t5.head_input(&hidden)?, self.t5.head(), &chosen)?; // (total, 2)
        let values = self.value_head.forward(&hidden, given.tokens_before, dropout)?; // (total, 1)
        Ok(ScoredTokens { tokens, values, cells, shape: (rows.len(), width - 1) })
    }

    /// The value head's estimate for decoder states (N, D): (N).
    pub(crate) fn values(&self, hidden: &Tensor) -> Result<Vec<f32>> {
        Ok(self.value_head.forward(hidden, 0, None)?.squeeze(1)?.to_vec1()?)
    }
}

impl TrainablePolicy for Policy {
    fn evaluate(&self, given: &Given<'_>, dropout: Option<&mut Rng>) -> Result<TokenScores> {
        let score = || {
            let (decoded, fed) = self.states(given)?; // (N, D)
            self.score(&decoded, &fed, given, dropout)
        };
        if !given.grad {
            return score()?.spread(None);
        }
        let (scored, tape) = record(score)?;
        scored.spread(Some(tape))
    }

    /// All trained variables, by PEFT's and TRL's checkpoint names.
    fn trainable(&self) -> Vec<(String, Var)> {
        let mut vars = Vec::new();
        for (module, a, b) in self.adapters.get(POLICY).into_iter().flat_map(LoraSet::vars) {
            vars.push((format!("base_model.model.{module}.lora_A.weight"), a.clone()));
            vars.push((format!("base_model.model.{module}.lora_B.weight"), b.clone()));
        }
        vars.push(("v_head.summary.weight".into(), self.value_head.weight.clone()));
        vars.push(("v_head.summary.bias".into(), self.value_head.bias.clone()));
        vars
    }
}

/// Numbers of tokens, and their cells in a grid.
struct ScoredTokens {
    /// (total, 2): log-prob and entropy.
    tokens: Tensor,
    /// (total, 1)
    values: Tensor,
    /// The cell of each token in a row-major grid of this shape (B, width − 1).
    cells: Vec<usize>,
    shape: (usize, usize),
}

impl ScoredTokens {
    /// Puts the numbers into grids with zeros elsewhere, and adds the backward pass of the recorded operations.
    fn spread(self, tape: Option<Tape>) -> Result<TokenScores> {
        let Self { tokens, values, cells, shape } = self;
        let grid = |numbers: &mut dyn Iterator<Item = f32>| {
            let mut grid = vec![0f32; shape.0 * shape.1];
            cells.iter().zip(numbers).for_each(|(cell, x)| grid[*cell] = x);
            Tensor::from_vec(grid, shape, &Device::Cpu)
        };
        let pairs = tokens.to_vec2::<f32>()?;
        let logprobs = grid(&mut pairs.iter().map(|pair| pair[0]))?;
        let entropy = grid(&mut pairs.iter().map(|pair| pair[1]))?;
        let estimates = grid(&mut values.flatten_all()?.to_vec1::<f32>()?.into_iter())?;
        let backward = tape.map(|tape| -> Backward {
            Box::new(move |by_logprobs, by_values| {
                let gather = |grid: &Tensor| -> Result<Vec<f32>> {
                    let grid: Vec<f32> = grid.flatten_all()?.to_vec1()?;
                    Ok(cells.iter().map(|cell| grid[*cell]).collect())
                };
                let by_tokens = gather(by_logprobs)?.into_iter().flat_map(|g| [g, 0.0]).collect();
                let by_tokens = Tensor::from_vec(by_tokens, (cells.len(), 2), &Device::Cpu)?;
                let by_values = Tensor::from_vec(gather(by_values)?, (cells.len(), 1), &Device::Cpu)?;
                tape.backward([(tokens, by_tokens), (values, by_values)])
            })
        });
        Ok(TokenScores { logprobs, values: estimates, entropy, backward })
    }
}
