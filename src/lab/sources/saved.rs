//! The policy that a run saved: adapter and value head after a step, and the adapter of step 0. Read before the base model is
//! loaded.

use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::value_head::{SavedHead, VALUE_HEAD_FILE};
use crate::lab::models::{Actor, INITIAL, POLICY};
use crate::settings::PpoConfig;

/// A policy that was saved after a step of its run.
pub struct SavedPolicy {
    pub adapter: PeftAdapter,
    /// The adapter at step 0.
    pub initial: PeftAdapter,
    value_head: SavedHead,
    /// The value head's file, for messages.
    value_head_path: String,
}

impl SavedPolicy {
    /// Reads a checkpoint of a run, and the adapter of the run's checkpoint of step 0.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn read(checkpoint: &dyn ByteSource, first: &dyn ByteSource) -> Result<Self> {
        Ok(Self {
            adapter: PeftAdapter::read(checkpoint)?,
            initial: PeftAdapter::read(first)?,
            value_head: SavedHead::read(checkpoint, VALUE_HEAD_FILE)?,
            value_head_path: checkpoint.path(VALUE_HEAD_FILE),
        })
    }
}

impl Actor {
    /// Restores the saved policy.
    ///
    /// # Errors
    /// An adapter or value head for another base model.
    pub fn restore(&mut self, saved: &SavedPolicy, config: &PpoConfig, trainable: bool) -> Result<()> {
        self.add_adapter(POLICY, &saved.adapter, trainable)?;
        self.add_adapter(INITIAL, &saved.initial, false)?;
        let head = self.set_value_head(&saved.value_head, config.value_head_dropout);
        head.map_err(|e: Error| e.in_file(&saved.value_head_path))
    }

    /// Calls [`SavedPolicy::read`] and [`Actor::restore`]; returns the adapter's configuration.
    ///
    /// # Errors
    /// As these.
    pub fn go_back(
        &mut self,
        checkpoint: &dyn ByteSource,
        first: &dyn ByteSource,
        config: &PpoConfig,
        trainable: bool,
    ) -> Result<AdapterConfig> {
        let saved = SavedPolicy::read(checkpoint, first)?;
        self.restore(&saved, config, trainable)?;
        Ok(saved.adapter.config)
    }
}
