//! Reads PPO settings from a preset and a file.

use super::args::PresetArg;
use super::inputs;
use super::sources::TINY;
use super::terminal::say;
use crate::error::{Error, Result};
use crate::lab::shipped;
use crate::settings::{PpoConfig, Preset};
use std::path::Path;

/// The preset's settings, then those of the tiny policy if it is trained, then those of the file.
pub fn settings(preset: PresetArg, policy: &str, config: Option<&Path>) -> Result<PpoConfig> {
    let preset = match preset {
        PresetArg::Published => Preset::Published,
        PresetArg::Corrected => Preset::Corrected,
    };
    let base = if policy == TINY { shipped::ppo(preset)? } else { PpoConfig::preset(preset) };
    let Some(path) = config else { return Ok(base) };
    let inputs::Once(json) = inputs::json(path, "one JSON object of settings, such as {\"batch_size\": 8}")?;
    for notice in PpoConfig::notices(&json) {
        say(&format!("note: {}: {notice}", path.display()));
    }
    PpoConfig::from_json(base, &json).map_err(|e| match e {
        Error::Input { what, hint } => Error::file(path.display(), what, hint),
        other => other,
    })
}
