//! Toxicity aggregation equals the reference's numbers; intervals are seeded, paired and correct.

use crate::support;
use detox_lab::lab::statistics::{self, Difference, Spread, TOXIC_FROM, Toxicity, Verdict};
use detox_lab::nn::rng::{Purpose, Rng};

#[test]
fn toxicity_equals_the_reference() {
    let text = std::fs::read_to_string(support::golden().join("toxicity_math.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let close = |got: f64, key: &str| {
        let want = golden[key].as_f64().unwrap();
        assert!((got - want).abs() < 1e-6, "{key}: {got} instead of {want}");
    };
    let before = Toxicity::of(list("before"), TOXIC_FROM).unwrap();
    let after = Toxicity::of(list("after"), TOXIC_FROM).unwrap();
    close(before.spread.mean, "mean_before");
    close(before.spread.std, "std_before_ddof0");
    close(after.spread.mean, "mean_after");
    close(after.spread.std, "std_after_ddof0");
    close(statistics::improvement(before.spread.mean, after.spread.mean).unwrap(), "mean_improvement");
    close(statistics::improvement(before.spread.std, after.spread.std).unwrap(), "std_improvement");
    assert_eq!((before.maximum, before.ratio), (0.7435, 1.0 / 11.0));
    assert_eq!((after.maximum, after.ratio, after.all.len()), (0.441, 0.0, 11));
}

#[test]
fn the_threshold_itself_counts_as_toxic() {
    assert_eq!(Toxicity::of(vec![0.5, 0.49], TOXIC_FROM).unwrap().ratio, 0.5);
    assert_eq!(statistics::improvement(0.0, 0.1), None);
}

#[test]
fn verdicts_are_correct() {
    let verdict = |before: &[f64], after: &[f64]| Difference::paired(before, after, 7).unwrap().verdict;
    let base: Vec<f64> = (0..40).map(|i| f64::from(i % 7)).collect();
    let shifted = |by: f64| base.iter().enumerate().map(|(i, x)| x + by + [0.3, -0.3][i % 2]).collect::<Vec<f64>>();
    assert_eq!(verdict(&base, &shifted(1.0)), Verdict::Higher);
    assert_eq!(verdict(&base, &shifted(-1.0)), Verdict::Lower);
    assert_eq!(verdict(&base, &shifted(0.01)), Verdict::NoDifference);
    assert_eq!(verdict(&base, &base), Verdict::NoDifference);
    assert_eq!(verdict(&[1.0; 5], &[2.0; 5]), Verdict::TooFewPairs);
    assert_eq!(verdict(&[1.0; 6], &[2.0; 6]), Verdict::Higher);
    assert_eq!(Verdict::NoDifference.to_string(), "no difference beyond noise");
}

#[test]
fn the_interval_is_seeded_and_near_theory() {
    let mut rng = Rng::new(1, Purpose::Evaluation, 0, 0);
    let before = vec![0.0; 400];
    let after: Vec<f64> = (0..400).map(|_| 0.2 + f64::from(rng.normal())).collect();
    let d = Difference::paired(&before, &after, 3).unwrap();
    assert_eq!(d, Difference::paired(&before, &after, 3).unwrap());
    assert_ne!(d.low, Difference::paired(&before, &after, 4).unwrap().low);
    // For n = 400 and unit noise the normal approximation gives mean ± 1.96 · std / 20.
    let half = 1.96 * Spread::of(&after).unwrap().std / 20.0;
    assert!((d.high - d.mean - half).abs() < 0.006 && (d.mean - d.low - half).abs() < 0.006, "{d:?}, ± {half}");
}

#[test]
fn unusable_numbers_are_refused() {
    assert!(Spread::of(&[]).unwrap_err().to_string().contains("no values"));
    assert!(Toxicity::of(vec![0.1, f64::NAN], 0.5).unwrap_err().to_string().contains("score 1 of 2 is not finite"));
    assert!(Difference::paired(&[1.0], &[1.0, 2.0], 0).unwrap_err().to_string().contains("are not pairs"));
}

#[test]
fn distinct_and_length() {
    let texts = ["the cat, the cat", "The dog!"];
    assert_eq!(statistics::distinct(&texts, 1), 3.0 / 6.0);
    assert_eq!(statistics::distinct(&texts, 2), 3.0 / 4.0);
    assert_eq!(statistics::mean_words(&texts), 3.0);
    assert_eq!((statistics::distinct(&[""], 2), statistics::mean_words(&[] as &[&str])), (0.0, 0.0));
}
