//! The recorded run, which the page shows before models are loaded (`recorded/page.json`), and the shipped dialogues.
//! `content` chooses between recorded and live.

use crate::protocol::{Adapter, Dialogue, Evaluated, Loaded, Piece, RunInfo, Scored, Step, Token, Word};
use serde::{Deserialize, Serialize};

/// The lab's two sentences, a mild and a harsh one, in the lab's spelling.
pub const SENTENCES: [&str; 2] = [
    "#Person 1# tells Tommy that he didn't like the movie.",
    "#Person 1# tells Tommy that the movie was terrible, dumb and stupid.",
];

/// `static/recorded/page.json`; `examples/record_page.rs` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The whole run, with every line of metrics.
    pub run: RunInfo,
    /// Some of its steps, first and last among them, in order.
    pub steps: Vec<Step>,
    /// Its `dialogues` may be empty: they come from `dialogues.jsonl`.
    pub loaded: Loaded,
    /// Initial against trained policy.
    pub evaluated: Evaluated,
    /// Chapter 2.1: summaries of one dialogue, at least one with each adapter.
    pub written: Vec<Written>,
    /// Chapter 2.2: [`SENTENCES`].
    pub judged: Vec<Judged>,
}

/// A summary as it was generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    pub dialogue: String,
    pub adapter: Adapter,
    pub seed: u64,
    pub temperature: f32,
    /// The prompt as the policy reads it.
    pub prompt: Vec<Piece>,
    pub tokens: Vec<Token>,
    pub text: String,
}

/// A text with its score, and each word's contribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub text: String,
    pub scored: Scored,
    pub words: Vec<Word>,
}

/// From `page.json`.
pub fn recorded(json: &str) -> Result<Recorded, String> {
    super::json::read(json).map_err(|error| format!("recorded/page.json: {error}"))
}

super::reading::structs! {
    Recorded { run, steps, loaded, evaluated, written, judged }
    Written { dialogue, adapter, seed, temperature, prompt, tokens, text }
    Judged { text, scored, words }
}

/// From `dialogues.jsonl`, without lines that cannot be read.
pub fn dialogues(jsonl: &str) -> Vec<Dialogue> {
    let dialogue = |line: &str| {
        let line = super::json::parse(line).ok()?;
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let held_out = text("split")? == "test";
        Some(Dialogue { id: text("id")?, dialogue: text("dialogue")?, summary: text("summary")?, held_out })
    };
    jsonl.lines().filter_map(dialogue).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;

    fn shipped(path: &str) -> Option<String> {
        std::fs::read_to_string(format!("{}/static/{path}", env!("CARGO_MANIFEST_DIR"))).ok()
    }

    #[test]
    fn the_shipped_dialogues_are_read() {
        let jsonl = shipped("dialogues.jsonl").unwrap();
        let dialogues = dialogues(&jsonl);
        assert_eq!(dialogues.len(), jsonl.lines().count());
        assert!(dialogues.iter().any(|d| d.held_out) && dialogues.iter().any(|d| !d.held_out));
        assert!(dialogues.iter().all(|d| !d.dialogue.is_empty() && !d.summary.is_empty()));
    }

    #[test]
    fn the_shipped_recording_fills_every_chapter() {
        let recorded = recorded(&shipped("recorded/page.json").unwrap()).unwrap();
        assert_eq!(recorded.run.metrics.len() as u64, recorded.run.step);
        assert!(recorded.steps.len() >= 2 && recorded.steps.iter().all(|s| !s.responses.is_empty()));
        assert!(!recorded.evaluated.rows.is_empty());
        for adapter in [Adapter::Initial, Adapter::Off, Adapter::Policy] {
            assert!(recorded.written.iter().any(|w| w.adapter == adapter && !w.tokens.is_empty()), "{adapter:?}");
        }
        assert_eq!(recorded.judged.iter().map(|j| j.text.as_str()).collect::<Vec<_>>(), SENTENCES);
        assert!(recorded.judged.iter().all(|j| !j.words.is_empty()));
    }
}
