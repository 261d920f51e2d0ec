//! T5's encoder, T5's decoder and RoBERTa against candle-transformers, a second implementation that every clone can run. Its
//! decoder has one known fault, which the last test shows: it uses the encoder's relative position buckets.

use super::{roberta, t5};
use crate::support::{flat, golden, max_abs_diff, models};
use candle_core::{DType, Device, IndexOp, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::t5::{Config, T5EncoderModel, T5ForConditionalGeneration};
use candle_transformers::models::xlm_roberta::{Config as RobertaConfig, XLMRobertaForSequenceClassification};
use detox_lab::model::config::T5Config;
use detox_lab::model::reward::RewardModel;
use detox_lab::model::t5::{Pass, T5};
use detox_lab::nn::attention::Buckets;
use detox_lab::nn::params::Params;
use std::collections::HashMap;

const BIAS: &str = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";

/// Weights and configuration of the golden policy's base, or of the one whose inner width is not d_model.
fn base(name: &str) -> (HashMap<String, Tensor>, Vec<u8>) {
    let folder = golden().join(name);
    (models::model_tensors(&folder), std::fs::read(folder.join("config.json")).unwrap())
}

fn builder(tensors: HashMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn ours(tensors: HashMap<String, Tensor>, config: &[u8]) -> T5 {
    T5::load(T5Config::from_json("config.json", config).unwrap(), &Params::frozen(tensors)).unwrap()
}

fn batch(row: &[u32]) -> Result<Tensor> {
    Tensor::new(row, &Device::Cpu)?.unsqueeze(0)
}

#[test]
fn the_encoder_equals_theirs() {
    let meta = t5::json(&golden().join("t5_forward.json"));
    let mut queries = t5::rows(&meta["queries"]);
    queries.push(t5::ids(&meta["long_query"])); // 220 tokens: every bucket
    for name in ["policy_base", "policy_base_nonsquare"] {
        let (tensors, config) = base(name);
        let ours = ours(tensors.clone(), &config);
        let config: Config = serde_json::from_slice(&config).unwrap();
        let mut theirs = T5EncoderModel::load(builder(tensors), &config).unwrap();
        for query in &queries {
            let (hidden, _, _) = &t5::forward(&ours, std::slice::from_ref(query), &[vec![0, 5]], Pass::default())[0];
            let want = theirs.forward(&batch(query).unwrap()).unwrap();
            let diff = max_abs_diff(&flat(hidden), &flat(&want));
            assert!(diff < 3e-5, "{name}, {} tokens: {diff:e}", query.len());
        }
    }
}

#[test]
fn roberta_equals_theirs() {
    let folder = golden().join("roberta");
    let (tensors, config) = roberta::folder(&folder);
    let sequences = roberta::rows(&roberta::json(&golden().join("roberta_forward.json"))["sequences"]);
    let theirs: RobertaConfig = serde_json::from_str(&config).unwrap();
    let theirs = XLMRobertaForSequenceClassification::new(2, &theirs, builder(tensors.clone())).unwrap();
    let ours = RewardModel::load(&Params::frozen(tensors), &config).unwrap();
    for (scored, row) in roberta::score(&ours, &sequences).iter().zip(&sequences) {
        let ids = batch(row).unwrap();
        let (attended, kind) = (ids.ones_like().unwrap(), ids.zeros_like().unwrap());
        let want = flat(&theirs.forward(&ids, &attended, &kind).unwrap());
        let diff = max_abs_diff(&[scored.logits.nothate, scored.logits.hate], &want);
        assert!(diff < 2e-6, "{} tokens: {diff:e}", row.len());
    }
}

/// Logits after each of the first `n` response tokens, theirs.
fn their_logits(tensors: &HashMap<String, Tensor>, config: &[u8], query: &[u32], response: &[u32]) -> Vec<Vec<f32>> {
    let config: Config = serde_json::from_slice(config).unwrap();
    let mut model = T5ForConditionalGeneration::load(builder(tensors.clone()), &config).unwrap();
    let encoded = model.encode(&batch(query).unwrap()).unwrap();
    (1..=response.len())
        .map(|n| {
            model.clear_kv_cache();
            flat(&model.decode(&batch(&response[..n]).unwrap(), &encoded).unwrap())
        })
        .collect()
}

/// Up to distance 8, encoder and decoder use the same buckets, and both implementations agree. Beyond it, theirs uses the
/// encoder's buckets: with the biases of *those*, our decoder computes their logits.
#[test]
fn their_decoder_uses_the_encoder_s_buckets() {
    let (mut tensors, config) = base("policy_base");
    let meta = t5::json(&golden().join("t5_forward.json"));
    let (query, response) = (t5::ids(&meta["long_query"]), t5::ids(&meta["long_response"])[..16].to_vec());
    let want = their_logits(&tensors, &config, &query, &response);
    let gaps = |model: &T5| -> Vec<f32> {
        let (_, _, logits) =
            &t5::forward(model, std::slice::from_ref(&query), std::slice::from_ref(&response), Pass::default())[0];
        (0..16).map(|i| max_abs_diff(&flat(&logits.i(i).unwrap()), &want[i])).collect()
    };

    let gap = gaps(&ours(tensors.clone(), &config));
    assert!(gap[..9].iter().all(|gap| *gap < 3e-5), "up to distance 8: {gap:?}");
    assert!(gap[9..].iter().all(|gap| *gap > 1e-3), "beyond: {gap:?}");

    // our decoder has a bucket for each distance up to 15: put the biases of their buckets there
    let theirs = Buckets { count: 32, max_distance: 128, bidirectional: true };
    let rows: Vec<u32> = (0..32).map(|d| theirs.of(-d) as u32).collect();
    let bias = tensors[BIAS].index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap();
    tensors.insert(BIAS.into(), bias);
    let gap = gaps(&ours(tensors, &config));
    assert!(gap.iter().all(|gap| *gap < 3e-5), "with their buckets: {gap:?}");
}
