//! Named tensors that a model is built from, by checkpoint name, with shape checks. Knows no files.

use crate::error::{Error, Result};
use candle_core::{DType, Tensor, Var};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Variables by checkpoint name, shared by all paths into one checkpoint.
type Vars = Rc<RefCell<Vec<(String, Var)>>>;

/// A checkpoint's tensors with a path prefix; tensors are handed out as frozen f32 or as trainable variables.
#[derive(Clone)]
pub struct Params {
    tensors: Rc<HashMap<String, Tensor>>,
    prefix: String,
    /// `Some` when the tensors are to be trained: every variable made, by full name.
    vars: Option<Vars>,
}

impl Params {
    /// Tensors that stay as they are.
    pub fn frozen(tensors: HashMap<String, Tensor>) -> Self {
        Self { tensors: Rc::new(tensors), prefix: String::new(), vars: None }
    }

    /// Tensors that become variables as they are taken.
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

    /// Is there a tensor of this name?
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full(name))
    }

    /// The tensor `name` as f32, its shape checked.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let full = self.full(name);
        let Some(tensor) = self.tensors.get(&full) else {
            return Err(Error::input(
                format!("the checkpoint has no tensor {full}"),
                "check that config.json and the weights belong to the same model",
            ));
        };
        if tensor.dims() != shape {
            return Err(Error::shape(full, tensor.dims(), shape, "check that config.json belongs to these weights"));
        }
        let tensor = tensor.to_dtype(DType::F32)?;
        let Some(vars) = &self.vars else { return Ok(tensor) };
        if let Some((_, var)) = vars.borrow().iter().find(|(n, _)| *n == full) {
            return Ok(var.as_tensor().clone()); // a shared table taken twice is one variable
        }
        let var = Var::from_tensor(&tensor)?;
        let out = var.as_tensor().clone();
        vars.borrow_mut().push((full, var));
        Ok(out)
    }

    /// Every variable taken so far, by checkpoint name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars.as_ref().map(|v| v.borrow().clone()).unwrap_or_default()
    }
}
