//! What ships with detox-lab under the name `tiny`: a policy, its adapter, a reward model, dialogues and settings. The
//! command line takes the bytes from here; the browser's worker takes the names and fetches them, so that its program
//! holds none of them.

use crate::error::{Error, Result};
use crate::settings::{PpoConfig, Preset};

/// What stands for a shipped thing wherever one is asked for.
pub const TINY: &str = "tiny";
/// PPO steps of a run on the shipped models that is not told how many.
pub const STEPS: u64 = 80;

/// A file: its name in its folder, and its bytes.
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
/// Our own dialogues, heated ones first.
pub const DIALOGUES: &[u8] = include_bytes!("../../static/dialogues.jsonl");
/// The PPO settings for the shipped models, over a preset.
const PPO: &[u8] = include_bytes!("../../static/models/tiny/ppo.json");

/// Names of `files` alone; evaluated when compiling, it leaves their bytes out of the program.
pub const fn names<const N: usize>(files: &[File]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = files[i].0;
        i += 1;
    }
    names
}

/// Bytes of `files` together; see [`names`].
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
