//! The comparison as one HTML file: all text is escaped, nothing is downloaded, no script runs. It has colours for light and
//! dark, and marks word-level differences with `<del>` and `<ins>`.

use super::{ComparisonRow, ComparisonTable};
use similar::{Algorithm, DiffTag, capture_diff_slices};
use std::fmt::Write as _;

/// Colours and layout. Differences are shown by sign and decoration too, not only by colour.
const STYLE: &str = include_str!("table.css");

impl ComparisonTable {
    /// The table as one HTML file.
    pub fn html(&self, title: &str) -> String {
        let title = escape(title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n"
        );
        head(&mut out, self);
        chart(&mut out, &self.rows);
        rows(&mut out, &self.rows);
        out.push_str("</main>\n</body>\n</html>\n");
        out
    }
}

fn head(out: &mut String, table: &ComparisonTable) {
    let d = &table.difference;
    let _ = writeln!(out, "<p class=\"verdict\">Score: {}.</p>", d.verdict);
    let _ = writeln!(
        out,
        "<p class=\"note\">The score is the reward model's score of one summary; a higher score is less hateful. The interval is from a \
                 paired bootstrap over {} dialogues.</p>\n<dl class=\"numbers\">",
        d.n
    );
    let before = (number(table.before.mean), format!("standard deviation {}", number(table.before.std)));
    let after = (number(table.after.mean), format!("standard deviation {}", number(table.after.std)));
    let change = (signed(d.mean), format!("95 % interval {} to {}", signed(d.low), signed(d.high)));
    let counts = (format!("{} / {}", table.rose, table.fell), format!("{} unchanged", table.same));
    let cards = [
        ("Mean before", before),
        ("Mean after", after),
        ("Mean difference", change),
        ("Rows that rose / fell", counts),
    ];
    for (name, (value, detail)) in cards {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd><b>{value}</b><span>{detail}</span></dd></div>");
    }
    out.push_str("</dl>\n");
    if !table.about.is_empty() {
        out.push_str("<dl class=\"about\">\n");
        for (name, value) in &table.about {
            let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
        }
        out.push_str("</dl>\n");
    }
}

/// One bar per row, in the table's order, around a zero line.
fn chart(out: &mut String, rows: &[ComparisonRow]) {
    const HALF: f64 = 40.0;
    const STEP: f64 = 10.0;
    let largest = rows.iter().map(|r| r.difference().abs()).fold(f64::MIN_POSITIVE, f64::max);
    let width = STEP * rows.len() as f64;
    let _ = writeln!(
        out,
        "<figure><svg viewBox=\"0 0 {width} {}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"Score differences, row by row, from {} to {}\">",
        2.0 * HALF,
        signed(rows.first().map_or(0.0, ComparisonRow::difference)),
        signed(rows.last().map_or(0.0, ComparisonRow::difference)),
    );
    for (i, row) in rows.iter().enumerate() {
        let height = row.difference() / largest * HALF;
        let (x, y) = (STEP * i as f64 + 1.0, HALF - height.max(0.0));
        let class = direction(row.difference()).1;
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.2}\" width=\"{}\" height=\"{:.2}\"/>",
            STEP - 2.0,
            height.abs()
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"0\" y1=\"{HALF}\" x2=\"{width}\" y2=\"{HALF}\"/></svg>\n\
         <figcaption>Score difference (after − before), one bar per dialogue, sorted.</figcaption></figure>"
    );
}

fn rows(out: &mut String, rows: &[ComparisonRow]) {
    // The roles are explicit because the `display` of the narrow layout would remove them.
    out.push_str(
        "<table role=\"table\">\n<caption>Summaries before and after training, largest gain first. Words only in the \
                       first are <del>struck</del>, words only in the second are <ins>underlined</ins>.</caption>\n\
         <thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Dialogue</th>\
         <th role=\"columnheader\" scope=\"col\">Before</th><th role=\"columnheader\" scope=\"col\">After</th>\
         <th role=\"columnheader\" scope=\"col\">Score</th></tr></thead>\n<tbody role=\"rowgroup\">\n",
    );
    for row in rows {
        let (before, after) = differences(&row.before, &row.after);
        let (arrow, class) = direction(row.difference());
        let _ = writeln!(
            out,
            "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><span class=\"index\">#{index}</span>\
             <p dir=\"auto\"><span class=\"label\">Human summary</span> {reference}</p>\
             <details><summary>Query of #{index}</summary><p class=\"query\" dir=\"auto\">{query}</p></details></th>\n\
             <td role=\"cell\" class=\"before\" dir=\"auto\">{before}</td>\n\
             <td role=\"cell\" class=\"after\" dir=\"auto\">{after}</td>\n\
             <td role=\"cell\" class=\"score\"><b class=\"{class}\">{arrow} {change}</b>\
             <span>{from} → {to}</span></td></tr>",
            index = row.index,
            reference = escape(&row.reference),
            query = escape(&row.query),
            change = signed(row.difference()),
            from = number(row.score_before),
            to = number(row.score_after),
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

/// Both texts as HTML; words that are only in one of them are marked.
fn differences(before: &str, after: &str) -> (String, String) {
    let old: Vec<&str> = before.split_whitespace().collect();
    let new: Vec<&str> = after.split_whitespace().collect();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for change in capture_diff_slices(Algorithm::Myers, &old, &new) {
        let (tag, in_old, in_new) = change.as_tag_tuple();
        let (gone, came) = (escape(&old[in_old].join(" ")), escape(&new[in_new].join(" ")));
        if tag == DiffTag::Equal {
            left.push(gone);
            right.push(came);
            continue;
        }
        if !gone.is_empty() {
            left.push(format!("<del>{gone}</del>"));
        }
        if !came.is_empty() {
            right.push(format!("<ins>{came}</ins>"));
        }
    }
    (or_nothing(left.join(" ")), or_nothing(right.join(" ")))
}

fn or_nothing(html: String) -> String {
    if html.is_empty() { "<span class=\"label\">(empty)</span>".into() } else { html }
}

fn direction(difference: f64) -> (&'static str, &'static str) {
    match difference {
        d if d > 0.0 => ("▲", "rose"),
        d if d < 0.0 => ("▼", "fell"),
        _ => ("=", "same"),
    }
}

fn number(x: f64) -> String {
    format!("{x:.4}").replace('-', "−")
}

fn signed(x: f64) -> String {
    format!("{x:+.4}").replace('-', "−")
}

/// Escapes text for HTML; control characters, which HTML forbids, become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
