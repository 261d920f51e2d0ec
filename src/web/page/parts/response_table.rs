//! One response as a table that reads from left to right: a row for each token, or for each word, with all its numbers.

use super::format;
use super::plot::escaped;
use super::tokens::shown;
use crate::protocol::{Grid, Step};

/// The heads of the columns.
pub const HEADS: [&str; 9] = ["token", "logprob", "reference", "KL", "reward", "value", "advantage", "return", "ratio"];

/// The columns of each row of the table, from `words`: one range for each.
fn ranges(pieces: &[String], words: bool) -> Vec<core::ops::Range<usize>> {
    let mut all: Vec<core::ops::Range<usize>> = Vec::new();
    for (k, piece) in pieces.iter().enumerate() {
        match all.last_mut() {
            Some(last) if words && !piece.starts_with(' ') => last.end = k + 1,
            _ => all.push(k..k + 1),
        }
    }
    all
}

/// The rows of a response's table, as HTML text. Of a word: the sums of log-probs, KL and rewards, value and return of its first
/// piece, the mean advantage, and the product of the ratios.
pub fn rows(step: &Step, row: usize, words: bool) -> String {
    let g = &step.grids;
    let Some(response) = step.responses.get(row).filter(|_| row < g.mask.rows) else { return String::new() };
    let pieces: Vec<String> = response.pieces.iter().take(g.mask.cols).map(|piece| piece.text.clone()).collect();
    let line = |range: core::ops::Range<usize>| {
        let of = |grid: &Grid| grid.row(row)[range.clone()].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let sum = |grid: &Grid| of(grid).iter().sum::<f64>();
        let first = |grid: &Grid| of(grid)[0];
        let numbers = [
            sum(&g.old_logprobs),
            sum(&g.ref_logprobs),
            sum(&g.kl),
            sum(&g.rewards),
            first(&g.old_values),
            sum(&g.advantages) / range.len() as f64,
            first(&g.returns),
            of(&g.ratio).iter().product(),
        ];
        let cells: String =
            numbers.iter().map(|x| format!("<td class=\"num\">{}</td>", format::fixed(*x, 3))).collect();
        let text = if words { pieces[range].concat().trim().to_owned() } else { shown(&pieces[range.start]) };
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escaped(&text))
    };
    ranges(&pieces, words).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Grids, Piece, Response};

    #[test]
    fn pieces_become_words_and_their_numbers_are_summed() {
        let pieces = ["Mr", ".", " Hen", "derson"].map(|text| Piece { id: 1, text: text.into() }).to_vec();
        let grid = |data: [f32; 4]| Grid { rows: 1, cols: 4, data: data.to_vec() };
        let ones = || grid([1.0; 4]);
        let grids = Grids {
            mask: ones(),
            old_logprobs: grid([-1.0, -0.5, -2.0, -0.25]),
            ref_logprobs: ones(),
            old_values: grid([0.1, 0.2, 0.3, 0.4]),
            kl: ones(),
            non_score: ones(),
            rewards: ones(),
            advantages: grid([1.0, 3.0, 0.0, 1.0]),
            advantages_whitened: ones(),
            returns: ones(),
            ratio: grid([2.0, 0.5, 1.0, 1.5]),
        };
        let step = Step { responses: vec![Response { text: String::new(), pieces }], grids, ..Step::default() };
        assert_eq!(rows(&step, 0, false).matches("<tr>").count(), 4);
        let words = rows(&step, 0, true);
        assert_eq!(words.matches("<tr>").count(), 2);
        assert!(words.contains("Mr.") && words.contains("Henderson"), "{words}");
        assert!(
            words.contains("−1.500") && words.contains("0.100") && words.contains(">2.000<") && words.contains("1.500")
        );
        assert!(rows(&step, 1, true).is_empty());
    }
}
