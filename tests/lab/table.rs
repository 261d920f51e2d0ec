//! The before/after table: its order, its csv, its HTML (escaped, self-contained) and its terminal form (wrapped).

use detox_lab::lab::table::{ComparisonRow, ComparisonTable};

fn row(index: usize, before: &str, after: &str, scores: (f64, f64)) -> ComparisonRow {
    ComparisonRow {
        index,
        query: "Summarize the following conversation. #Person1#: Hi, \"Tom\" & co <b>. Summary: </s>".into(),
        reference: "Tom is greeted.".into(),
        before: before.into(),
        after: after.into(),
        score_before: scores.0,
        score_after: scores.1,
    }
}

fn table() -> ComparisonTable {
    let rows = vec![
        row(0, "Tom is a fool & leaves.", "Tom quietly leaves.", (1.5, 1.25)),
        row(1, "Same words", "Same words", (2.0, 2.0)),
        row(2, "<script>alert('x')</script> and\u{1b}[31m more", "", (0.5, 2.5)),
    ];
    ComparisonTable::new(rows, vec![("policy".into(), "tiny <T5>".into())], 0).unwrap()
}

#[test]
fn sorted_with_statistics() {
    let table = table();
    assert_eq!(table.rows.iter().map(|r| r.index).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!((table.rose, table.same, table.fell), (1, 1, 1));
    assert_eq!(table.difference.mean, (2.0 + 0.0 - 0.25) / 3.0);
    assert!(ComparisonTable::new(vec![], vec![], 0).unwrap_err().to_string().contains("no values"));
    assert!(ComparisonTable::new(vec![row(0, "a", "b", (f64::NAN, 1.0))], vec![], 0).is_err());
}

#[test]
fn csv_reads_back() {
    let table = table();
    let bytes = table.csv().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.starts_with("index,query,reference,before,after,score_before,score_after,difference\r\n"));
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3);
    for (record, row) in records.iter().zip(&table.rows) {
        assert_eq!((&record[1], &record[3], &record[4]), (&*row.query, &*row.before, &*row.after));
        assert_eq!(record[7].parse::<f64>().unwrap(), row.difference());
    }
}

#[test]
fn html_is_escaped_and_self_contained() {
    let html = table().html("Before & after");
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"));
    assert!(html.contains("<title>Before &amp; after</title>"));
    assert!(html.contains("Tom <del>is a fool &amp;</del> leaves.") && html.contains("Tom <ins>quietly</ins> leaves."));
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    assert!(html.contains("tiny &lt;T5&gt;") && html.contains("too few pairs"));
    assert!(html.contains("▲ +2.0000") && html.contains("▼ −0.2500") && html.contains("= +0.0000"));
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("(empty)"));
    for forbidden in
        ["<script", "javascript:", "http://", "https://", "url(", "@import", " src=", " href=", " style=", "\u{1b}"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for element in
        ["table", "tr", "td", "th", "del", "ins", "details", "dl", "div", "dt", "dd", "figure", "svg", "main"]
    {
        let opened = html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
        assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn plain_text_fits_the_width() {
    let long = format!("A {} end", "lorem ".repeat(60) + &"z".repeat(150));
    let mut rows = table().rows;
    rows.push(row(3, &long, "Short.", (0.0, 0.1)));
    let table = ComparisonTable::new(rows, vec![], 0).unwrap();
    for width in [40, 71, 72, 100, 101] {
        let text = table.plain(width);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
            assert!(!line.contains('\u{1b}'));
        }
        assert!(text.contains("#3  score 0.0000 → 0.1000  +0.1000"));
        assert_eq!(text.matches("lorem").count(), 60);
        assert_eq!(text.matches('z').count(), 150 + text.matches("Summarize").count());
    }
    assert!(table.plain(100).contains("before                                           │ after"));
    assert_eq!(table.plain(0), table.plain(40));
}
