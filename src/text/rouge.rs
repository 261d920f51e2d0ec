//! ROUGE-1, ROUGE-2 and ROUGE-L of a summary against human references, as Google's `rouge_score` computes them with
//! `use_stemmer=False` (the default of Hugging Face `evaluate`). The lab averages over a data set.
//! Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.

use std::collections::HashMap;

/// Precision, recall and their harmonic mean, each in 0..=1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

impl Score {
    fn new(hits: usize, predicted: usize, expected: usize) -> Self {
        let precision = hits as f64 / predicted.max(1) as f64;
        let recall = hits as f64 / expected.max(1) as f64;
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// The three ROUGE scores of one summary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    /// Words in common.
    pub rouge1: Score,
    /// Pairs of neighbouring words in common.
    pub rouge2: Score,
    /// The longest common subsequence of words.
    pub rouge_l: Score,
}

/// How scores against several references are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    /// The mean of precision, recall and F1 over the references.
    Mean,
    /// For each ROUGE kind the reference with the highest F1 (`rouge_score`'s `score_multi`).
    Best,
}

/// Scores `prediction` against one reference.
pub fn score(reference: &str, prediction: &str) -> Rouge {
    let (expected, predicted) = (words(reference), words(prediction));
    Rouge {
        rouge1: ngram_score(&expected, &predicted, 1),
        rouge2: ngram_score(&expected, &predicted, 2),
        rouge_l: Score::new(common_subsequence(&expected, &predicted), predicted.len(), expected.len()),
    }
}

/// Scores `prediction` against several references; zeros if there are none.
pub fn score_multi(references: &[impl AsRef<str>], prediction: &str, how: References) -> Rouge {
    let scores: Vec<Rouge> = references.iter().map(|reference| score(reference.as_ref(), prediction)).collect();
    let pick = match how {
        References::Mean => mean_score,
        References::Best => best_score,
    };
    combine(&scores, pick)
}

/// The mean of each number over rows; zeros if there are none.
pub fn mean(rows: &[Rouge]) -> Rouge {
    combine(rows, mean_score)
}

fn combine(rows: &[Rouge], pick: fn(&mut dyn Iterator<Item = Score>) -> Score) -> Rouge {
    Rouge {
        rouge1: pick(&mut rows.iter().map(|r| r.rouge1)),
        rouge2: pick(&mut rows.iter().map(|r| r.rouge2)),
        rouge_l: pick(&mut rows.iter().map(|r| r.rouge_l)),
    }
}

fn mean_score(scores: &mut dyn Iterator<Item = Score>) -> Score {
    let (mut sum, mut n) = (Score::default(), 0usize);
    for s in scores {
        sum.precision += s.precision;
        sum.recall += s.recall;
        sum.f1 += s.f1;
        n += 1;
    }
    let n = n.max(1) as f64;
    Score { precision: sum.precision / n, recall: sum.recall / n, f1: sum.f1 / n }
}

fn best_score(scores: &mut dyn Iterator<Item = Score>) -> Score {
    // The first maximum, as in numpy's argmax.
    scores.reduce(|best, s| if s.f1 > best.f1 { s } else { best }).unwrap_or_default()
}

/// The words of `rouge_score`: lower-case runs of a–z and 0–9; other characters are separators.
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_string).collect()
}

fn ngram_score(expected: &[String], predicted: &[String], n: usize) -> Score {
    let count = |words: &[String]| words.len().saturating_sub(n - 1);
    let mut left: HashMap<&[String], usize> = HashMap::new();
    for gram in expected.windows(n) {
        *left.entry(gram).or_default() += 1;
    }
    let mut hits = 0;
    for gram in predicted.windows(n) {
        if let Some(n) = left.get_mut(gram).filter(|n| **n > 0) {
            *n -= 1;
            hits += 1;
        }
    }
    Score::new(hits, count(predicted), count(expected))
}

/// Length of the longest common subsequence, one table row at a time.
fn common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
