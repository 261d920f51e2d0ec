//! The lab's real models in the page: where they come from, what they will need, and what this browser keeps of them.

use super::RunInfo;
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
    /// The name of its folder in the browser's storage: FNV-1a of what distinguishes it. One model of the hub, named in several ways,
    /// has one key.
    pub fn key(&self, weights: NumberType) -> String {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let role = if self.role == Role::Policy { "Policy" } else { "Reward" };
        let labels = self.labels.as_deref().unwrap_or_default();
        let source = self.source.trim_end_matches('/');
        let source = source.strip_prefix("https://huggingface.co/").unwrap_or(source);
        let source = source.strip_suffix("/tree/main").or(source.strip_suffix("@main")).unwrap_or(source);
        let parts = [source, "\n", &self.name, "\n", role, "\n", weights.name(), "\n", labels];
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

impl KeptModel {
    /// The keys of kept models with a run's names: of its labels and number type, or else of another one.
    pub fn pair(models: &[Self], run: &RunInfo) -> Option<[String; 2]> {
        let named = |model: &Self, role: Role| {
            model.role == role && model.name == run.models[role.index()] && model.downloaded.is_none()
        };
        let mut best = None;
        for policy in models.iter().filter(|model| named(model, Role::Policy)) {
            for reward in models.iter().filter(|model| named(model, Role::Reward) && model.weights == policy.weights) {
                let labels = reward.labels.as_deref().unwrap_or_default() == run.labels;
                let fit = 1 + 2 * u8::from(labels) + u8::from(policy.weights.name() == run.weights);
                if best.is_none_or(|(before, _)| before < fit) {
                    best = Some((fit, [&policy.key, &reward.key]));
                }
            }
        }
        best.map(|(_, keys)| keys.map(Clone::clone))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{PpoConfig, Preset};

    #[test]
    fn a_run_finds_the_kept_models_of_its_number_type_and_labels() {
        use NumberType::{F32, Q8_0};
        let kept = |key: &str, role, weights, labels: Option<&str>| KeptModel {
            key: key.into(),
            role,
            name: "m".into(),
            source: String::new(),
            revision: None,
            weights,
            parameters: 0,
            bytes: 0,
            downloaded: None,
            used: 0.0,
            labels: labels.map(str::to_owned),
            accuracy: String::new(),
        };
        let models = [
            kept("p8", Role::Policy, Q8_0, None),
            kept("p32", Role::Policy, F32, None),
            kept("r8", Role::Reward, Q8_0, Some("a,b")),
            kept("r8 inverted", Role::Reward, Q8_0, Some("b,a")),
            kept("r32", Role::Reward, F32, Some("a,b")),
        ];
        let found = |weights: &str, labels: &str| {
            let info = RunInfo {
                step: 1,
                steps: 3,
                config: Box::new(PpoConfig::preset(Preset::Corrected)),
                metrics: Vec::new(),
                command: String::new(),
                models: ["m".into(), "m".into()],
                weights: weights.into(),
                labels: labels.into(),
                saved: 0.0,
            };
            KeptModel::pair(&models, &info).unwrap()
        };
        assert_eq!(found("f32", "a,b"), ["p32", "r32"]);
        assert_eq!(found("q8_0", "a,b"), ["p8", "r8"]);
        assert_eq!(found("q8_0", "b,a"), ["p8", "r8 inverted"]);
        assert_eq!(found("f16", "b,a"), ["p8", "r8 inverted"]);
    }
}
