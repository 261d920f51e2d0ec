//! The differences between the published and the corrected preset.

use super::choices::Preset;
use super::define::Setting;
use super::table::{PpoConfig, SETTINGS};
use serde::Serialize;

/// One row of the table "the lab as published, and the lab corrected".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The setting's name.
    pub setting: &'static str,
    pub published: serde_json::Value,
    pub corrected: serde_json::Value,
    /// What the published behaviour does to the numbers.
    pub why: &'static str,
}

impl PpoConfig {
    /// The settings in which the presets differ, in the table's order.
    pub fn differences() -> Vec<Difference> {
        let value = |preset| serde_json::to_value(Self::preset(preset)).unwrap_or_default();
        let (published, corrected) = (value(Preset::Published), value(Preset::Corrected));
        let difference = |setting: &Setting| {
            let (name, why) = (setting.name, setting.why?);
            Some(Difference {
                setting: name,
                published: published[name].clone(),
                corrected: corrected[name].clone(),
                why,
            })
        };
        SETTINGS.iter().filter_map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn presets_differ_exactly_in_the_listed_settings() {
        let value = |preset| serde_json::to_value(PpoConfig::preset(preset)).unwrap();
        let (published, corrected) = (value(Preset::Published), value(Preset::Corrected));
        let differing: Vec<&String> = published
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, value)| corrected[key.as_str()] != **value)
            .map(|(key, _)| key)
            .collect();
        let listed = PpoConfig::differences();
        assert_eq!(differing, listed.iter().map(|d| d.setting).collect::<Vec<_>>());
        assert!(listed.iter().all(|d| d.published != d.corrected && !d.why.is_empty()));
        PpoConfig::preset(Preset::Published).validate().unwrap();
        PpoConfig::default().validate().unwrap();
    }
}
