//! The recorded runs with and without the KL penalty (`recorded/leash.json`, by scripts/record.py). `leash` plays them, the
//! chapter on reward hacking compares with them.

use super::draft::Draft;
use super::json;
use crate::settings::Preset;
use serde_json::Value;

/// `static/recorded/leash.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Leash {
    pub dialogue: String,
    /// Dialogues over which `rouge1` is measured.
    pub measured: f64,
    /// Insulting words in the texts, in lower case.
    pub insults: Vec<String>,
    /// With the KL penalty, and without it.
    pub lanes: Vec<Lane>,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Its settings.
    pub draft: Draft,
    /// The dialogue's summary after a number of steps: step, text, score.
    pub texts: Vec<(f64, String, f64)>,
    /// Mean score and KL of every step's batch.
    pub score: Vec<f64>,
    pub kl: Vec<f64>,
    /// Before and after, as the next.
    pub rouge1: [f64; 2],
    pub distinct1: [f64; 2],
    /// Tokens per response in the first and the last step.
    pub length: [f64; 2],
}

/// An experiment of `recorded/experiments.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// In the address.
    pub id: String,
    pub title: String,
    pub question: String,
    pub answer: String,
    /// The last summary of the dialogue of `leash.json`.
    pub text: String,
    pub lane: Lane,
    /// The run that it is compared with, if this is not the one with the page's own settings.
    pub beside: Option<(String, Lane)>,
}

// What is recorded is not read by serde: its code for these types would be larger.

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn all<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|all| all.iter().map(read).collect()).unwrap_or_default()
}

fn lane(value: &Value) -> Lane {
    let pair = |key: &str| [0, 1].map(|i| number(&value[key][i]));
    Lane {
        draft: Draft {
            preset: if value["preset"] == "published" { Preset::Published } else { Preset::Corrected },
            changes: value["changes"].as_object().cloned().unwrap_or_default(),
            seed: 0,
        },
        texts: all(&value["texts"], |one| (number(&one["step"]), text(&one["text"]), number(&one["score"]))),
        score: all(&value["score"], number),
        kl: all(&value["kl"], number),
        rouge1: pair("rouge1"),
        distinct1: pair("distinct1"),
        length: pair("length"),
    }
}

/// From `experiments.json`; none if it cannot be read.
pub fn experiments(json: &str) -> Vec<Experiment> {
    let experiment = |value: &Value| {
        let of = |key: &str| text(&value[key]);
        Experiment {
            id: of("id"),
            title: of("title"),
            question: of("question"),
            answer: of("answer"),
            text: of("text"),
            lane: lane(value),
            beside: value.get("beside").map(|beside| (text(&beside["name"]), lane(beside))),
        }
    };
    json::parse(json).map(|value| all(&value, experiment)).unwrap_or_default()
}

/// From `leash.json`.
pub fn leash(json: &str) -> Option<Leash> {
    let value = json::parse(json).ok()?;
    let leash = Leash {
        dialogue: text(&value["dialogue"]),
        measured: number(&value["measured"]),
        insults: all(&value["insults"], text),
        lanes: all(&value["lanes"], lane),
    };
    (leash.lanes.len() == 2).then_some(leash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_experiments_are_read() {
        let all = experiments(include_str!("../../../static/recorded/experiments.json"));
        assert!(all.len() > 2);
        for one in all {
            assert!([one.title, one.question, one.answer].iter().all(|text| !text.is_empty()));
            assert!(
                one.lane.draft != Draft::default()
                    && one.lane.score.len() == one.lane.kl.len()
                    && one.lane.score.len() > 1
            );
        }
    }

    #[test]
    fn the_shipped_recording_has_two_lanes_with_the_same_steps() {
        let leash = leash(include_str!("../../../static/recorded/leash.json")).unwrap();
        let steps = |i: usize| leash.lanes[i].texts.iter().map(|text| text.0).collect::<Vec<_>>();
        assert_eq!((leash.lanes.len(), steps(0)), (2, steps(1)));
        let changed = &leash.lanes[1].draft.changes;
        assert!(changed.contains_key("kl_coef") && leash.lanes[0].draft == Draft::default());
    }
}
