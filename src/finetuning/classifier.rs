//! A RoBERTa classifier to be trained: new weights for a configuration, or a model from a folder, with its tokenizer and the
//! files of a saved folder. `reward_model` trains it.

use super::fresh;
use crate::error::{Error, Result};
use crate::io::checkpoint::weights;
use crate::io::{ByteSource, pretrained};
use crate::lab::models::Labels;
use crate::lab::sources::tokenizer::{NoTokenizer, tokenizer as read_tokenizer};
use crate::model::reward::{RewardModel, nothate_column};
use crate::model::roberta::RobertaConfig;
use crate::nn::params::Params;
use crate::text::tokenizer::Tokenizer;
use candle_core::{Tensor, Var};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// A classifier to train, with its tokenizer.
pub struct Classifier {
    pub(super) model: RewardModel,
    pub(super) vars: Vec<(String, Var)>,
    pub(super) config: Value,
    pub(super) tokenizer: Tokenizer,
    pub(super) tokenizer_files: BTreeMap<String, Vec<u8>>,
    /// Whether the classification head is new, because the weights had none.
    pub fresh_head: bool,
}

impl Classifier {
    /// New weights (seeded) for `config`, a RoBERTa's `config.json`. Missing values are those of roberta-base, and the
    /// vocabulary is the tokenizer's. `dropout`: all dropouts of the model; none: those of the config.
    ///
    /// # Errors
    /// An invalid config, a folder without tokenizer, a vocabulary smaller than the tokenizer's.
    pub fn fresh(
        file: &str,
        config: Value,
        tokenizer: &dyn ByteSource,
        dropout: Option<f64>,
        seed: u64,
    ) -> Result<Self> {
        Self::build(config, HashMap::new(), tokenizer, None, dropout, seed).map_err(|e| e.in_file(file))
    }

    /// The model in a folder; a RoBERTa without classification head gets a new one. `labels`: its names for nothate and hate;
    /// the trained model is saved with the names nothate and hate.
    ///
    /// # Errors
    /// As [`Classifier::fresh`], and weights that do not fit the config.
    pub fn load(source: &dyn ByteSource, labels: Option<&Labels>, dropout: Option<f64>, seed: u64) -> Result<Self> {
        let tensors = weights::load(source)?;
        Self::build(source.read_json("config.json")?, tensors, source, labels, dropout, seed)
            .map_err(|e| e.in_file(&source.name()))
    }

    fn build(
        config: Value,
        mut tensors: HashMap<String, Tensor>,
        folder: &dyn ByteSource,
        labels: Option<&Labels>,
        dropout: Option<f64>,
        seed: u64,
    ) -> Result<Self> {
        let tokenizer = read_tokenizer(folder)?.ok_or_else(|| NoTokenizer::of(folder, "roberta-base").error())?;
        let mut config = completed(config, &tokenizer, dropout, labels.is_some())?;
        let nothate = nothate_column(&RobertaConfig::from_json(&config.to_string())?, labels)?;
        let names = if nothate == 0 { ["nothate", "hate"] } else { ["hate", "nothate"] };
        config["id2label"] = json!({"0": names[0], "1": names[1]});
        config["label2id"] = json!({names[0]: 0, names[1]: 1});
        let roberta = RobertaConfig::from_json(&config.to_string())?;
        if tokenizer.vocab_size() > roberta.vocab_size {
            let what = format!("vocab_size is {}, the tokenizer has {}", roberta.vocab_size, tokenizer.vocab_size());
            return Err(Error::input(
                what,
                "set vocab_size to at least that number, or use the tokenizer of this model",
            ));
        }
        if tensors.contains_key("embeddings.word_embeddings.weight") {
            // a RobertaModel is saved without the prefix that it has inside a classifier
            tensors = tensors.into_iter().map(|(name, tensor)| (format!("roberta.{name}"), tensor)).collect();
        }
        let empty = tensors.is_empty();
        let mut fresh_head = false;
        for (name, tensor) in fresh::roberta(&roberta, seed)? {
            if empty || (name.starts_with("classifier.") && !tensors.contains_key(&name)) {
                fresh_head |= !empty;
                tensors.insert(name, tensor);
            }
        }
        let params = Params::trainable(tensors);
        let model = RewardModel::load(&params, &config.to_string())?;
        let tokenizer_files = pretrained::tokenizer_files(folder)?;
        Ok(Self { model, vars: params.vars(), config, tokenizer, tokenizer_files, fresh_head })
    }

    /// Number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.model.parameter_count()
    }
}

/// `config.json`, completed with roberta-base's values, and with our labels if it has none and they were not `named`.
fn completed(config: Value, tokenizer: &Tokenizer, dropout: Option<f64>, named: bool) -> Result<Value> {
    let Value::Object(mut config) = config else {
        return Err(Error::input("the config.json is not a JSON object", "give the sizes of a RoBERTa as JSON"));
    };
    let defaults = [
        ("architectures", json!(["RobertaForSequenceClassification"])),
        ("model_type", json!("roberta")),
        ("vocab_size", json!(tokenizer.vocab_size())),
        ("type_vocab_size", json!(1)),
        ("layer_norm_eps", json!(1e-5)),
        ("hidden_act", json!("gelu")),
        ("bos_token_id", json!(0)),
        ("pad_token_id", json!(tokenizer.pad_id())),
        ("eos_token_id", json!(tokenizer.eos_id())),
        ("id2label", json!({"0": "nothate", "1": "hate"})),
        ("label2id", json!({"nothate": 0, "hate": 1})),
    ];
    if config.get("architectures") != Some(&defaults[0].1) && !named {
        // not a classifier yet: remove the labels of another task
        config.retain(|key, _| !["architectures", "id2label", "label2id"].contains(&key.as_str()));
    }
    // Without labels in its config, a classifier has LABEL_0 and LABEL_1, which --reward-labels has named.
    let defaults = defaults.into_iter().filter(|(key, _)| !(named && key.contains("2")));
    for (key, value) in defaults {
        config.entry(key).or_insert(value);
    }
    if let Some(p) = dropout {
        config.insert("hidden_dropout_prob".into(), json!(p));
        config.insert("attention_probs_dropout_prob".into(), json!(p));
        config.remove("classifier_dropout");
    }
    Ok(Value::Object(config))
}
