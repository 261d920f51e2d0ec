//! The tensors of a model by checkpoint name, with shape checks.

use super::weight::Weight;
use crate::error::{Error, Result};
use candle_core::{DType, Tensor, Var};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Variables by checkpoint name, shared by all paths into one checkpoint.
type Vars = Rc<RefCell<Vec<(String, Var)>>>;

/// A checkpoint's tensors with a path prefix; they are returned frozen, or as trainable f32 variables.
#[derive(Clone)]
pub struct Params {
    tensors: Rc<HashMap<String, Weight>>,
    prefix: String,
    /// `Some` if the tensors are to be trained: all variables made so far, by full name.
    vars: Option<Vars>,
}

impl Params {
    /// Tensors that are not trained.
    pub fn frozen(tensors: HashMap<String, Tensor>) -> Self {
        Self::held(tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect())
    }

    /// Weights that are not trained, with matrices of any type.
    pub fn held(weights: HashMap<String, Weight>) -> Self {
        Self { tensors: Rc::new(weights), prefix: String::new(), vars: None }
    }

    /// Tensors that become variables when they are taken.
    pub fn trainable(tensors: HashMap<String, Tensor>) -> Self {
        Self { vars: Some(Rc::default()), ..Self::frozen(tensors) }
    }

    /// One step down the path: `params.at("encoder").at("block")`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let prefix = if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Self { prefix, ..self.clone() }
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    /// The path so far, as in the checkpoint.
    pub fn path(&self) -> &str {
        &self.prefix
    }

    /// Whether there is a tensor with this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full(name))
    }

    /// The tensor `name` as f32, after checking its shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.weight(name, shape)?.to_f32()
    }

    /// The tensor `name` in its type (f32 if it is trained), after checking its shape.
    pub fn weight(&self, name: &str, shape: &[usize]) -> Result<Weight> {
        let full = self.full(name);
        let Some(tensor) = self.tensors.get(&full) else {
            return Err(self.missing(&full));
        };
        if tensor.dims() != shape {
            return Err(Error::shape(full, &tensor.dims(), shape, "check that config.json belongs to these weights"));
        }
        let tensor = match tensor {
            Weight::F32(tensor) => tensor.to_dtype(DType::F32)?,
            held if self.vars.is_none() => return Ok(held.clone()),
            held => held.to_f32()?,
        };
        let Some(vars) = &self.vars else { return Ok(tensor.into()) };
        if let Some((_, var)) = vars.borrow().iter().find(|(n, _)| *n == full) {
            return Ok(var.as_tensor().clone().into()); // a shared table taken twice is one variable
        }
        let var = Var::from_tensor(&tensor)?;
        let out = var.as_tensor().clone();
        vars.borrow_mut().push((full, var));
        Ok(out.into())
    }

    /// The error for a missing tensor `full`; if only a prefix differs, the message names it.
    fn missing(&self, full: &str) -> Error {
        let what = format!("the checkpoint has no tensor {full}");
        let prefixes = self.tensors.keys().filter_map(|name| name.strip_suffix(full)?.strip_suffix('.'));
        let cut = self.tensors.keys().filter(|name| full.strip_suffix(*name).is_some_and(|front| front.ends_with('.')));
        let (prefix, cut) = (prefixes.min(), cut.max_by_key(|name| name.len()));
        match (prefix, cut) {
            (Some(prefix), _) => Error::input(
                format!("{what}, but {prefix}.{full}: its names begin with the prefix \"{prefix}.\""),
                "save the model without its wrapper, or remove the prefix from the names",
            ),
            (None, Some(cut)) => Error::input(
                format!("{what}, but {cut}: its names lack the prefix \"{}\"", &full[..full.len() - cut.len()]),
                "save the model with its head (…ForConditionalGeneration, …ForSequenceClassification)",
            ),
            _ => Error::input(what, "check that config.json and the weights belong to the same model"),
        }
    }

    /// All variables taken so far, by checkpoint name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars.as_ref().map(|v| v.borrow().clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn an_additional_or_missing_prefix_is_named() {
        let message = |there: [&str; 2]| {
            let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
            let params = Params::frozen(there.iter().map(|name| (name.to_string(), tensor.clone())).collect());
            params.at("roberta").get("norm", &[1]).unwrap_err().to_string()
        };
        for _ in 0..3 {
            let more = message(["b.roberta.norm", "a.roberta.norm"]);
            assert!(more.contains("no tensor roberta.norm, but a.roberta.norm") && more.contains("\"a.\""), "{more}");
            let less = message(["norm", "other"]);
            assert!(less.contains("but norm: its names lack the prefix \"roberta.\""), "{less}");
        }
        assert!(message(["x", "y"]).contains("belong to the same model"));
    }
}
