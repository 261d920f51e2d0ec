//! The comparison for a terminal: wrapped to a width, without colours and control characters.

use super::{ComparisonRow, ComparisonTable};
use std::fmt::Write as _;

/// The minimum width; narrower terminals wrap the lines.
const MIN_WIDTH: usize = 40;
/// From this width on, before and after are printed side by side.
const SIDE_BY_SIDE: usize = 72;
/// A query is cut after this many lines; csv and html have the whole query.
const QUERY_LINES: usize = 3;

impl ComparisonTable {
    /// The table for a terminal of `width` columns.
    pub fn plain(&self, width: usize) -> String {
        let width = width.max(MIN_WIDTH);
        let mut out = String::new();
        head(&mut out, self, width);
        for row in &self.rows {
            block(&mut out, row, width);
        }
        out
    }
}

fn head(out: &mut String, table: &ComparisonTable, width: usize) {
    let d = &table.difference;
    for (name, value) in &table.about {
        for line in wrap(&format!("{name}: {value}"), width) {
            let _ = writeln!(out, "{line}");
        }
    }
    let _ = writeln!(out, "score       mean     std");
    for (name, spread) in [("before", table.before), ("after", table.after)] {
        let _ = writeln!(out, "{name:<8}{:>8.4}{:>8.4}", spread.mean, spread.std);
    }
    let interval =
        format!("{:+.4}, 95 % interval {:+.4} to {:+.4} (n = {}): {}", d.mean, d.low, d.high, d.n, d.verdict);
    paragraph(out, "change", &interval, width, usize::MAX);
    let counts = format!("{} rose, {} unchanged, {} fell", table.rose, table.same, table.fell);
    paragraph(out, "rows", &counts, width, usize::MAX);
}

fn block(out: &mut String, row: &ComparisonRow, width: usize) {
    let _ = writeln!(out, "{}", "─".repeat(width));
    let change = row.difference();
    let _ = writeln!(out, "#{}  score {:.4} → {:.4}  {change:+.4}", row.index, row.score_before, row.score_after);
    paragraph(out, "query", &row.query, width, QUERY_LINES);
    paragraph(out, "human", &row.reference, width, usize::MAX);
    if width < SIDE_BY_SIDE {
        paragraph(out, "before", &row.before, width, usize::MAX);
        paragraph(out, "after", &row.after, width, usize::MAX);
        return;
    }
    let column = (width - 3) / 2;
    let (left, right) = (wrap(&row.before, column), wrap(&row.after, column));
    let _ = writeln!(out, "{:<column$} │ after", "before");
    for i in 0..left.len().max(right.len()) {
        let cell = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        let line = format!("{:<column$} │ {}", cell(&left), cell(&right));
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// `name` in the first column, then the wrapped text; at most `lines` lines.
fn paragraph(out: &mut String, name: &str, text: &str, width: usize, lines: usize) {
    const INDENT: usize = 8;
    let wrapped = wrap(text, width - INDENT);
    for (i, line) in wrapped.iter().take(lines).enumerate() {
        let label = if i == 0 { name } else { "" };
        let _ = writeln!(out, "{label:<INDENT$}{line}");
    }
    if wrapped.len() > lines {
        let _ = writeln!(out, "{:INDENT$}…", "");
    }
}

/// Breaks a text at white space into lines of at most `width` characters; a longer word is cut. At least one line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_whitespace() {
        let word: Vec<char> = printable(word).chars().collect();
        for part in word.chunks(width) {
            if used > 0 && used + 1 + part.len() > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            } else if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.extend(part);
            used += part.len();
        }
    }
    lines.push(line);
    lines
}

/// Removes control characters, so that a text cannot move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
