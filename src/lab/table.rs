//! Chapter 3.4: summaries before and after training, as data and csv. `html` makes a page of them, `plain` a table for the
//! terminal.

mod html;
mod plain;

use crate::error::{Error, Result};
use crate::lab::statistics::{Difference, Spread};
use serde::Serialize;

/// One dialogue summarised by both models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// The dialogue's index in the evaluated data.
    pub index: usize,
    pub query: String,
    /// The human summary.
    pub reference: String,
    /// The summaries of the initial and of the trained model.
    pub before: String,
    pub after: String,
    /// The reward model's scores: a higher score is less hateful.
    pub score_before: f64,
    pub score_after: f64,
}

impl ComparisonRow {
    /// How much the score rose.
    pub fn difference(&self) -> f64 {
        self.score_after - self.score_before
    }
}

/// The table, largest gain first, with statistics of all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonTable {
    pub before: Spread,
    pub after: Spread,
    pub difference: Difference,
    /// Number of rows whose score rose, stayed the same and fell.
    pub rose: usize,
    pub same: usize,
    pub fell: usize,
    /// Facts about the run as (name, value): models, preset, seed, …
    pub about: Vec<(String, String)>,
    pub rows: Vec<ComparisonRow>,
}

impl ComparisonTable {
    /// Sorts the rows and computes the statistics; `seed` is for the bootstrap.
    pub fn new(mut rows: Vec<ComparisonRow>, about: Vec<(String, String)>, seed: u64) -> Result<Self> {
        let before: Vec<f64> = rows.iter().map(|r| r.score_before).collect();
        let after: Vec<f64> = rows.iter().map(|r| r.score_after).collect();
        let difference = Difference::paired(&before, &after, seed)?;
        let count = |rule: fn(f64) -> bool| rows.iter().filter(|r| rule(r.difference())).count();
        let (rose, fell) = (count(|d| d > 0.0), count(|d| d < 0.0));
        let same = rows.len() - rose - fell;
        rows.sort_by(|a, b| b.difference().total_cmp(&a.difference()));
        Ok(Self { before: Spread::of(&before)?, after: Spread::of(&after)?, difference, rose, same, fell, about, rows })
    }

    /// The rows as RFC 4180 csv in UTF-8, with a header.
    pub fn csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let header = ["index", "query", "reference", "before", "after", "score_before", "score_after", "difference"];
        let failed = |e: String| Error::bug(format!("the table could not be written as csv: {e}"));
        writer.write_record(header).map_err(|e| failed(e.to_string()))?;
        for row in &self.rows {
            let numbers = [row.score_before, row.score_after, row.difference()].map(|x| x.to_string());
            let texts = [&row.index.to_string(), &row.query, &row.reference, &row.before, &row.after];
            writer.write_record(texts.into_iter().chain(&numbers)).map_err(|e| failed(e.to_string()))?;
        }
        writer.into_inner().map_err(|e| failed(e.to_string()))
    }
}
