//! The settings that have one of several named values, and the two presets.

use super::define::{Choice, Kind, Type, choices};
use serde::{Deserialize, Serialize};

/// The lab as published, or corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The notebook with TRL 25fa1bd, with its faults.
    Published,
    /// Without those faults.
    Corrected,
}

choices! {
    /// Learning-rate schedules, as transformers' `get_scheduler` names and computes them.
    Schedule {
        /// The same rate at every step
        Constant = "constant";
        /// Rises from 0 over warmup_steps, then stays
        ConstantWithWarmup = "constant_with_warmup";
        /// Rises over warmup_steps, then falls in a straight line to 0 at total_steps
        Linear = "linear";
        /// Rises over warmup_steps, then falls along half a cosine to 0 at total_steps
        Cosine = "cosine";
    }

    /// A per-token estimate of KL(policy ‖ reference) from d = logprob - ref_logprob of the sampled token.
    /// Source: Schulman, "Approximating KL Divergence" (k1, k2, k3); TRL 0.11.4 ppo_trainer.py `_kl_penalty` (kl, abs, mse).
    KlEstimator {
        /// d: unbiased, may be negative. TRL's "kl"
        K1 = "k1" | "kl";
        /// d² / 2: never negative, biased. TRL's "mse"
        K2 = "k2" | "mse";
        /// exp(-d) - 1 + d: never negative and unbiased
        K3 = "k3";
        /// |d|. TRL's "abs"
        Abs = "abs";
    }

    /// Which of the reward model's numbers is the score.
    RewardRead {
        /// The logit of the label "nothate"
        NothateLogit = "nothate_logit";
        /// The larger logit, whichever label it has
        MaxLogit = "max_logit";
    }

    /// What the KL is measured against.
    KlReference {
        /// The policy's adapter as it was at step 0
        Initial = "initial";
        /// The base model with the adapter off
        Base = "base";
    }

    /// The set of tokens over which advantages are whitened.
    WhitenOver {
        /// All tokens of the step
        Batch = "batch";
        /// The tokens of one mini-batch
        MiniBatch = "mini_batch";
        /// Not whitened: advantages are used as they are (TRL has no such setting)
        Nothing = "none";
    }

    /// The text that is scored.
    ScoredText {
        /// The response, special tokens removed
        Response = "response";
        /// Query and response, special tokens spelled out
        QueryAndResponse = "query_and_response";
    }
}
