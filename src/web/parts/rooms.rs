//! The twelve rooms of one PPO step as the page names them, and each room's one number. Drawing them is the machine's.

use super::format::{count, fixed, number, percent, signed};
use super::meaning::Meaning;
use crate::protocol::{Room, Step};

/// A room as it stands in the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomInfo {
    /// House.md's number, 1 to 12.
    pub number: u8,
    pub name: &'static str,
    /// What comes out, in a few words.
    pub gives: &'static str,
    /// What happens, in a sentence.
    pub does: &'static str,
    /// The section that explains it.
    pub chapter: &'static str,
    pub meaning: Meaning,
}

/// The rooms in order.
pub const ROOMS: [RoomInfo; 12] = [
    room(1, "dialogue", "who said what", "A batch of dialogues is taken from the data", "2.1", Meaning::Plain),
    room(
        2,
        "prompt",
        "the request",
        "Each dialogue is put between the words that ask for a summary",
        "2.1",
        Meaning::Plain,
    ),
    room(3, "tokens", "ids", "The tokenizer cuts each prompt into numbered pieces", "2.1", Meaning::Plain),
    room(4, "generate", "responses", "The policy writes a summary, token by token, by lot", "2.1", Meaning::Policy),
    room(
        5,
        "reward",
        "one score each",
        "The reward model reads each summary and gives it one score",
        "2.2",
        Meaning::Reward,
    ),
    room(
        6,
        "logprobs, value",
        "three numbers a token",
        "Policy, reference and value head look at every token once more",
        "3.2",
        Meaning::Reference,
    ),
    room(
        7,
        "rewards",
        "one a token",
        "Moving away from the reference costs at every token; the score comes at the last",
        "3.2",
        Meaning::Reward,
    ),
    room(
        8,
        "advantages",
        "better than expected?",
        "What followed each token is held against what the value head expected",
        "3.2",
        Meaning::Value,
    ),
    room(
        9,
        "loss",
        "which way to move",
        "Tokens that did better are to become likelier, within the clip",
        "3.2",
        Meaning::Policy,
    ),
    room(10, "optimizer", "new weights", "Adam moves the adapter and the value head", "3.2", Meaning::Policy),
    room(
        11,
        "statistics",
        "how it went",
        "All numbers of the step are averaged; the KL coefficient follows",
        "3.2",
        Meaning::Plain,
    ),
    room(12, "chart", "one point more", "The step becomes a point on each chart", "3.2", Meaning::Plain),
];

const fn room(
    number: u8,
    name: &'static str,
    gives: &'static str,
    does: &'static str,
    chapter: &'static str,
    meaning: Meaning,
) -> RoomInfo {
    RoomInfo { number, name, gives, does, chapter, meaning }
}

/// One number a room, in the order of [`ROOMS`]; none where a room has not been reached.
pub type Headlines = [Option<String>; 12];

/// All rooms' numbers of a whole step.
pub fn headlines(step: &Step) -> Headlines {
    let rows = step.queries.len();
    let tokens: usize = step.queries.iter().map(|query| query.tokens).sum();
    let s = &step.statistics;
    let line = |x: f64, word: &str, text: fn(f64) -> String| x.is_finite().then(|| format!("{word} {}", text(x)));
    [
        Some(rows_of_batch(rows)),
        Some(rows_of_batch(rows)),
        Some(format!("{} tokens", count(tokens as u64))),
        Some(written(step.responses.iter().map(|response| response.pieces.len()))),
        mean(&step.rewards).map(|x| format!("score {}", signed(x, 2))),
        line(s.kl, "KL", |x| fixed(x, 3)),
        line(s.kl_coef, "β", |x| number(x, 3)),
        line(s.returns_mean, "return", |x| signed(x, 2)),
        line(s.total_loss, "loss", |x| signed(x, 3)),
        line(s.learning_rate, "rate", |x| number(x, 2)),
        line(s.clip_fraction, "clipped", |x| percent(x, 1)),
        Some(format!("step {}", step.step)),
    ]
}

/// The number of a room just reached.
pub fn headline(room: &Room) -> String {
    match room {
        Room::Queries { rows } => {
            format!("{} tokens", count(rows.iter().map(|query| query.tokens as u64).sum()))
        }
        Room::Responses { rows } => written(rows.iter().map(|response| response.pieces.len())),
        Room::Scores { rows, .. } => {
            let scores: Vec<f32> = rows.iter().map(|scored| scored.score).collect();
            mean(&scores).map_or_else(String::new, |x| format!("score {}", signed(x, 2)))
        }
        Room::Forward { mask, old_logprobs, ref_logprobs, .. } => {
            let apart = old_logprobs.data.iter().zip(&ref_logprobs.data).zip(&mask.data);
            let sum: f64 = apart.filter(|(_, m)| **m > 0.0).map(|((a, b), _)| f64::from(a - b)).sum();
            format!("KL {}", fixed(sum / mask.rows.max(1) as f64, 3))
        }
        Room::Rewards { kl_coef, .. } => format!("β {}", number(*kl_coef, 3)),
        Room::Advantages { returns, .. } => {
            format!("{} tokens", count(returns.data.iter().filter(|x| **x != 0.0).count() as u64))
        }
        Room::MiniBatch { stats, .. } => format!("loss {}", signed(stats.total_loss, 3)),
        Room::Optimizer { grad_norm, .. } => format!("norm {}", number(*grad_norm, 3)),
        Room::Statistics(statistics) => format!("clipped {}", percent(statistics.clip_fraction, 1)),
    }
}

/// A batch in words.
pub fn rows_of_batch(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn written(lengths: impl Iterator<Item = usize>) -> String {
    format!("{} tokens", count(lengths.sum::<usize>() as u64))
}

fn mean(values: &[f32]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_numbered_as_in_the_house() {
        for (i, room) in ROOMS.iter().enumerate() {
            assert_eq!(usize::from(room.number), i + 1);
            assert!(!room.does.ends_with('.') && room.does.len() < 90, "{}", room.does);
        }
        let stats = Room::Statistics(Default::default());
        assert_eq!(ROOMS[usize::from(stats.number()) - 1].name, "statistics");
    }

    #[test]
    fn headlines_of_a_room() {
        assert_eq!(headline(&Room::Optimizer { updates: 1, grad_norm: 0.123_456, learning_rate: 1e-3 }), "norm 0.123");
        assert_eq!(headline(&Room::Statistics(Default::default())), "clipped 0.0 %");
    }
}
