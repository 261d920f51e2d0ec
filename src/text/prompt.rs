//! Stage 2, the prompt: the lab's instruction around a dialogue, and the query made from it.

use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

/// The lab's prompt: `"\nSummarize the following conversation.\n\n{dialogue}\n\nSummary:\n"` (docs/ppo.md 2.1).
pub fn prompt(dialogue: &str) -> String {
    format!("\nSummarize the following conversation.\n\n{dialogue}\n\nSummary:\n")
}

/// A prompt as the policy's tokens, and the text that the lab calls `query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The prompt's ids (Q), ending in `</s>`.
    pub ids: Vec<u32>,
    /// `decode(ids)` with special tokens: it has no line breaks and ends in `Summary: </s>`. The published lab scores `text +
    /// response`, and tokenizes this text again in evaluation, so that the ids end in `</s> </s>`.
    pub text: String,
}

impl Query {
    /// The query of a dialogue, as in the lab's dataset builder (docs/ppo.md 2.1).
    pub fn new(tokenizer: &Tokenizer, dialogue: &str) -> Result<Self> {
        let ids = tokenizer.encode(&prompt(dialogue))?;
        let text = tokenizer.decode(&ids, false)?;
        Ok(Self { ids, text })
    }
}
