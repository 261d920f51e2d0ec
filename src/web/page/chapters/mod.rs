//! One file per chapter of the lab, each a component without props: text in our own words, the formula, and a thing to do.
//! What a chapter shows comes from `shown`, what it asks goes through `engine`, how a thing is drawn is a part's.

mod common;
mod numbers;
mod policy;
mod policy_dialogues;
mod policy_lora;
mod policy_write;
mod ppo;
mod ppo_stages;
mod reward;
mod set_up;
mod take;
mod texts;
mod toxicity;
mod trainer;

pub use numbers::Numbers;
pub use policy::Policy;
pub use ppo::Ppo;
pub use reward::Reward;
pub use set_up::SetUp;
pub use take::Take;
pub use texts::Texts;
pub use toxicity::Toxicity;
pub use trainer::Trainer;
