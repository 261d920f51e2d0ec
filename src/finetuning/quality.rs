//! Measures the probabilities of a two-class classifier: accuracy, F1, area under the ROC curve, calibration.

use serde::Serialize;

/// Bins of the calibration error.
const BINS: usize = 10;

/// The quality of probabilities of "hate" against labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    pub rows: usize,
    /// Number of rows labelled hate.
    pub hate: usize,
    /// Mean negative log-likelihood of the labels, in nats.
    pub loss: f64,
    /// Fraction of rows where P(hate) ≥ 0.5 agrees with the label.
    pub accuracy: f64,
    /// Harmonic mean of precision and recall of "hate" at 0.5; none if no row is labelled hate.
    pub f1: Option<f64>,
    /// The probability that a hate row has a higher P(hate) than a nothate row (ties count half); none if a class is missing.
    pub auc: Option<f64>,
    /// Expected calibration error over ten equal bins of P(hate): the mean, weighted by rows, of the difference between a bin's
    /// mean P(hate) and its fraction of hate rows.
    pub ece: f64,
    /// Brier score: mean squared difference between P(hate) and the label.
    pub brier: f64,
    /// Mean P(hate) of the nothate rows and of the hate rows; none if there are none.
    pub mean_nothate: Option<f64>,
    pub mean_hate: Option<f64>,
}

impl Quality {
    /// Compares `probabilities` of hate (0..1) with `labels`; none without rows.
    pub fn measure(probabilities: &[f64], labels: &[bool]) -> Option<Self> {
        let rows: Vec<(f64, bool)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
        if rows.is_empty() {
            return None;
        }
        let n = rows.len() as f64;
        let mean = |of: &dyn Fn(f64, bool) -> f64| rows.iter().map(|(p, hate)| of(*p, *hate)).sum::<f64>() / n;
        Some(Self {
            rows: rows.len(),
            hate: rows.iter().filter(|(_, hate)| *hate).count(),
            loss: mean(&|p, hate| -(if hate { p } else { 1.0 - p }).max(f64::MIN_POSITIVE).ln()),
            accuracy: mean(&|p, hate| f64::from((p >= 0.5) == hate)),
            f1: f1(&rows),
            auc: auc(rows.clone()),
            ece: ece(&rows),
            brier: mean(&|p, hate| (p - f64::from(hate)).powi(2)),
            mean_nothate: mean_of(&rows, false),
            mean_hate: mean_of(&rows, true),
        })
    }
}

fn mean_of(rows: &[(f64, bool)], class: bool) -> Option<f64> {
    let of_class: Vec<f64> = rows.iter().filter(|(_, hate)| *hate == class).map(|(p, _)| *p).collect();
    (!of_class.is_empty()).then(|| of_class.iter().sum::<f64>() / of_class.len() as f64)
}

fn f1(rows: &[(f64, bool)]) -> Option<f64> {
    let count =
        |said: bool, is: bool| rows.iter().filter(|(p, hate)| (*p >= 0.5) == said && *hate == is).count() as f64;
    let (right, missed, wrong) = (count(true, true), count(false, true), count(true, false));
    (right + missed > 0.0).then(|| 2.0 * right / (2.0 * right + missed + wrong))
}

/// Computed from the ranks of the hate rows (Mann–Whitney); ties have their mean rank.
fn auc(mut rows: Vec<(f64, bool)>) -> Option<f64> {
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let hate = rows.iter().filter(|(_, hate)| *hate).count() as f64;
    let other = rows.len() as f64 - hate;
    let (mut before, mut ranks) = (0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let rank = before + (tied.len() as f64 + 1.0) / 2.0;
        ranks += rank * tied.iter().filter(|(_, hate)| *hate).count() as f64;
        before += tied.len() as f64;
    }
    (hate > 0.0 && other > 0.0).then(|| (ranks - hate * (hate + 1.0) / 2.0) / (hate * other))
}

fn ece(rows: &[(f64, bool)]) -> f64 {
    let mut distances = [0.0; BINS]; // for each bin: the sum of P(hate) minus the number of hate rows
    for (p, hate) in rows {
        distances[((p * BINS as f64) as usize).min(BINS - 1)] += p - f64::from(*hate);
    }
    distances.iter().map(|distance| distance.abs()).sum::<f64>() / rows.len() as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} differs from {b}");
    }

    #[test]
    fn numbers_worked_out_by_hand() {
        let labels = [true, false, true, false, false];
        let q = Quality::measure(&[0.9, 0.6, 0.6, 0.2, 0.25], &labels).unwrap();
        assert_eq!((q.rows, q.hate), (5, 2));
        close(q.accuracy, 0.8);
        close(q.f1.unwrap(), 0.8); // 2 right, 1 wrong
        close(q.auc.unwrap(), 5.5 / 6.0); // of 6 pairs 5 in order, 1 tied
        close(q.brier, (0.01 + 0.36 + 0.16 + 0.04 + 0.0625) / 5.0);
        close(q.ece, (0.1 + 0.2 + 0.45) / 5.0); // bins 0.9: |0.9 - 1|, 0.6: |1.2 - 1|, 0.2: 0.45
        close(q.loss, -(0.9f64 * 0.4 * 0.6 * 0.8 * 0.75).ln() / 5.0);
        close(q.mean_nothate.unwrap(), 0.35);
        close(q.mean_hate.unwrap(), 0.75);
    }

    /// Computed in numpy from the definitions: pairs for the AUC, means of bins for the ECE.
    #[test]
    fn numbers_equal_those_of_numpy() {
        let p: Vec<f64> = (0..50).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
        let labels: Vec<bool> = (0..50).map(|i| (i * 53 + 11) % 97 < 40).collect();
        let q = Quality::measure(&p, &labels).unwrap();
        assert_eq!(q.hate, 21);
        close(q.accuracy, 0.44);
        close(q.f1.unwrap(), 0.391304347826087);
        close(q.auc.unwrap(), 0.35960591133004927);
        close(q.ece, 0.4162);
        close(q.brier, 0.407518);
    }

    #[test]
    fn numbers_that_need_a_missing_class_are_none() {
        assert_eq!(Quality::measure(&[], &[]), None);
        let q = Quality::measure(&[0.1, 0.7], &[false, false]).unwrap();
        assert_eq!((q.f1, q.auc, q.mean_hate, q.accuracy), (None, None, None, 0.5));
        let q = Quality::measure(&[0.1, 1.0], &[true, true]).unwrap();
        assert_eq!((q.auc, q.mean_nothate), (None, None));
        close(q.f1.unwrap(), 2.0 / 3.0);
    }

    #[test]
    fn probabilities_of_0_and_1_give_finite_numbers() {
        let q = Quality::measure(&[0.0, 1.0], &[false, true]).unwrap();
        assert_eq!((q.auc, q.ece, q.brier, q.loss), (Some(1.0), 0.0, 0.0, 0.0));
        let q = Quality::measure(&[0.0, 1.0], &[true, false]).unwrap();
        assert_eq!((q.auc, q.ece, q.brier), (Some(0.0), 1.0, 1.0));
        assert!(q.loss.is_finite());
    }

    /// The AUC from ranks equals the AUC from pairs.
    #[test]
    fn the_auc_from_ranks_equals_the_auc_from_pairs() {
        let number = |i: u64| ((i * 2_654_435_761) % 1000) as f64 / 999.0;
        let p: Vec<f64> = (0..200).map(|i| (number(i) * 20.0).round() / 20.0).collect();
        let labels: Vec<bool> = (0..200).map(|i| number(i + 500) < 0.3).collect();
        let (mut in_order, mut pairs) = (0.0, 0.0);
        for (a, _) in p.iter().zip(&labels).filter(|(_, hate)| **hate) {
            for (b, _) in p.iter().zip(&labels).filter(|(_, hate)| !**hate) {
                in_order += if a > b { 1.0 } else { f64::from(a == b) / 2.0 };
                pairs += 1.0;
            }
        }
        close(Quality::measure(&p, &labels).unwrap().auc.unwrap(), in_order / pairs);
    }
}
