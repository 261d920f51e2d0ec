//! The adapter that training starts from: one from a PEFT folder, or a new one.

use crate::error::Result;
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::lab::models::{Actor, POLICY};

/// Where an adapter's initial weights come from.
pub enum AdapterStart {
    /// A saved adapter.
    Saved(Box<PeftAdapter>),
    /// A new adapter for this configuration.
    Fresh(Box<AdapterConfig>),
}

impl AdapterStart {
    /// The adapter's configuration.
    pub fn config(&self) -> &AdapterConfig {
        match self {
            Self::Saved(adapter) => &adapter.config,
            Self::Fresh(config) => config,
        }
    }

    /// Adds the adapter (a new one is seeded) to the policy to be trained. Returns its configuration and warnings.
    ///
    /// # Errors
    /// An adapter for another base model.
    pub fn put_over(self, actor: &mut Actor, seed: u64) -> Result<(AdapterConfig, Vec<String>)> {
        let adapter = match self {
            Self::Saved(adapter) => *adapter,
            Self::Fresh(config) => actor.fresh_adapter(*config, seed)?,
        };
        let warnings = actor.add_adapter(POLICY, &adapter, true)?;
        Ok((adapter.config, warnings))
    }
}
