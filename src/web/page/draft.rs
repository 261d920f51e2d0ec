//! What the person chose for the next run, and the playing speed. The settings are in `crate::settings`.

use super::parts::settings_edit::{spoken, values};
use crate::error::Error;
use crate::protocol::Loaded;
use crate::settings::{PpoConfig, Preset};
use serde_json::{Map, Value};

/// Whether one step follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Play {
    #[default]
    Paused,
    Playing,
    /// Paused after the running step.
    Pausing,
}

/// How long each stage is shown while playing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speed {
    Slow,
    Medium,
    #[default]
    Full,
}

impl Speed {
    pub const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Slow, "slow", "Slow: 2 s per stage"),
        (Self::Medium, "medium", "Medium: ½ s per stage"),
        (Self::Full, "full", "Full speed"),
    ];

    /// Milliseconds per stage; none: without pauses.
    pub fn pause(self) -> Option<u64> {
        match self {
            Self::Slow => Some(2000),
            Self::Medium => Some(500),
            Self::Full => None,
        }
    }
}

/// The settings of the next run.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub preset: Preset,
    /// Changes to the preset, without the seed.
    pub changes: Map<String, Value>,
    pub seed: u64,
}

impl Default for Draft {
    fn default() -> Self {
        Self { preset: Preset::Corrected, changes: Map::new(), seed: 0 }
    }
}

impl Draft {
    /// For [`Ask::Start`]: the changes with the seed.
    pub fn config(&self) -> Map<String, Value> {
        let mut config = self.changes.clone();
        config.insert("seed".into(), self.seed.into());
        config
    }

    /// All settings, from the shipped models' preset; none if the changes are not valid together.
    pub fn over(&self, loaded: &Loaded) -> Option<PpoConfig> {
        let base = if self.preset == Preset::Published { &loaded.published } else { &loaded.corrected };
        PpoConfig::from_json((**base).clone(), &Value::Object(self.config())).ok()
    }

    /// What is wrong with the changes, from the shipped models' preset.
    pub fn fault(&self, loaded: &Loaded) -> Option<Error> {
        let base = if self.preset == Preset::Published { &loaded.published } else { &loaded.corrected };
        PpoConfig::from_json((**base).clone(), &Value::Object(self.config())).err()
    }

    /// What differs from the page's own choice, in words.
    pub fn words(&self) -> String {
        let preset = (self.preset == Preset::Published).then(|| "preset published".to_owned());
        let seed = (self.seed != 0).then(|| format!("seed {}", self.seed));
        let changes = self.changes.iter().map(|(name, value)| format!("{name} {}", spoken(value)));
        preset.into_iter().chain(seed).chain(changes).collect::<Vec<_>>().join(", ")
    }

    /// The choice that gives a run's settings: the preset with fewer differences, and these differences.
    pub fn like(config: &PpoConfig, loaded: &Loaded) -> Self {
        let all = values(config);
        let over = |preset: Preset, base: &PpoConfig| {
            let base = values(base);
            let changes = all.iter().filter(|(name, value)| *name != "seed" && base.get(*name) != Some(value));
            let changes = changes.map(|(name, value)| (name.clone(), value.clone())).collect();
            Self { preset, changes, seed: config.seed }
        };
        let corrected = over(Preset::Corrected, &loaded.corrected);
        let published = over(Preset::Published, &loaded.published);
        if published.changes.len() < corrected.changes.len() { published } else { corrected }
    }

    /// From the settings form, whose changes may include the seed.
    pub fn of(preset: Preset, mut changes: Map<String, Value>, seed: u64) -> Self {
        let seed = changes.shift_remove("seed").and_then(|s| s.as_u64()).unwrap_or(seed);
        Self { preset, changes, seed }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::web::page::state::tests::loaded;

    #[test]
    fn changes_apply_to_the_shipped_preset() {
        let loaded = loaded();
        let draft = Draft { changes: Map::from_iter([("gamma".to_owned(), 0.9.into())]), seed: 5, ..Draft::default() };
        let config = draft.over(&loaded).unwrap();
        assert_eq!((config.gamma, config.seed, config.kl_coef), (0.9, 5, loaded.corrected.kl_coef));
        assert_eq!(Draft { preset: Preset::Published, ..draft }.over(&loaded).unwrap().min_length, 5);
    }

    #[test]
    fn nonsense_is_no_config() {
        for (name, value) in [("gamma", Value::from(2)), ("gamma", "x".into()), ("mini_batch_size", 7.into())] {
            let draft = Draft { changes: Map::from_iter([(name.to_owned(), value)]), ..Draft::default() };
            assert_eq!(draft.over(&loaded()), None, "{name}");
        }
    }

    #[test]
    fn a_run_gives_back_its_draft() {
        let loaded = loaded();
        for preset in [Preset::Corrected, Preset::Published] {
            let changes = Map::from_iter([("gamma".to_owned(), 0.9.into()), ("score_clip".to_owned(), 2.0.into())]);
            let draft = Draft { preset, changes, seed: 7 };
            let config = draft.over(&loaded).unwrap();
            let back = Draft::like(&config, &loaded);
            assert_eq!(back, draft);
        }
    }

    #[test]
    fn the_seed_is_kept_apart_from_the_changes() {
        let changes = Map::from_iter([("seed".to_owned(), 3.into()), ("gamma".to_owned(), 0.9.into())]);
        let draft = Draft::of(Preset::Corrected, changes, 0);
        assert_eq!((draft.seed, draft.changes.len()), (3, 1));
        assert_eq!(draft.config()["seed"], 3);
    }
}
