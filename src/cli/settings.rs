//! Reads PPO settings from a preset and a file.

use super::inputs;
use super::sources::TINY;
use super::terminal::say;
use crate::error::Result;
use crate::lab::shipped;
use crate::settings::{PpoConfig, Preset};
use std::path::Path;

/// The preset's settings, then those of the tiny policy if it is trained, then those of the file.
pub fn settings(preset: Preset, policy: &str, config: Option<&Path>) -> Result<PpoConfig> {
    let base = if policy == TINY { shipped::ppo(preset)? } else { PpoConfig::preset(preset) };
    let Some(path) = config else { return Ok(base) };
    let inputs::Once(json) = inputs::json(path, "one JSON object of settings, such as {\"batch_size\": 8}")?;
    for notice in PpoConfig::notices(&json) {
        say(&format!("note: {}: {notice}", path.display()));
    }
    PpoConfig::from_json(base, &json).map_err(|e| e.in_file(&path.display().to_string()))
}
