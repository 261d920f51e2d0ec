//! The batch as numbers: [`Grid`] (rows, columns), the mask of the trained columns of a response, and restoring a missing start
//! token. `step` has tensors and the model.

use crate::error::{Error, Result};
pub use crate::protocol::Grid;
use crate::settings::PpoConfig;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The first input of T5's decoder: the pad id (docs/ppo.md section 2.2).
pub const START_TOKEN: u32 = 0;

/// Maximum size of a batch's grid; a single far too long response would need more.
const MAX_GRID: usize = 1 << 26;

impl Grid {
    /// `data` row by row; an error if its length is not rows · cols.
    pub fn from_vec(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self> {
        if data.len() != rows * cols {
            return Err(Error::shape("grid", &[data.len()], &[rows, cols], "give rows x cols numbers, row by row"));
        }
        Ok(Self { rows, cols, data })
    }

    /// The rows `indices` in that order: (B, R) → (M, R).
    pub fn select(&self, indices: &[usize]) -> Self {
        let data = indices.iter().flat_map(|&i| self.row(i).iter().copied()).collect();
        Self { rows: indices.len(), cols: self.cols, data }
    }

    /// Writes row j of `part` (M, R) into row `indices[j]` of self (B, R).
    pub fn scatter(&mut self, indices: &[usize], part: &Self) {
        for (j, &i) in indices.iter().enumerate() {
            self.row_mut(i).copy_from_slice(part.row(j));
        }
    }

    /// Applies `f` to each pair of numbers of two grids with the same shape.
    pub fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Self {
        debug_assert_eq!((self.rows, self.cols), (other.rows, other.cols));
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Self { rows: self.rows, cols: self.cols, data }
    }

    /// One list per row, as TRL logs its arrays.
    pub fn to_rows(&self) -> Vec<Vec<f32>> {
        (0..self.rows).map(|i| self.row(i).to_vec()).collect()
    }
}

/// Numbers of a response that generation has already computed: one per column, n - 1 of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptNumbers {
    /// log p of each sampled token in the raw softmax (before temperature, filters and min_length).
    pub logprobs: Vec<f32>,
    /// The value head's output at the position that predicted the token.
    pub values: Vec<f32>,
}

/// A query, its response and its score: a row's input to TRL's `step`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Encoder ids (Q), end token included.
    pub query_ids: Vec<u32>,
    /// Decoder ids (n): first the start token if it is kept, last the end token if it was reached.
    pub decoder_ids: Vec<u32>,
    /// The reward model's score of the whole response.
    pub score: f32,
    /// If every row of a forward chunk has this, the old policy's pass over the chunk is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<KeptNumbers>,
}

/// A checked batch: B rows, R = longest response - 1 columns.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    pub rows: &'a [Row],
    /// Decoder ids, with a restored start token if the setting says so.
    pub decoder_ids: Vec<Vec<u32>>,
    /// Trained columns of each row, never empty.
    pub columns: Vec<Range<usize>>,
    /// 1 in trained columns, else 0: (B, R).
    pub mask: Grid,
}

impl<'a> Batch<'a> {
    /// Checks the rows and finds the trained columns: 1..=n-2 (TRL: the first token is skipped) or 0..=n-2
    /// (`train_first_token`). Source: docs/ppo.md sections 2.3 and 3.2.
    ///
    /// Errors name the row: an empty query, a score that is not finite, a response too short (TRL 25fa1bd: fewer than 4 ids;
    /// with the first token trained: fewer than 2), kept numbers with another length than the response, a response so long that
    /// the grid would be too large.
    pub fn new(rows: &'a [Row], config: &PpoConfig) -> Result<Self> {
        if rows.len() != config.batch_size {
            return Err(Error::input(
                format!("a step needs exactly batch_size = {} rows, got {}", config.batch_size, rows.len()),
                "give that many rows, or set batch_size (and mini_batch_size) to fit",
            ));
        }
        let decoder_ids: Vec<Vec<u32>> = rows.iter().map(|row| decoder_ids(row, config.keep_start_token)).collect();
        for (i, (row, ids)) in rows.iter().zip(&decoder_ids).enumerate() {
            check_row(i, row, ids.len(), config.train_first_token)?;
        }
        let first = usize::from(!config.train_first_token);
        let columns: Vec<Range<usize>> = decoder_ids.iter().map(|ids| first..ids.len() - 1).collect();
        let longest = decoder_ids.iter().map(Vec::len).max().unwrap_or(1);
        if longest.saturating_mul(rows.len()) > MAX_GRID {
            return Err(Error::input(
                format!("{} rows with a response of {longest} ids: their grid does not fit in memory", rows.len()),
                "split the rows into several steps, or drop the long response",
            ));
        }
        let mut mask = Grid::zeros(rows.len(), longest - 1); // (B, R)
        for (i, range) in columns.iter().enumerate() {
            mask.row_mut(i)[range.clone()].fill(1.0);
        }
        Ok(Self { rows, decoder_ids, columns, mask })
    }

    /// B.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Always false: a batch has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Decoder ids of the longest row: R + 1.
    pub fn width(&self) -> usize {
        self.mask.cols + 1
    }

    /// (query ids, decoder ids) of some rows, for the model.
    pub fn pairs(&self, indices: &[usize]) -> Vec<(&[u32], &[u32])> {
        indices.iter().map(|&i| (self.rows[i].query_ids.as_slice(), self.decoder_ids[i].as_slice())).collect()
    }
}

/// Stage 6: log-probs and values before any update, (B, R) each.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    pub old_logprobs: Grid,
    pub ref_logprobs: Grid,
    pub old_values: Grid,
}

/// The decoder ids of a row, with a start token in front if it is missing and `keep_start` is true.
fn decoder_ids(row: &Row, keep_start: bool) -> Vec<u32> {
    let missing = row.decoder_ids.first() != Some(&START_TOKEN);
    let start = (keep_start && missing && !row.decoder_ids.is_empty()).then_some(START_TOKEN);
    start.into_iter().chain(row.decoder_ids.iter().copied()).collect()
}

fn check_row(i: usize, row: &Row, n: usize, train_first_token: bool) -> Result<()> {
    let shortest = if train_first_token { 2 } else { 4 };
    if row.query_ids.is_empty() {
        return Err(Error::input(format!("row {}: the query has no tokens", i + 1), "drop the row or give it a query"));
    }
    if n < shortest {
        return Err(Error::input(
            format!("row {}: the response is too short: {n} decoder ids, at least {shortest} are needed", i + 1),
            "drop the row, raise min_length, or set train_first_token to true (then 2 ids are enough)",
        ));
    }
    if !row.score.is_finite() {
        return Err(Error::not_finite(
            format!("row {}: the score", i + 1),
            "check the reward model's output for this text",
        )
        .in_row(i));
    }
    if let Some(kept) = &row.generated
        && (kept.logprobs.len() != n - 1 || kept.values.len() != n - 1)
    {
        return Err(Error::shape(
            format!("row {}: kept log-probs and values", i + 1),
            &[kept.logprobs.len(), kept.values.len()],
            &[n - 1, n - 1],
            "keep one number for each decoder id after the first, or none",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::Preset;

    fn row(decoder_ids: &[u32]) -> Row {
        Row { query_ids: vec![5, 1], decoder_ids: decoder_ids.to_vec(), score: 0.5, generated: None }
    }

    fn config(preset: Preset, batch_size: usize) -> PpoConfig {
        PpoConfig { batch_size, mini_batch_size: 1, ..PpoConfig::preset(preset) }
    }

    #[test]
    fn published_skips_the_first_token_and_does_not_change_the_ids() {
        let rows = [row(&[0, 7, 8, 9, 1]), row(&[7, 8, 9, 10])];
        let batch = Batch::new(&rows, &config(Preset::Published, 2)).unwrap();
        assert_eq!(batch.mask.to_rows(), [[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]]);
        assert_eq!(batch.decoder_ids[1], [7, 8, 9, 10]);
        assert_eq!(batch.width(), 5);
    }

    #[test]
    fn corrected_trains_the_first_token_and_restores_the_start() {
        let rows = [row(&[0, 7, 8, 9, 1]), row(&[7, 8, 9])];
        let batch = Batch::new(&rows, &config(Preset::Corrected, 2)).unwrap();
        assert_eq!(batch.decoder_ids[1], [0, 7, 8, 9]);
        assert_eq!(batch.mask.to_rows(), [[1.0; 4], [1.0, 1.0, 1.0, 0.0]]);
    }

    #[test]
    fn errors_name_the_row() {
        let short = [row(&[0, 7, 8, 9]), row(&[0, 7, 1])];
        let message = Batch::new(&short, &config(Preset::Published, 2)).unwrap_err().to_string();
        assert!(message.contains("row 2") && message.contains("too short"), "{message}");
        assert!(Batch::new(&short, &config(Preset::Corrected, 2)).is_ok());
        assert!(Batch::new(&[row(&[])], &config(Preset::Corrected, 1)).unwrap_err().to_string().contains("row 1"));
        let nan = [Row { score: f32::NAN, ..row(&[0, 7, 8, 9]) }];
        assert!(Batch::new(&nan, &config(Preset::Published, 1)).unwrap_err().to_string().contains("row 1"));
        let message = Batch::new(&short, &config(Preset::Published, 3)).unwrap_err().to_string();
        assert!(message.contains("batch_size = 3"), "{message}");
    }

    #[test]
    fn grids_select_and_scatter() {
        let grid = Grid::from_vec(2, 2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(grid.select(&[1, 0]).data, [3.0, 4.0, 1.0, 2.0]);
        let mut out = Grid::zeros(3, 2);
        out.scatter(&[2, 0], &grid);
        assert_eq!(out.data, [3.0, 4.0, 0.0, 0.0, 1.0, 2.0]);
        assert!(Grid::from_vec(2, 2, vec![0.0; 3]).is_err());
    }
}
