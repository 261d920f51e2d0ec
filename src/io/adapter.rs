//! PEFT LoRA folders: reads and writes weights and configuration as PEFT does, checks them against a base model, and merges
//! them into one. `nn::lora` has the arithmetic.
//!
//! Source: PEFT 0.13.2 `utils/save_and_load.py` (key names) and `tuners/lora/layer.py` (`get_delta_weight`).

use super::ByteSource;
use super::adapter_config::{AdapterConfig, CONFIG_FILE};
use super::checkpoint::names::unwrapped;
use super::checkpoint::{safetensors, weights};
use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, HashMap};

/// The file with the weights; the old form is a torch zip.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
const OLD_WEIGHTS_FILE: &str = "adapter_model.bin";
const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A";
const B: &str = ".lora_B";
const WEIGHT: &str = ".weight";
/// Modules that are embeddings or heads, not layers inside the blocks.
const TABLES: [&str; 4] = ["lm_head", "shared", "encoder.embed_tokens", "decoder.embed_tokens"];
const MERGE_FIRST: &str = "merge it with PEFT (merge_and_unload), save the result and use it as the policy";
const EMPTY: &str = "save it again: model.save_pretrained(FOLDER) on the PEFT model, with all weights gathered";

/// An adapter. Tensors (f32) by PEFT's names: `base_model.model.<module>.lora_A.weight` (r, in) and `….lora_B.weight` (out, r).
#[derive(Debug, Clone)]
pub struct PeftAdapter {
    pub config: AdapterConfig,
    pub tensors: BTreeMap<String, Tensor>,
    /// Its folder, for messages.
    pub name: String,
}

/// A linear module of the base model: dotted name, input and output width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub in_dim: usize,
    pub out_dim: usize,
}

impl PeftAdapter {
    /// Reads a PEFT folder, `adapter_model.safetensors` or the older `adapter_model.bin`.
    pub fn read(source: &dyn ByteSource) -> Result<Self> {
        let config = AdapterConfig::parse(&source.read(CONFIG_FILE)?, &source.path(CONFIG_FILE))?;
        config.check_supported()?;
        let file = match [WEIGHTS_FILE, OLD_WEIGHTS_FILE].into_iter().find(|f| source.has(f)) {
            Some(file) => file,
            None => {
                return Err(Error::file(
                    source.name(),
                    format!("no adapter weights: neither {WEIGHTS_FILE} nor {OLD_WEIGHTS_FILE}"),
                    "give a folder saved by PEFT's save_pretrained",
                ));
            }
        };
        let path = source.path(file);
        let stored: BTreeMap<String, Tensor> = weights::load_file(source, file, &|_| true)?.into_iter().collect();
        if stored.is_empty() {
            return Err(Error::file(path, "no tensors in it: the adapter is empty", EMPTY));
        }
        let mut tensors = BTreeMap::new();
        let mut from: BTreeMap<String, String> = BTreeMap::new();
        for (given, tensor) in stored {
            if unwrapped(&given).starts_with("v_head.") {
                continue; // TRL's value head, which `value_head` reads
            }
            let name = saved_name(&given).map_err(|(what, hint)| Error::file(&path, what, hint))?;
            if let Some(other) = from.get(&name) {
                let what = format!("{other} and {given} are two adapters for the same layer");
                return Err(Error::file(
                    path,
                    what,
                    "save only one adapter: save_pretrained(FOLDER, selected_adapters=[NAME])",
                ));
            }
            from.insert(name.clone(), given);
            tensors.insert(name, tensor);
        }
        Ok(Self { config, tensors, name: source.name() })
    }

    /// The folder's files by name.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let weights = safetensors::to_bytes(&self.tensors)?;
        let config = self.config.to_json().into_bytes();
        Ok(BTreeMap::from([(CONFIG_FILE.to_string(), config), (WEIGHTS_FILE.to_string(), weights)]))
    }

    /// The adapted modules, sorted.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<_> = self.tensors.keys().filter_map(|name| module_of(name)).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    /// Whether both adapters have the same layers and numbers; number types may differ.
    pub fn is_same(&self, other: &Self) -> Result<bool> {
        if self.modules() != other.modules() {
            return Ok(false);
        }
        let numbers = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        for module in self.modules() {
            let (Some(a), Some(b)) = (self.pair(module), other.pair(module)) else { return Ok(false) };
            for (a, b) in [(a.0, b.0), (a.1, b.1)] {
                if a.dims() != b.dims() || numbers(a)? != numbers(b)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A (r, in) and B (out, r) of a module.
    pub fn pair(&self, module: &str) -> Option<(&Tensor, &Tensor)> {
        let get = |part: &str| self.tensors.get(&format!("{PREFIX}{module}{part}{WEIGHT}"));
        get(A).zip(get(B))
    }

    /// Checks that the adapter fits a base model with these linear `modules`: every target has A and B with the right shapes,
    /// and there are no other tensors. Returns warnings.
    pub fn check(&self, modules: &[Module]) -> Result<Vec<String>> {
        let names: Vec<&str> = modules.iter().map(|m| m.name.as_str()).collect();
        let warnings = self.config.check_targets(&names)?;
        let targets: Vec<&Module> = modules.iter().filter(|m| self.config.targets(&m.name)).collect();
        let mut wrong = Vec::new();
        let mut expected = BTreeMap::new();
        for module in targets {
            let r = self.config.rank_for(&module.name);
            expected.insert(format!("{PREFIX}{}{A}{WEIGHT}", module.name), [r, module.in_dim]);
            expected.insert(format!("{PREFIX}{}{B}{WEIGHT}", module.name), [module.out_dim, r]);
        }
        for (name, shape) in &expected {
            match self.tensors.get(name) {
                None => wrong.push(format!("{name} is missing")),
                Some(t) if t.dims() != shape.as_slice() => {
                    wrong.push(format!("{name} is {:?}, but the base model needs {shape:?}", t.dims()))
                }
                Some(_) => {}
            }
        }
        let left_over = self.tensors.keys().filter(|name| !expected.contains_key(*name));
        wrong.extend(left_over.map(|name| format!("{name} has no layer in the base model")));
        if wrong.is_empty() {
            return Ok(warnings);
        }
        let of_table = self.modules().into_iter().find(|m| TABLES.contains(m));
        if let Some(table) = of_table.filter(|table| !names.contains(table)) {
            let what = format!("the adapter changes {table}, but only layers inside the blocks are supported");
            return Err(Error::file(&self.name, what, MERGE_FIRST));
        }
        let shown = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        let more = if wrong.len() > 3 { format!("; and {} more", wrong.len() - 3) } else { String::new() };
        let base = self.config.base_model_name_or_path.as_deref().filter(|b| !b.is_empty());
        Err(Error::file(
            &self.name,
            format!("an adapter for another base model: {shown}{more}"),
            match base {
                Some(base) => format!("use the base model that the adapter names, {base}, or another adapter"),
                None => "use the base model that the adapter was trained on, or another adapter".to_string(),
            },
        ))
    }

    /// Adds the adapter to the base weights, W + s·B·A in f32, for export as a plain checkpoint. On an error (a missing weight,
    /// a wrong shape, a number that is not finite) `base` is unchanged.
    pub fn merge(&self, base: &mut HashMap<String, Tensor>) -> Result<()> {
        let mut merged = Vec::new();
        for module in self.modules() {
            let name = format!("{module}.weight");
            let Some((a, b)) = self.pair(module) else {
                let what = format!("module {module} has only one of A and B");
                return Err(Error::file(&self.name, what, "save the adapter again"));
            };
            let Some(weight) = base.get(&name) else {
                let what = format!("an adapter for another base model: this one has no {name}");
                return Err(Error::file(&self.name, what, "use the base model that the adapter was trained on"));
            };
            let fits = match (weight.dims(), b.dims(), a.dims()) {
                ([out, input], [b_out, b_rank], [a_rank, a_in]) => out == b_out && input == a_in && a_rank == b_rank,
                _ => false,
            };
            if !fits {
                let what = format!("{name} is {:?}, B {:?}, A {:?}", weight.dims(), b.dims(), a.dims());
                let hint = "use the base model that the adapter was trained on";
                return Err(Error::file(&self.name, format!("an adapter for another base model: {what}"), hint));
            }
            let delta = (b.matmul(a)? * self.config.scale_for(module))?; // (out, in)
            let sum = (weight.to_dtype(DType::F32)? + delta)?; // (out, in)
            if !sum.flatten_all()?.to_vec1::<f32>()?.iter().all(|x| x.is_finite()) {
                return Err(Error::not_finite(
                    format!("{name} merged with {}", self.name),
                    "check base and adapter for NaN",
                ));
            }
            merged.push((name, sum));
        }
        base.extend(merged);
        Ok(())
    }
}

/// The key with which PEFT saves a tensor. Keys of a live model's state dict have prefixes of wrappers, no prefix, or PEFT's
/// twice, and contain the adapter's name (`lora_A.default.weight`).
///
/// # Errors
/// A tensor that is not LoRA's A or B of a linear layer: what it is, and what to do.
fn saved_name(given: &str) -> std::result::Result<String, (String, &'static str)> {
    let own = unwrapped(given);
    if own.contains(".lora_embedding_") {
        return Err((format!("tensor {given} adapts embeddings, which is not supported"), MERGE_FIRST));
    }
    for part in [A, B] {
        let Some((module, rest)) = own.split_once(part) else { continue };
        // ".weight", or ".NAME.weight" with the adapter's name
        if rest == WEIGHT || rest.strip_suffix(WEIGHT).is_some_and(|name| name.starts_with('.')) {
            return Ok(format!("{PREFIX}{module}{part}{WEIGHT}"));
        }
    }
    if own.contains(".base_layer.") {
        let hint = "save only the adapter: model.save_pretrained(FOLDER), on the PEFT model";
        return Err((format!("tensor {given} belongs to the base model, which was saved with the adapter"), hint));
    }
    let hint = "use an adapter with bias \"none\", and without modules_to_save, DoRA or adapted embeddings";
    Err((format!("tensor {given} is not LoRA's A or B of a linear layer"), hint))
}

/// The module that a saved key belongs to.
fn module_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix(PREFIX)?;
    let name = name.strip_suffix(WEIGHT)?;
    name.strip_suffix(A).or_else(|| name.strip_suffix(B))
}
