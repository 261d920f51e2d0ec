//! A reward model before it is loaded: its configuration, the headers of its tensors; and loading it.

use super::tables::Tables;
use super::tokenizer::{NoTokenizer, tokenizer};
use crate::encoding;
use crate::error::Result;
use crate::io::ByteSource;
use crate::io::checkpoint::weights::{Checkpoint, Described};
use crate::lab::models::{Judge, Precision};
use crate::model::reward::{Labels, RewardModel, nothate_column};
use crate::model::roberta::RobertaConfig;
use crate::nn::params::Params;
use crate::text::tokenizer::Tokenizer;

const CONFIG: &str = "config.json";
/// The table of a reward model that is used only for look-ups.
const EMBEDDINGS: [&str; 1] = ["roberta.embeddings.word_embeddings.weight"];

/// A reward model's folder, after reading its headers.
pub struct RewardSource<'a> {
    pub config: RobertaConfig,
    /// `config.json`, in the form that the model reads.
    json: String,
    checkpoint: Checkpoint<'a>,
    tables: Tables,
}

impl<'a> RewardSource<'a> {
    /// Reads the headers of the classifier in a folder.
    ///
    /// # Errors
    /// A `config.json` that is not a RoBERTa's; weights that cannot be read.
    pub fn open(source: Box<dyn ByteSource + 'a>) -> Result<Self> {
        let json = encoding::text(&source.path(CONFIG), &source.read(CONFIG)?)?.into_owned();
        let config = RobertaConfig::from_json(&json).map_err(|e| e.in_file(&source.name()))?;
        let checkpoint = Checkpoint::open(source)?;
        let tables = Tables::open(&checkpoint, &EMBEDDINGS)?;
        Ok(Self { config, json, checkpoint, tables })
    }

    /// The weights' headers.
    pub fn checkpoint(&self) -> &Checkpoint<'a> {
        &self.checkpoint
    }

    /// `config.json`, as the model reads it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The headers of the tensors that are in memory while the weights are frozen.
    pub fn tensors_in_memory(&self) -> Vec<Described> {
        self.tables.beside(&self.checkpoint, &|_| true)
    }

    /// Checks what loading needs besides the weights: the labels and the tokenizer, which is returned.
    ///
    /// # Errors
    /// Labels that the checkpoint does not have; no tokenizer, or one that cannot be used.
    pub fn check(&self, labels: Option<&Labels>) -> Result<Tokenizer> {
        let source = self.checkpoint.source();
        nothate_column(&self.config, labels).map_err(|e| e.in_file(&source.name()))?;
        tokenizer(source)?.ok_or_else(|| NoTokenizer::of(source, "roberta-base").error())
    }

    /// The classifier's two labels, if their names do not say which one is the harmless one.
    pub fn unclear_labels(&self) -> Option<[&str; 2]> {
        let mut labels = self.config.id2label.values().map(String::as_str);
        let two = [labels.next()?, labels.next()?];
        (labels.next().is_none() && nothate_column(&self.config, None).is_err()).then_some(two)
    }

    /// The classifier, with matrices in `precision`. `labels`: its label names if they are not nothate and hate.
    ///
    /// # Errors
    /// Names file and tensor; a weight that the number type cannot represent; labels that the checkpoint does not have.
    pub fn load(self, precision: Precision, labels: Option<&Labels>) -> Result<Judge> {
        let source = self.checkpoint.source();
        let params = Params::held(self.tables.weights(&self.checkpoint, precision, &|_| true)?);
        let model =
            RewardModel::load_with_labels(&params, &self.json, labels).map_err(|e| e.in_file(&source.name()))?;
        Ok(Judge { model, tokenizer: tokenizer(source)?, no_tokenizer: NoTokenizer::of(source, "roberta-base") })
    }
}

impl Judge {
    /// The classifier in a folder, in f32; see [`RewardSource::load`].
    pub fn load(source: &dyn ByteSource) -> Result<Self> {
        Self::load_as(source, Precision::F32)
    }

    /// The classifier in a folder; see [`RewardSource::load`].
    pub fn load_as(source: &dyn ByteSource, precision: Precision) -> Result<Self> {
        RewardSource::open(Box::new(source))?.load(precision, None)
    }
}
