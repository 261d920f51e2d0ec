//! The lab's real models in the page: where they come from, what they will need, and what this browser keeps of them.

use serde::{Deserialize, Serialize};

/// The number type in which a model's matrices are kept and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    #[default]
    Q8_0,
    F16,
    F32,
}

impl NumberType {
    pub const ALL: [Self; 3] = [Self::Q8_0, Self::F16, Self::F32];

    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Policy,
    Reward,
}

impl Role {
    /// 0 for the policy, 1 for the reward model.
    pub fn index(self) -> usize {
        usize::from(self == Self::Reward)
    }
}

/// A model that comes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incoming {
    pub role: Role,
    /// Its name in lists and in a run's `config.json`. Of a model that is downloaded it is empty: the source names it.
    pub name: String,
    /// What distinguishes the files that come beside the message. Without files: a hub id or an address, to download from.
    pub source: String,
    /// Of a reward model: its labels, the harmless one first, as `--reward-labels` has them; none: nothate and hate.
    #[serde(default)]
    pub labels: Option<String>,
}

impl Incoming {
    /// The name of its folder in the browser's storage: FNV-1a of what distinguishes it.
    pub fn key(&self, weights: NumberType) -> String {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let role = if self.role == Role::Policy { "Policy" } else { "Reward" };
        let labels = self.labels.as_deref().unwrap_or_default();
        let parts = [&self.source, "\n", &self.name, "\n", role, "\n", weights.name(), "\n", labels];
        let hash = parts.iter().flat_map(|part| part.bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
        format!("{hash:016x}")
    }
}

/// A model that this browser keeps as one GGUF file, with its tokenizer and configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptModel {
    /// The name of its folder in the browser's storage.
    pub key: String,
    pub role: Role,
    pub name: String,
    pub source: String,
    /// Of the hub: the commit.
    pub revision: Option<String>,
    pub weights: NumberType,
    pub parameters: u64,
    /// Of the GGUF file; of a partial download, of all its files.
    pub bytes: u64,
    /// Only of a partial download: the bytes that are here.
    pub downloaded: Option<u64>,
    /// When it was last loaded, in seconds since 1970.
    pub used: f64,
    /// As [`Incoming::labels`].
    #[serde(default)]
    pub labels: Option<String>,
    /// What its number type costs in accuracy, in words; empty if it was not measured.
    #[serde(default)]
    pub accuracy: String,
}

/// What a pair of models will need, from the headers of their files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// Bytes to download, of the policy and of the reward model; 0 if its files are on this machine.
    pub download: [u64; 2],
    /// Their parameters, and the batch and lengths of a step, in a sentence.
    pub words: String,
    /// For each number type.
    pub types: Vec<TypeNeeds>,
    /// The reward model's two labels, if their names do not say which one is the harmless one.
    pub labels: Vec<String>,
}

/// What a pair of models will need in one number type, in bytes. As JSON an array, which takes less code to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "(NumberType, [u64; 2], u64, u64, bool)", into = "(NumberType, [u64; 2], u64, u64, bool)")]
pub struct TypeNeeds {
    pub weights: NumberType,
    /// In the browser's storage, of the policy and of the reward model.
    pub storage: [u64; 2],
    /// In memory, while the models are loaded.
    pub loading: u64,
    /// In memory, in a PPO step.
    pub training: u64,
    /// Whether a tab can have so much memory.
    pub fits: bool,
}

impl From<(NumberType, [u64; 2], u64, u64, bool)> for TypeNeeds {
    fn from((weights, storage, loading, training, fits): (NumberType, [u64; 2], u64, u64, bool)) -> Self {
        Self { weights, storage, loading, training, fits }
    }
}

impl From<TypeNeeds> for (NumberType, [u64; 2], u64, u64, bool) {
    fn from(TypeNeeds { weights, storage, loading, training, fits }: TypeNeeds) -> Self {
        (weights, storage, loading, training, fits)
    }
}

/// The real models that are loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RealModels {
    /// Keys of the policy and of the reward model.
    pub keys: [String; 2],
    /// Their names.
    pub names: [String; 2],
    pub weights: NumberType,
    /// As [`KeptModel::accuracy`], of both.
    pub accuracy: String,
}
