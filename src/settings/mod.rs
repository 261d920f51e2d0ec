//! All settings of PPO and of its rollout, as plain data. They are described only in `table`: the struct [`PpoConfig`], both
//! presets, validation, `--config`, help texts, the page's form and `docs/settings.md` come from it. To add a setting, add an
//! entry there and use the new field.

mod choices;
mod define;
mod foreign;
mod json;
pub mod markdown;
mod presets;
mod table;
mod validate;
pub mod values;

pub use choices::{KlEstimator, KlReference, Preset, RewardRead, Schedule, ScoredText, WhitenOver};
pub use define::{Choice, Kind, Part, Range, Setting};
pub use json::from_map;
pub use presets::Difference;
pub use table::{GROUPS, PpoConfig, SETTINGS, does, find};
