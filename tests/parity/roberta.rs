//! RoBERTa and the reward model: transformers' logits, labels by name, rows that do not depend on their batch, and a
//! gradient for every parameter.

use crate::support::{fixtures, flat, golden, gradients, max_abs_diff};
use candle_core::{Device, Tensor};
use detox_lab::model::reward::{Labels, RewardModel, ScoreOptions, Scored};
use detox_lab::model::roberta::{Roberta, RobertaConfig, position_ids};
use detox_lab::nn::params::Params;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape::VarGradients;
use detox_lab::pace::{NonStop, Pace, block_on};
use detox_lab::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

type Tensors = HashMap<String, Tensor>;

pub fn folder(path: &Path) -> (Tensors, String) {
    let tensors = candle_core::safetensors::load(path.join("model.safetensors"), &Device::Cpu).unwrap();
    (tensors, std::fs::read_to_string(path.join("config.json")).unwrap())
}

/// The small reference checkpoint with labels in the opposite order: 0 hate, 1 nothate.
fn small() -> (Tensors, String) {
    folder(&fixtures().join("roberta_small"))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn rows(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value::<Vec<Vec<f32>>>(value.clone()).unwrap().concat()
}

fn score_with(model: &RewardModel, rows: &[Vec<u32>], options: ScoreOptions) -> Result<Vec<Scored>> {
    block_on(model.score(rows, options, &mut NonStop))
}

pub fn score(model: &RewardModel, rows: &[Vec<u32>]) -> Vec<Scored> {
    score_with(model, rows, ScoreOptions::default()).unwrap()
}

fn refusal(model: &RewardModel, rows: &[Vec<u32>], truncate: bool) -> String {
    score_with(model, rows, ScoreOptions { truncate, ..ScoreOptions::default() }).unwrap_err().to_string()
}

fn edited(config: &str, key: &str, value: Value) -> String {
    let mut config: Value = serde_json::from_str(config).unwrap();
    config[key] = value;
    config.to_string()
}

#[test]
fn golden_logits_probabilities_and_the_lab_s_reward() {
    let golden = golden();
    let (tensors, config) = folder(&golden.join("roberta"));
    let expected = json(&golden.join("roberta_forward.json"));
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let sequences = rows(&expected["sequences"]);

    let scored = score(&model, &sequences);
    let logits: Vec<f32> = scored.iter().flat_map(|s| [s.logits.nothate, s.logits.hate]).collect();
    for key in ["logits_padded_batch", "logits_single"] {
        let gap = max_abs_diff(&logits, &numbers(&expected[key]));
        assert!(gap <= 2e-6, "{key}: {gap:e}");
    }
    let probabilities: Vec<f32> = scored.iter().flat_map(|s| [s.probabilities.nothate, s.probabilities.hate]).collect();
    assert!(max_abs_diff(&probabilities, &numbers(&expected["probs"])) <= 1e-6);
    let column = |key: &str| serde_json::from_value::<Vec<f32>>(expected[key].clone()).unwrap();
    let of = |f: &dyn Fn(&Scored) -> f32| scored.iter().map(f).collect::<Vec<_>>();
    assert!(max_abs_diff(&of(&|s| s.score), &column("nothate_logit")) <= 2e-6);
    assert!(max_abs_diff(&of(&|s| s.lab_reward()), &column("lab_reward_index0_of_sorted")) <= 2e-6);
    assert_eq!(of(&|s| s.toxicity), of(&|s| s.probabilities.hate));
}

#[test]
fn golden_position_ids() {
    let expected = json(&golden().join("roberta_forward.json"));
    for (ids, positions) in rows(&expected["input_ids"]).iter().zip(rows(&expected["position_ids"])) {
        assert_eq!(position_ids(ids, 1), positions);
    }
}

#[test]
fn a_pad_inside_the_text_has_the_pad_s_position_and_does_not_count() {
    assert_eq!(position_ids(&[0, 9, 1, 8, 1, 1, 2], 1), [2, 3, 1, 4, 1, 1, 5]);
    assert_eq!(position_ids(&[], 1), [0; 0]);
}

#[test]
fn labels_are_read_by_name_and_rows_fill_the_model() {
    let (tensors, config) = small();
    let expected = json(&fixtures().join("roberta_small.json"));
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let scored = score(&model, &rows(&expected["sequences"])); // row 1 has the model's maximum length
    let logits: Vec<f32> = scored.iter().flat_map(|s| [s.logits.hate, s.logits.nothate]).collect(); // column 0: hate
    for key in ["logits", "logits_single"] {
        let gap = max_abs_diff(&logits, &numbers(&expected[key]));
        assert!(gap <= 2e-6, "{key}: {gap:e}");
    }
    let hate: Vec<f32> = numbers(&expected["probs"]).chunks(2).map(|p| p[0]).collect();
    assert!(max_abs_diff(&scored.iter().map(|s| s.toxicity).collect::<Vec<_>>(), &hate) <= 1e-6);
    for s in &scored {
        assert_eq!(s.score, s.logits.nothate);
        assert!((s.probabilities.hate + s.probabilities.nothate - 1.0).abs() < 1e-6);
    }
}

#[test]
fn other_labels_are_refused_unless_they_are_named() {
    let (tensors, config) = small();
    let params = Params::frozen(tensors);
    let load = |labels: Value| RewardModel::load(&params, &edited(&config, "id2label", labels)).map(|_| ());
    load(serde_json::json!({"0": "Hate", "1": "NotHate"})).unwrap(); // case does not matter

    let wrong = load(serde_json::json!({"0": "LABEL_0", "1": "LABEL_1"})).unwrap_err().to_string();
    assert!(wrong.contains("LABEL_0") && wrong.contains("LABEL_1") && wrong.contains("nothate"), "{wrong}");
    assert!(load(serde_json::json!({"0": "hate", "1": "nothate", "2": "other"})).is_err());
    assert!(load(serde_json::json!({"0": "hate", "2": "nothate"})).unwrap_err().to_string().contains("id2label"));
    assert!(load(serde_json::json!({"0": "hate", "1": "hate"})).is_err());

    let unnamed = edited(&config, "id2label", serde_json::json!({"0": "LABEL_0", "1": "LABEL_1"}));
    let named = |nothate, hate| {
        let labels: Labels = format!("{nothate},{hate}").parse().unwrap();
        RewardModel::load_with_labels(&params, &unnamed, Some(&labels))
    };
    let usual = score(&RewardModel::load(&params, &config).unwrap(), &[vec![0, 9, 2]]);
    assert_eq!(score(&named("LABEL_1", "LABEL_0").unwrap(), &[vec![0, 9, 2]]), usual);
    let turned = score(&named("LABEL_0", "LABEL_1").unwrap(), &[vec![0, 9, 2]]);
    assert_eq!((turned[0].score, turned[0].toxicity), (usual[0].logits.hate, usual[0].probabilities.nothate));
    assert!(named("LABEL_0", "LABEL_0").is_err());
    assert!(named("label_1", " label_0").is_ok(), "case and a space after the comma do not matter");
    assert!("hate".parse::<Labels>().is_err() && ",hate".parse::<Labels>().is_err());
}

#[test]
fn usual_spellings_are_accepted_and_others_are_answered_with_the_option() {
    let (tensors, config) = small();
    let params = Params::frozen(tensors);
    let load = |first: &str, second: &str| {
        let labels = serde_json::json!({"0": first, "1": second});
        RewardModel::load(&params, &edited(&config, "id2label", labels))
    };
    for (hate, nothate) in [("hate", "not-hate"), ("HATE", "NON_HATE"), ("Hateful", "not hateful"), ("hate", "NoHate")]
    {
        assert_eq!(load(hate, nothate).unwrap().nothate_column(), 1, "{nothate}");
        assert_eq!(load(nothate, hate).unwrap().label_names(), [nothate, hate]);
    }
    let refused = |first, second| load(first, second).map(drop).unwrap_err().to_string();
    assert!(refused("neutral", "toxic").contains("--reward-labels neutral,toxic"));
    assert!(refused("not toxic", "toxic").contains("--reward-labels 'not toxic,toxic'"));
    let three = edited(&config, "id2label", serde_json::json!({"0": "a", "1": "b", "2": "c"}));
    assert!(RewardModel::load(&params, &three).map(drop).unwrap_err().to_string().contains("3 labels (a, b, c)"));
}

#[test]
fn a_row_s_numbers_do_not_depend_on_its_batch() {
    let (tensors, config) = small();
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let mut rng = Rng::new(5, Purpose::Init, 0, 0);
    let row = |rng: &mut Rng| {
        let middle = (0..rng.below(0, 36)).map(|_| rng.below(3, 100) as u32).collect::<Vec<_>>();
        [&[0], middle.as_slice(), &[2]].concat()
    };
    let rows: Vec<Vec<u32>> = (0..23).map(|_| row(&mut rng)).collect();
    let logits = |scored: &[Scored]| scored.iter().flat_map(|s| [s.logits.nothate, s.logits.hate]).collect::<Vec<_>>();
    let alone: Vec<Scored> = rows.iter().flat_map(|row| score(&model, std::slice::from_ref(row))).collect();
    for batch_size in [1, 2, 5, 16, 100] {
        let order = rng.permutation(rows.len());
        let shuffled: Vec<Vec<u32>> = order.iter().map(|&i| rows[i].clone()).collect();
        let options = ScoreOptions { batch_size, ..ScoreOptions::default() };
        let scored = score_with(&model, &shuffled, options).unwrap();
        let expected: Vec<Scored> = order.iter().map(|&i| alone[i]).collect();
        let (scored, expected) = (logits(&scored), logits(&expected));
        let gap = max_abs_diff(&scored, &expected);
        assert!(gap <= 1e-6, "batches of {batch_size}: {gap:e}");
    }
    assert_eq!(score(&model, &[]), []);
}

#[test]
fn long_rows_are_cut_as_transformers_does_or_refused() {
    let (tensors, config) = small();
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let limit = model.classifier().config().limit();
    assert_eq!(limit, 38);
    let long: Vec<u32> = [vec![0], (0..60).map(|i| 3 + i).collect(), vec![2]].concat();
    let cut = [&long[..37], &[2]].concat();
    let batch = vec![vec![0, 5, 2], long.clone()];
    assert_eq!(score(&model, &batch)[1], score(&model, &[cut])[0]);

    let message = refusal(&model, &batch, false);
    assert!(message.contains("row 2") && message.contains("62") && message.contains("38"), "{message}");
}

#[test]
fn bad_rows_and_bad_weights_are_named() {
    let (tensors, config) = small();
    let model = RewardModel::load(&Params::frozen(tensors.clone()), &config).unwrap();
    let fine = vec![0, 5, 6, 7, 2];
    assert!(refusal(&model, &[fine.clone(), vec![]], true).contains("row 2 has no ids"));
    let message = refusal(&model, &[fine.clone(), vec![0, 100, 2]], true);
    assert!(message.contains("row 2") && message.contains("100") && message.contains("99"), "{message}");
    let none_a_time = ScoreOptions { batch_size: 0, truncate: true };
    assert!(score_with(&model, std::slice::from_ref(&fine), none_a_time).is_err());

    // NaN for one word: the error names the row with it, although the longest row is scored first
    let mut broken = tensors.clone();
    let words = broken.get_mut("roberta.embeddings.word_embeddings.weight").unwrap();
    let mut table = words.to_vec2::<f32>().unwrap();
    table[42][0] = f32::NAN;
    *words = Tensor::new(table, &Device::Cpu).unwrap();
    let model = RewardModel::load(&Params::frozen(broken), &config).unwrap();
    let message = refusal(&model, &[vec![0, 2], fine.clone(), vec![0, 42, 2]], true);
    assert!(message.contains("row 3") && message.contains("not finite"), "{message}");

    let mut without = tensors.clone();
    without.remove("classifier.dense.bias");
    let error = RewardModel::load(&Params::frozen(without), &config).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("classifier.dense.bias"), "{error}");
    let wide = edited(&config, "vocab_size", 101.into());
    let error = RewardModel::load(&Params::frozen(tensors), &wide).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Shape { tensor, .. } if tensor.contains("word_embeddings")), "{error}");
}

#[test]
fn extra_tensors_are_ignored() {
    let (mut tensors, config) = small();
    let expected = score(&RewardModel::load(&Params::frozen(tensors.clone()), &config).unwrap(), &[vec![0, 9, 2]]);
    let extra = Tensor::zeros((1, 40), candle_core::DType::I64, &Device::Cpu).unwrap();
    for name in ["roberta.embeddings.position_ids", "roberta.pooler.dense.weight", "lm_head.bias"] {
        tensors.insert(name.into(), extra.clone());
    }
    assert_eq!(score(&RewardModel::load(&Params::frozen(tensors), &config).unwrap(), &[vec![0, 9, 2]]), expected);
}

#[test]
fn other_configurations_are_refused() {
    let (_, config) = small();
    RobertaConfig::from_json(&config).unwrap();
    for (key, value, word) in [
        ("model_type", Value::from("bert"), "bert"),
        ("hidden_act", "relu".into(), "relu"),
        ("position_embedding_type", "relative_key".into(), "relative_key"),
        ("num_attention_heads", 3.into(), "3 heads"),
        ("num_attention_heads", 0.into(), "0 heads"),
        ("num_hidden_layers", 0.into(), "num_hidden_layers"),
        ("max_position_embeddings", 2.into(), "max_position_embeddings"),
        ("hidden_size", "wide".into(), "wide"),
    ] {
        let message = RobertaConfig::from_json(&edited(&config, key, value)).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("try:"), "{key}: {message}");
    }
    assert!(RobertaConfig::from_json("{").is_err());
}

#[test]
fn parameters_are_counted() {
    let (tensors, config) = small();
    let held: usize = tensors.values().map(|t| t.elem_count()).sum();
    assert_eq!(RewardModel::load(&Params::frozen(tensors), &config).unwrap().parameter_count(), held);

    let mut base = RobertaConfig::from_json(&config).unwrap();
    (base.vocab_size, base.max_position_embeddings) = (50265, 514);
    (base.hidden_size, base.intermediate_size, base.num_hidden_layers) = (768, 3072, 12);
    assert_eq!(base.parameter_count(), 124_647_170); // transformers' num_parameters() of roberta-base with two labels
}

/// Stops at the given pause.
struct StopAt(usize);

impl Pace for StopAt {
    async fn pause(&mut self) -> Result<()> {
        self.0 -= 1;
        if self.0 == 0 { Err(Error::Stopped) } else { Ok(()) }
    }
}

#[test]
fn scoring_pauses_after_every_layer_and_stops_when_asked() {
    let (tensors, config) = small();
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let rows = vec![vec![0, 5, 2]; 5];
    let options = ScoreOptions { batch_size: 2, truncate: true };
    let run = |stop: usize| block_on(model.score(&rows, options, &mut StopAt(stop)));
    assert!(matches!(run(6), Err(Error::Stopped))); // three batches of two layers
    assert_eq!(run(7).unwrap().len(), 5);
}

#[test]
fn attribution_is_the_change_of_the_score_without_a_span() {
    let (tensors, config) = small();
    let model = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    let ids = [0, 11, 12, 13, 14, 2];
    let run = |spans: &[(usize, usize)]| {
        let spans: Vec<_> = spans.iter().map(|&(start, end)| start..end).collect();
        block_on(model.attribution(&ids, &spans, 2, &mut NonStop))
    };
    let changes = run(&[(1, 2), (2, 5), (3, 3)]).unwrap();
    let score = |row: &[u32]| score(&model, &[row.to_vec()])[0].score;
    let whole = score(&ids);
    let expected = [score(&[0, 12, 13, 14, 2]) - whole, score(&[0, 11, 2]) - whole, 0.0];
    assert!(max_abs_diff(&changes, &expected) <= 2e-6);
    assert!(run(&[(4, 7)]).is_err() && run(&[(0, 6)]).is_err());
    assert_eq!(run(&[]).unwrap(), [0.0; 0]);
}

/// Rows of a training batch: different lengths, and one with a pad inside.
const BATCH: [&[u32]; 3] = [&[0, 17, 33, 5, 2], &[0, 2], &[0, 8, 1, 17, 60, 9, 2, 2]];

/// A loss with different weights for all logits.
fn loss(tensors: &Tensors, config: &str) -> (Tensor, Params) {
    let params = Params::trainable(tensors.clone());
    let model = Roberta::load(&params, RobertaConfig::from_json(config).unwrap()).unwrap();
    let logits = model.logits(&BATCH, None).unwrap(); // (3, 2)
    let weights = Tensor::new(&[[1f32, -0.5], [0.7, 0.3], [-1.1, 0.9]], &Device::Cpu).unwrap();
    ((logits * weights).unwrap().sum_all().unwrap(), params)
}

/// The gradients of [`loss`], and the parameters.
fn loss_gradients(tensors: &Tensors, config: &str) -> (VarGradients, Params) {
    let mut params = None;
    let found = gradients(|| {
        let (out, trained) = loss(tensors, config);
        params = Some(trained);
        out
    });
    (found, params.unwrap())
}

#[test]
fn every_parameter_gets_the_right_gradient() {
    let (tensors, config) = small();
    let (found, params) = loss_gradients(&tensors, &config);
    let vars = params.vars();
    assert_eq!(vars.len(), tensors.len());
    for (name, var) in &vars {
        let gradient = flat(found.get(var).unwrap_or_else(|| panic!("no gradient for {name}")));
        let largest = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
        if name.ends_with("key.bias") {
            // softmax removes a number that is added to all scores of a query
            assert!(gradient[largest].abs() < 1e-5, "{name}: {}", gradient[largest]);
            continue;
        }
        let moved = |by: f32| {
            let mut numbers = flat(var);
            numbers[largest] += by;
            let mut tensors = tensors.clone();
            tensors.insert(name.clone(), Tensor::from_vec(numbers, var.shape(), &Device::Cpu).unwrap());
            loss(&tensors, &config).0.to_scalar::<f32>().unwrap()
        };
        let h = 4e-3;
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        let gap = (gradient[largest] - slope).abs();
        assert!(gradient[largest].abs() > 1e-3, "{name}: the gradient vanishes");
        assert!(gap <= 5e-3 * slope.abs() + 1e-3, "{name}[{largest}]: {} but slope {slope}", gradient[largest]);
    }
}

#[test]
fn the_pad_s_rows_are_not_trained() {
    let (tensors, config) = small();
    let (found, params) = loss_gradients(&tensors, &config);
    for (name, var) in params
        .vars()
        .iter()
        .filter(|(name, _)| name.contains("word_embeddings") || name.contains("position_embeddings"))
    {
        let rows = found.get(var).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows[1].iter().all(|g| *g == 0.0), "{name}: torch's padding_idx row gets no gradient");
        assert!(rows[2].iter().any(|g| *g != 0.0));
    }
}

#[test]
fn dropout_is_seeded_and_only_for_training() {
    let (tensors, config) = small();
    let model = |config: &str| {
        Roberta::load(&Params::frozen(tensors.clone()), RobertaConfig::from_json(config).unwrap()).unwrap()
    };
    let usual = model(&config);
    let logits = |model: &Roberta, seed: Option<u64>| {
        let mut rng = seed.map(|seed| Rng::new(seed, Purpose::Dropout, 0, 0));
        flat(&model.logits(&BATCH, rng.as_mut()).unwrap())
    };
    assert_eq!(logits(&usual, None), logits(&usual, None));
    assert_eq!(logits(&usual, Some(1)), logits(&usual, Some(1)));
    assert_ne!(logits(&usual, Some(1)), logits(&usual, Some(2)));
    assert_ne!(logits(&usual, Some(1)), logits(&usual, None));
    let off = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        .iter()
        .fold(config.clone(), |config, key| edited(&config, key, 0.0.into()));
    assert_eq!(logits(&model(&off), Some(1)), logits(&usual, None));
    let head_only = edited(&off, "classifier_dropout", 0.5.into());
    assert_ne!(logits(&model(&head_only), Some(1)), logits(&usual, None));
    assert!(usual.logits(&[], None).is_err());
}

#[test]
fn a_frozen_model_builds_no_graph() {
    let (tensors, config) = small();
    let model = Roberta::load(&Params::frozen(tensors), RobertaConfig::from_json(&config).unwrap()).unwrap();
    assert!(!model.logits(&BATCH, None).unwrap().track_op());
}
