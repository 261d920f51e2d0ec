//! Low-rank adapters for frozen linear layers: `y = W x + scale · B A x` (Hu et al. 2021; PEFT's semantics). Several named sets
//! can share one set of base weights; `io::adapter` has files and PEFT's names.

use super::linear::linear;
use super::ops::scaled;
use super::rng::Rng;
use crate::error::{Error, Result};
use candle_core::{Tensor, Var};
use std::cell::RefCell;

/// One layer's pair: A (r, in), B (out, r), scale = alpha/r, or alpha/√r with rslora.
#[derive(Debug, Clone)]
pub struct Lora {
    pub a: Tensor,
    pub b: Tensor,
    pub scale: f64,
}

impl Lora {
    /// The adapter's contribution for x (N, in): (N, out). `dropout` applies to the adapter's input, as in PEFT.
    pub fn forward(&self, x: &Tensor, dropout: Option<(f32, &RefCell<Rng>)>) -> Result<Tensor> {
        let dropped = match dropout {
            Some((p, rng)) if p > 0.0 => Some(super::dropout::dropout(x, p, &mut rng.borrow_mut())?),
            _ => None,
        };
        let x = dropped.as_ref().unwrap_or(x);
        let low = linear(x, &self.a, None)?; // (N, r)
        let low = if self.scale == 1.0 { low } else { scaled(&low, self.scale as f32)? };
        linear(&low, &self.b, None)
    }
}

/// An adapter: pairs by the model's layer number.
#[derive(Debug, Clone, Default)]
pub struct LoraSet {
    pairs: Vec<Option<Lora>>,
    /// (layer, module name, A, B) of a trainable set.
    vars: Vec<(usize, String, Var, Var)>,
    /// Probability of PEFT's `lora_dropout`, used while training with dropout.
    pub dropout: f32,
}

/// An adapter's pair for one module.
pub struct LoraSpec {
    /// Module name as in the base checkpoint, such as `encoder.block.0.layer.0.SelfAttention.q`.
    pub module: String,
    /// A (r, in).
    pub a: Tensor,
    /// B (out, r).
    pub b: Tensor,
    pub scale: f64,
}

impl LoraSet {
    /// Builds a set for a model whose layers are `modules` (name, in, out). A trainable set has separate variables.
    pub fn new(
        specs: Vec<LoraSpec>,
        modules: &[(String, usize, usize)],
        dropout: f32,
        trainable: bool,
    ) -> Result<Self> {
        let mut set = Self { pairs: vec![None; modules.len()], vars: Vec::new(), dropout };
        for spec in specs {
            let Some(layer) = modules.iter().position(|m| m.0 == spec.module) else {
                return Err(Error::input(
                    format!("the adapter has a module {}, which this base model does not have", spec.module),
                    "use the base model that the adapter was trained on (base_model_name_or_path in its config)",
                ));
            };
            let (_, in_dim, out_dim) = &modules[layer];
            let rank = spec.a.dims().first().copied().unwrap_or(0);
            for (which, tensor, expected) in [("A", &spec.a, [rank, *in_dim]), ("B", &spec.b, [*out_dim, rank])] {
                if tensor.dims() != expected {
                    let name = format!("{}.lora_{which}", spec.module);
                    return Err(Error::shape(
                        name,
                        tensor.dims(),
                        &expected,
                        "use the base model that the adapter was trained on",
                    ));
                }
            }
            let (mut a, mut b) = (spec.a.to_dtype(candle_core::DType::F32)?, spec.b.to_dtype(candle_core::DType::F32)?);
            if trainable {
                let (va, vb) = (Var::from_tensor(&a.copy()?)?, Var::from_tensor(&b.copy()?)?);
                (a, b) = (va.as_tensor().clone(), vb.as_tensor().clone());
                set.vars.push((layer, spec.module, va, vb));
            }
            set.pairs[layer] = Some(Lora { a, b, scale: spec.scale });
        }
        set.vars.sort_by_key(|v| v.0);
        Ok(set)
    }

    /// The pair of a layer.
    pub fn of(&self, layer: usize) -> Option<&Lora> {
        self.pairs.get(layer).and_then(Option::as_ref)
    }

    /// (module, A, B) of a trainable set, in the model's order.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var, &Var)> {
        self.vars.iter().map(|(_, name, a, b)| (name.as_str(), a, b))
    }

    /// The layers that have a pair.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &Lora)> {
        self.pairs.iter().enumerate().filter_map(|(i, p)| p.as_ref().map(|p| (i, p)))
    }

    /// A frozen copy that does not change when this set is trained.
    pub fn frozen_copy(&self) -> Result<Self> {
        let copy = |lora: &Lora| Ok(Lora { a: lora.a.detach().copy()?, b: lora.b.detach().copy()?, scale: lora.scale });
        let pairs = self.pairs.iter().map(|p| p.as_ref().map(copy).transpose()).collect::<Result<_>>()?;
        Ok(Self { pairs, vars: Vec::new(), dropout: self.dropout })
    }

    /// Number of parameters of all pairs.
    pub fn parameters(&self) -> usize {
        self.layers().map(|(_, l)| l.a.elem_count() + l.b.elem_count()).sum()
    }
}
