//! ROUGE equals Google's `rouge_score` 0.1.2 without stemming (fixtures/rouge.json).

use crate::support;
use detox_lab::text::rouge::{self, References, Rouge, Score};

fn fixture() -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(support::fixtures().join("rouge.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["pairs"].as_array().unwrap().clone()
}

fn parts(rouge: Rouge) -> [(&'static str, Score); 3] {
    [("rouge1", rouge.rouge1), ("rouge2", rouge.rouge2), ("rougeL", rouge.rouge_l)]
}

#[test]
fn equals_rouge_score() {
    let pairs = fixture();
    assert!(pairs.len() >= 20);
    for pair in &pairs {
        let (reference, candidate) = (pair["reference"].as_str().unwrap(), pair["candidate"].as_str().unwrap());
        for (kind, score) in parts(rouge::score(reference, candidate)) {
            let expected = &pair["nostem"][kind];
            for (name, got) in [("precision", score.precision), ("recall", score.recall), ("fmeasure", score.f1)] {
                let want = expected[name].as_f64().unwrap();
                assert!((got - want).abs() < 1e-9, "{kind} {name}: {got} instead of {want} for {reference:?}");
            }
        }
    }
}

#[test]
fn several_references() {
    let references = ["the cat sat", "a dog ran far away"];
    let [first, second] = references.map(|r| rouge::score(r, "the dog sat"));
    let best = rouge::score_multi(&references, "the dog sat", References::Best);
    assert_eq!((best.rouge1, best.rouge_l), (first.rouge1, first.rouge_l));
    assert!(first.rouge1.f1 > second.rouge1.f1);
    let mean = rouge::score_multi(&references, "the dog sat", References::Mean);
    assert_eq!(mean.rouge1.f1, (first.rouge1.f1 + second.rouge1.f1) / 2.0);
    assert_eq!(rouge::mean(&[first, second]), mean);
    assert_eq!(rouge::score_multi(&[] as &[&str], "x", References::Best), Rouge::default());
    assert_eq!(rouge::mean(&[]), Rouge::default());
}
