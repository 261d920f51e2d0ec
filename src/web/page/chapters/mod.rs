//! The chapters of the lab, each a component without props: text, formulas, and something to do. A chapter displays
//! `content`, sends requests through `engine`, and draws with `parts`.

mod common;
mod experiments;
mod hacking;
mod numbers;
mod own_dialogues;
mod policy;
mod policy_dialogues;
mod policy_lora;
mod policy_write;
mod ppo;
mod ppo_pictures;
mod ppo_stages;
mod real_models;
mod real_models_bring;
mod real_models_kept;
mod reward;
mod set_up;
mod take;
mod texts;
mod toxicity;
mod trainer;

pub use common::Source;
pub use experiments::Experiments;
pub use hacking::Hacking;
pub use numbers::Numbers;
pub use policy::Policy;
pub use ppo::Ppo;
pub use real_models::ID as REAL_MODELS;
pub use reward::Reward;
pub use set_up::SetUp;
pub use take::Take;
pub use texts::Texts;
pub use toxicity::Toxicity;
pub use trainer::Trainer;
