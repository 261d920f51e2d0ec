//! Chapter 3.4: summaries before and after training side by side, as data and as csv. `html` makes a page of them, `plain` a
//! table for the terminal.

mod html;
mod plain;

use crate::error::{Error, Result};
use crate::lab::statistics::{Difference, Spread};
use serde::Serialize;

/// One dialogue summarised by both models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// The dialogue's place in the evaluated part of the data.
    pub index: usize,
    pub query: String,
    /// The human summary.
    pub reference: String,
    /// The initial model's summary, and the trained one's.
    pub before: String,
    pub after: String,
    /// The reward model's score of each: the higher, the less hateful.
    pub score_before: f64,
    pub score_after: f64,
}

impl ComparisonRow {
    /// How much the score rose.
    pub fn difference(&self) -> f64 {
        self.score_after - self.score_before
    }
}

/// The table, the largest gain first, with what can be said about all rows together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonTable {
    pub before: Spread,
    pub after: Spread,
    pub difference: Difference,
    /// Rows whose score rose, stayed and fell.
    pub rose: usize,
    pub same: usize,
    pub fell: usize,
    /// What a reader needs to know about the run, as (name, value): models, preset, seed, …
    pub about: Vec<(String, String)>,
    pub rows: Vec<ComparisonRow>,
}

impl ComparisonTable {
    /// Sorts the rows and computes the statistics; `seed` is the bootstrap's.
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
