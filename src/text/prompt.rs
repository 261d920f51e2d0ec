//! Stage 2, the prompt: the lab's instruction around a dialogue, and the query that the published lab makes of it.

use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

/// The lab's prompt: `"\nSummarize the following conversation.\n\n{dialogue}\n\nSummary:\n"` (docs/ppo.md 2.1).
pub fn prompt(dialogue: &str) -> String {
    format!("\nSummarize the following conversation.\n\n{dialogue}\n\nSummary:\n")
}

/// A prompt in the policy's tokens, and the text the lab calls `query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The prompt's ids (Q), ending in `</s>`.
    pub ids: Vec<u32>,
    /// `decode(ids)` with special tokens: line breaks are gone, it ends in `Summary: </s>`. The published lab scores
    /// `text + response`, and tokenizes this text again when it evaluates, so that ids then end in `</s> </s>`.
    pub text: String,
}

impl Query {
    /// The query of a dialogue, as the lab's dataset builder makes it (docs/ppo.md 2.1).
    pub fn new(tokenizer: &Tokenizer, dialogue: &str) -> Result<Self> {
        let ids = tokenizer.encode(&prompt(dialogue))?;
        let text = tokenizer.decode(&ids, false)?;
        Ok(Self { ids, text })
    }
}
