//! The files that ship with detox-lab under the name `tiny`: a policy, its adapter, a reward model, dialogues and settings. The
//! command line contains the bytes; the browser's worker uses only the names and downloads the files.

use crate::error::{Error, Result};
use crate::settings::{PpoConfig, Preset};

/// The argument that means a shipped model or data set.
pub const TINY: &str = "tiny";
/// Default number of PPO steps on the shipped models.
pub const STEPS: u64 = 80;

/// A file's name and bytes.
pub type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($folder:literal: $($file:literal),+) => {
        &[$(($file, include_bytes!(concat!("../../static/models/tiny/", $folder, "/", $file)).as_slice())),+]
    };
}

pub const POLICY: &[File] = files!("policy": "config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "generation_config.json");
pub const ADAPTER: &[File] = files!("adapter": "adapter_config.json", "adapter_model.safetensors");
pub const REWARD: &[File] = files!("reward": "config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json");
/// The project's dialogues, heated ones first.
pub const DIALOGUES: &[u8] = include_bytes!("../../static/dialogues.jsonl");
/// The PPO settings for the shipped models, which change a preset.
const PPO: &[u8] = include_bytes!("../../static/models/tiny/ppo.json");

/// Names of `files`; evaluated at compile time, so that the program does not contain their bytes.
pub const fn names<const N: usize>(files: &[File]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = files[i].0;
        i += 1;
    }
    names
}

/// Total bytes of `files`; see [`names`].
pub const fn bytes(files: &[File]) -> u64 {
    let (mut sum, mut i) = (0, 0);
    while i < files.len() {
        sum += files[i].1.len() as u64;
        i += 1;
    }
    sum
}

/// The settings of a run on the shipped models.
pub fn ppo(preset: Preset) -> Result<PpoConfig> {
    let json = serde_json::from_slice(PPO).map_err(|e| Error::bug(format!("the shipped ppo.json: {e}")))?;
    PpoConfig::from_json(PpoConfig::preset(preset), &json)
}
