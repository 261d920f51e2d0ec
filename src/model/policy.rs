//! The policy: T5 with a value head and adapters by name over one set of frozen base weights. `policy` is trained,
//! `initial` is what it was at step 0, none is the base alone. Per-token numbers are made here, chosen tokens in `generate`.

use super::t5::{Packed, Pass, T5};
use crate::error::{Error, Result};
use crate::nn::dropout::dropout as dropped;
use crate::nn::logprobs::chosen_logprobs;
use crate::nn::lora::{LoraSet, LoraSpec};
use crate::nn::rng::Rng;
use crate::nn::tape::{Recorded, record_to};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

/// Which adapter is on: a name, or none for the base model alone.
pub type AdapterName<'a> = Option<&'a str>;

/// The adapter that is trained.
pub const POLICY: &str = "policy";
/// The adapter as it was at step 0.
pub const INITIAL: &str = "initial";

/// TRL's value head: `v = dropout(h) · w + c` on the decoder's last hidden state (docs/ppo.md 1.3).
pub struct ValueHead {
    weight: Var,
    bias: Var,
    /// Probability of dropout on the hidden state, where a pass asks for it.
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

    /// (N, D) → (N).
    fn forward(&self, hidden: &Tensor, grad: bool, dropout: Option<&mut Rng>) -> Result<Tensor> {
        let (mut w, mut c) = (self.weight.as_tensor().clone(), self.bias.as_tensor().clone());
        if !grad {
            (w, c) = (w.detach(), c.detach());
        }
        let hidden = match dropout {
            Some(rng) => dropped(hidden, self.dropout, rng)?,
            None => hidden.clone(),
        };
        Ok(hidden.matmul(&w.t()?)?.broadcast_add(&c)?.squeeze(1)?)
    }
}

/// Per-token numbers of a batch, each (B, width − 1); column k scores decoder id k + 1.
pub struct TokenScores {
    /// log softmax(logits)[next id], natural log.
    pub logprobs: Tensor,
    /// The value head's estimate at the position that chose the token.
    pub values: Tensor,
    /// Entropy of the distribution that the token was drawn from, in nats.
    pub entropy: Tensor,
    /// The way from decoder states to the adapter, where it is not in these tensors' own graph.
    pub path: Option<Recorded>,
}

impl TokenScores {
    /// The gradients of `Σ by_logprobs · logprobs + by_values · values` for every variable; both weights (B, width − 1).
    pub fn backward(self, by_logprobs: &Tensor, by_values: &Tensor) -> Result<GradStore> {
        let sum = ((&self.logprobs * by_logprobs)? + (&self.values * by_values)?)?.sum_all()?;
        let mut store = sum.backward()?;
        drop((sum, self.logprobs, self.values, self.entropy));
        if let Some(path) = self.path {
            path.backward(&mut store)?;
        }
        Ok(store)
    }
}

/// T5, a value head, adapters by name.
pub struct Policy {
    pub t5: T5,
    pub value_head: ValueHead,
    adapters: BTreeMap<String, LoraSet>,
}

impl Policy {
    /// The base model with no adapter.
    pub fn new(t5: T5, value_head: ValueHead) -> Self {
        Self { t5, value_head, adapters: BTreeMap::new() }
    }

    /// Puts an adapter over the base weights under a name, trainable or frozen.
    pub fn add_adapter(&mut self, name: &str, specs: Vec<LoraSpec>, dropout: f32, trainable: bool) -> Result<()> {
        let set = LoraSet::new(specs, self.t5.modules(), dropout, trainable)?;
        self.adapters.insert(name.into(), set);
        Ok(())
    }

    /// Keeps a frozen copy of an adapter under another name.
    pub fn copy_adapter(&mut self, from: &str, to: &str) -> Result<()> {
        let copy = self.adapter(Some(from))?.map(LoraSet::frozen_copy).transpose()?;
        if let Some(copy) = copy {
            self.adapters.insert(to.into(), copy);
        }
        Ok(())
    }

    /// The adapter of a name; none for none.
    pub fn adapter(&self, name: AdapterName<'_>) -> Result<Option<&LoraSet>> {
        let Some(name) = name else { return Ok(None) };
        self.adapters.get(name).map(Some).ok_or_else(|| {
            let have: Vec<&str> = self.adapters.keys().map(String::as_str).collect();
            Error::input(format!("there is no adapter named {name}"), format!("loaded adapters: {have:?}"))
        })
    }

    /// The adapter's numbers outside the graph.
    pub(crate) fn detached(&self, name: AdapterName<'_>) -> Result<Option<LoraSet>> {
        Ok(self.adapter(name)?.map(LoraSet::detached))
    }

    /// Everything that training changes, by PEFT's and TRL's checkpoint names.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let mut vars = Vec::new();
        for (module, a, b) in self.adapters.get(POLICY).into_iter().flat_map(LoraSet::vars) {
            vars.push((format!("base_model.model.{module}.lora_A.weight"), a.clone()));
            vars.push((format!("base_model.model.{module}.lora_B.weight"), b.clone()));
        }
        vars.push(("v_head.summary.weight".into(), self.value_head.weight.clone()));
        vars.push(("v_head.summary.bias".into(), self.value_head.bias.clone()));
        vars
    }

    /// Numbers that training changes.
    pub fn trainable_parameters(&self) -> usize {
        self.trainable().iter().map(|(_, v)| v.elem_count()).sum()
    }

    /// Numbers in all: base, the policy's adapter, value head (as PEFT counts: copies for reference do not count).
    pub fn parameters(&self) -> usize {
        self.t5.parameters() + self.trainable_parameters()
    }

    /// Teacher-forced log-probs, values and entropies of rows (query ids, decoder ids as fed).
    ///
    /// The result has `width − 1` columns. With `padded`, rows are right-padded with the pad id to `width` decoder ids and
    /// the padded columns are computed, as TRL does; without, they are 0 and cost nothing. `grad` keeps the graph.
    /// `dropout` turns the value head's dropout on.
    ///
    /// # Errors
    /// A row shorter than 2 decoder ids or longer than `width`, an empty query, an id outside the vocabulary.
    pub fn evaluate(
        &self,
        rows: &[(&[u32], &[u32])],
        width: usize,
        padded: bool,
        adapter: AdapterName<'_>,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        let detached = if grad { None } else { self.detached(adapter)? };
        let lora = if grad { self.adapter(adapter)? } else { detached.as_ref() };
        let (decoded, fed) = self.states(rows, width, padded, lora)?; // (N, D)
        self.score(&decoded, &fed, width, grad, dropout)
    }

    /// [`Policy::evaluate`] of the policy's adapter, for [`TokenScores::backward`]: the same numbers and gradients, with less
    /// memory and in less time than by the graph.
    ///
    /// # Errors
    /// Those of [`Policy::evaluate`].
    pub fn record(
        &self,
        rows: &[(&[u32], &[u32])],
        width: usize,
        padded: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        let lora = self.adapter(Some(POLICY))?;
        let (path, (spans, fed)) = record_to(|| {
            let (decoded, fed) = self.states(rows, width, padded, lora)?;
            Ok((decoded.hidden, (decoded.spans, fed)))
        })?;
        let scored = Packed { hidden: path.tensor().clone(), spans };
        let scores = self.score(&scored, &fed, width, true, dropout)?;
        Ok(TokenScores { path: Some(path), ..scores })
    }

    /// Decoder states of rows, packed, and the decoder ids that were fed.
    fn states(
        &self,
        rows: &[(&[u32], &[u32])],
        width: usize,
        padded: bool,
        lora: Option<&LoraSet>,
    ) -> Result<(Packed, Vec<Vec<u32>>)> {
        for (i, (_, decoder)) in rows.iter().enumerate() {
            if decoder.len() < 2 || decoder.len() > width {
                return Err(Error::input(
                    format!("row {} has {} decoder ids, usable are 2 to {width}", i + 1, decoder.len()),
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

    /// From decoder states of `rows` to a (B, width − 1) grid.
    fn score(
        &self,
        decoded: &Packed,
        rows: &[Vec<u32>],
        width: usize,
        grad: bool,
        dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        let device = decoded.hidden.device();
        let (mut from, mut chosen) = (Vec::new(), Vec::new()); // a row's last state chooses nothing
        let total: usize = rows.iter().map(|r| r.len() - 1).sum();
        let mut grid = vec![total as u32; rows.len() * (width - 1)]; // `total` is the row of zeros
        for (i, (row, (at, _))) in rows.iter().zip(&decoded.spans).enumerate() {
            for k in 0..row.len() - 1 {
                grid[i * (width - 1) + k] = chosen.len() as u32;
                from.push((at + k) as u32);
                chosen.push(row[k + 1]);
            }
        }
        let hidden = decoded.hidden.index_select(&Tensor::new(from.as_slice(), device)?, 0)?; // (total, D)
        let scores = chosen_logprobs(&self.t5.head_input(&hidden)?, self.t5.head(), &chosen)?; // (total, 2)
        let values = self.value_head.forward(&hidden, grad, dropout)?; // (total)
        let grid = Tensor::new(grid.as_slice(), device)?;
        let spread = |column: Tensor| -> Result<Tensor> {
            let zero = Tensor::zeros(1, DType::F32, device)?;
            let all = Tensor::cat(&[column, zero], 0)?.index_select(&grid, 0)?;
            Ok(all.reshape((rows.len(), width - 1))?)
        };
        Ok(TokenScores {
            logprobs: spread(scores.narrow(1, 0, 1)?.squeeze(1)?)?,
            entropy: spread(scores.narrow(1, 1, 1)?.squeeze(1)?.detach())?,
            values: spread(values)?,
            path: None,
        })
    }

    /// The value head's estimate for decoder states (N, D), outside the graph: (N).
    pub(crate) fn values(&self, hidden: &Tensor) -> Result<Vec<f32>> {
        Ok(self.value_head.forward(hidden, false, None)?.to_vec1()?)
    }
}
