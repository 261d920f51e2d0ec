//! New weights for a configuration, initialised as in transformers, by checkpoint name: exactly the tensors that `T5::load` and
//! `Roberta::load` use.

use crate::error::Result;
use crate::kernels::pool::for_tasks;
use crate::model::config::{FeedForward, T5Config};
use crate::model::roberta::RobertaConfig;
use crate::nn::rng::{Purpose, Rng};
use candle_core::{Device, Tensor};
use std::collections::HashMap;

/// How a tensor is initialised.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Constant(f32),
    /// Normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// The same, but with zeros in one row, the embedding of padding.
    NormalBut(f64, u32),
}

/// Name, shape, initialisation.
type Spec = (String, Vec<usize>, Start);

/// T5's weights, f32 (transformers modeling_t5.py, `_init_weights`): embeddings have standard deviation 1, projections are
/// scaled by their input width, so that attention needs no 1/√d; all times `initializer_factor`.
///
/// A separate head has T5X's standard deviation d^-½ (network.py, `logits_dense`; with transformers' 1, the first loss is more
/// than twice that of guessing). It starts as the embeddings over √d, so that the model learns to copy names sooner.
pub fn t5(config: &T5Config, seed: u64) -> Result<HashMap<String, Tensor>> {
    let mut weights = draw(t5_specs(config)?, seed)?;
    let own = !config.tie_word_embeddings || !config.scales();
    if own && let Some(shared) = weights.get("shared.weight") {
        let head = (shared / (config.d_model as f64).sqrt())?;
        weights.insert("lm_head.weight".into(), head);
    }
    Ok(weights)
}

/// Initial bias, in logits, with which a head of [`mimetic`] attends to a neighbouring token.
const LOOK: f32 = 4.0;

/// Initialises weights similar to trained ones (Trockman & Kolter 2023, "Mimetic initialization of self-attention layers"), so
/// that models learn to copy from few examples: attention copies its input (o = vᵀ), cross-attention attends to the decoder's
/// tokens in the input (q ∥ k), and the first heads attend to the previous and the next token (in the decoder: the previous
/// one).
pub fn mimetic(config: &T5Config, weights: &mut HashMap<String, Tensor>) -> Result<()> {
    let attentions: Vec<String> =
        weights.keys().filter_map(|name| name.strip_suffix(".q.weight")).map(str::to_string).collect();
    for at in attentions {
        if let Some(v) = weights.get(&format!("{at}.v.weight")) {
            let width = (config.d_model as f64 / config.inner() as f64).sqrt(); // keeps o's standard deviation
            let o = (v.t()?.contiguous()? * width)?;
            weights.insert(format!("{at}.o.weight"), o);
        }
        let cross = at.ends_with("EncDecAttention");
        if let Some(k) = weights.get(&format!("{at}.k.weight")).filter(|_| cross) {
            let q = (k / (config.d_kv as f64).sqrt())?;
            weights.insert(format!("{at}.q.weight"), q);
        }
    }
    for (stack, ahead) in [("encoder", true), ("decoder", false)] {
        let name = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        let Some(table) = weights.get(&name) else { continue };
        let (buckets, heads) = table.dims2()?;
        let mut biases = table.flatten_all()?.to_vec1::<f32>()?;
        let (back, next) = (1, buckets / 2 + 1); // T5's buckets of the relative positions -1 and 1
        for head in 0..heads * 2 / 3 {
            let bucket = if ahead && head % 2 == 1 { next } else { back };
            if ahead || head % 2 == 0 {
                biases[bucket * heads + head] += LOOK;
            }
        }
        weights.insert(name, Tensor::from_vec(biases, (buckets, heads), &Device::Cpu)?);
    }
    Ok(())
}

/// RoBERTa's weights, f32 (transformers modeling_roberta.py, `_init_weights`): normal with standard deviation
/// `initializer_range`; biases and the embeddings of padding are 0.
pub fn roberta(config: &RobertaConfig, seed: u64) -> Result<HashMap<String, Tensor>> {
    draw(roberta_specs(config), seed)
}

/// Samples each tensor from a separate random stream.
fn draw(specs: Vec<Spec>, seed: u64) -> Result<HashMap<String, Tensor>> {
    let numbers = for_tasks(specs.len(), |i| {
        let (_, shape, start) = &specs[i];
        let n = shape.iter().product();
        let mut rng = Rng::new(seed, Purpose::Init, 2, i as u64);
        let mut normal = |std: f64| (0..n).map(|_| (f64::from(rng.normal()) * std) as f32).collect::<Vec<f32>>();
        match *start {
            Start::Constant(value) => vec![value; n],
            Start::Normal(std) => normal(std),
            Start::NormalBut(std, row) => {
                let (mut numbers, width) = (normal(std), shape[1]);
                numbers.chunks_exact_mut(width).nth(row as usize).into_iter().for_each(|row| row.fill(0.0));
                numbers
            }
        }
    });
    let tensor = |((name, shape, _), numbers)| Ok((name, Tensor::from_vec(numbers, shape, &Device::Cpu)?));
    specs.into_iter().zip(numbers).map(tensor).collect()
}

fn t5_specs(c: &T5Config) -> Result<Vec<Spec>> {
    let (d, inner) = (c.d_model, c.inner());
    let normal = |scale: usize| Start::Normal(c.initializer_factor / (scale as f64).sqrt());
    let norm = |at: &str| (format!("{at}.weight"), vec![d], Start::Constant(c.initializer_factor as f32));
    let mut specs = vec![("shared.weight".to_string(), vec![c.vocab_size, d], normal(1))];
    let wi: &[&str] = if c.feed_forward()? == FeedForward::GatedGelu { &["wi_0", "wi_1"] } else { &["wi"] };
    for (stack, blocks, attentions) in [
        ("encoder", c.num_layers, ["SelfAttention"].as_slice()),
        ("decoder", c.decoder_layers(), ["SelfAttention", "EncDecAttention"].as_slice()),
    ] {
        let table = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        specs.push((table, vec![c.relative_attention_num_buckets, c.num_heads], normal(d)));
        specs.push(norm(&format!("{stack}.final_layer_norm")));
        for block in 0..blocks {
            let at = format!("{stack}.block.{block}.layer");
            let mut linear = |name: String, out: usize, input: usize, scale: usize| {
                specs.push((format!("{at}.{name}.weight"), vec![out, input], normal(scale)));
            };
            for (i, attention) in attentions.iter().enumerate() {
                linear(format!("{i}.{attention}.q"), inner, d, d * c.d_kv);
                linear(format!("{i}.{attention}.k"), inner, d, d);
                linear(format!("{i}.{attention}.v"), inner, d, d);
                linear(format!("{i}.{attention}.o"), d, inner, inner);
            }
            let last = attentions.len();
            wi.iter().for_each(|wi| linear(format!("{last}.DenseReluDense.{wi}"), c.d_ff, d, d));
            linear(format!("{last}.DenseReluDense.wo"), d, c.d_ff, c.d_ff);
            specs.extend((0..=last).map(|i| norm(&format!("{at}.{i}.layer_norm"))));
        }
    }
    Ok(specs)
}

fn roberta_specs(c: &RobertaConfig) -> Vec<Spec> {
    let (d, inner) = (c.hidden_size, c.intermediate_size);
    let std = c.initializer_range;
    let mut specs = Vec::new();
    for (table, rows, start) in [
        ("word", c.vocab_size, Start::NormalBut(std, c.pad_token_id)),
        ("position", c.max_position_embeddings, Start::NormalBut(std, c.pad_token_id)),
        ("token_type", c.type_vocab_size, Start::Normal(std)),
    ] {
        specs.push((format!("roberta.embeddings.{table}_embeddings.weight"), vec![rows, d], start));
    }
    let mut layer = |name: String, out: usize, weight: (Vec<usize>, Start)| {
        specs.push((format!("{name}.weight"), weight.0, weight.1));
        specs.push((format!("{name}.bias"), vec![out], Start::Constant(0.0)));
    };
    let linear = |out: usize, input: usize| (vec![out, input], Start::Normal(std));
    let norm = || (vec![d], Start::Constant(1.0));
    layer("roberta.embeddings.LayerNorm".into(), d, norm());
    for i in 0..c.num_hidden_layers {
        let at = format!("roberta.encoder.layer.{i}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            layer(format!("{at}.attention.{part}"), d, linear(d, d));
        }
        layer(format!("{at}.attention.output.LayerNorm"), d, norm());
        layer(format!("{at}.intermediate.dense"), inner, linear(inner, d));
        layer(format!("{at}.output.dense"), d, linear(d, inner));
        layer(format!("{at}.output.LayerNorm"), d, norm());
    }
    layer("classifier.dense".into(), d, linear(d, d));
    layer("classifier.out_proj".into(), c.id2label.len(), linear(c.id2label.len(), d));
    specs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::roberta::Roberta;
    use crate::model::t5::T5;
    use crate::nn::params::Params;

    fn t5_config(tied: bool, feed_forward: &str) -> T5Config {
        let json = serde_json::json!({
            "vocab_size": 500, "d_model": 96, "d_kv": 16, "d_ff": 160, "num_layers": 2, "num_decoder_layers": 3,
            "num_heads": 4, "feed_forward_proj": feed_forward, "tie_word_embeddings": tied, "initializer_factor": 0.5,
        });
        T5Config::from_json("config.json", json.to_string().as_bytes()).unwrap()
    }

    fn roberta_config() -> RobertaConfig {
        let json = serde_json::json!({
            "model_type": "roberta", "vocab_size": 300, "hidden_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 160, "max_position_embeddings": 130, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "hidden_act": "gelu", "id2label": {"0": "nothate", "1": "hate"},
        });
        RobertaConfig::from_json(&json.to_string()).unwrap()
    }

    /// (mean, standard deviation).
    fn moments(tensor: &Tensor) -> (f64, f64) {
        let x: Vec<f64> = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt())
    }

    /// Checks that `load` uses every tensor.
    fn taken_whole(tensors: &HashMap<String, Tensor>, load: impl FnOnce(&Params)) {
        let params = Params::trainable(tensors.clone());
        load(&params);
        let mut taken: Vec<String> = params.vars().into_iter().map(|(name, _)| name).collect();
        let mut made: Vec<String> = tensors.keys().cloned().collect();
        taken.sort();
        made.sort();
        assert_eq!(taken, made);
    }

    #[test]
    fn the_models_use_every_tensor_and_miss_none() {
        for (tied, feed_forward) in [(true, "relu"), (false, "gated-gelu")] {
            let config = t5_config(tied, feed_forward);
            taken_whole(&t5(&config, 1).unwrap(), |p| {
                let model = T5::load(config, p).unwrap();
                assert_eq!(model.parameters(), p.vars().iter().map(|(_, v)| v.elem_count()).sum::<usize>());
            });
        }
        let config = roberta_config();
        taken_whole(&roberta(&config, 1).unwrap(), |p| drop(Roberta::load(p, config).unwrap()));
    }

    #[test]
    fn mimetic_attention_copies_its_input_and_keeps_its_standard_deviations() {
        let config = t5_config(false, "gated-gelu");
        let plain = t5(&config, 7).unwrap();
        let mut weights = plain.clone();
        mimetic(&config, &mut weights).unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let deviation = |t: &Tensor| {
            let n = numbers(t);
            (n.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n.len() as f64).sqrt()
        };
        for (name, was) in &plain {
            let is = &weights[name];
            assert_eq!(is.shape(), was.shape(), "{name}");
            let changed = numbers(is) != numbers(was);
            let cross = name.contains("EncDecAttention");
            let expected = name.ends_with(".o.weight")
                || (cross && name.ends_with(".q.weight"))
                || name.ends_with("relative_attention_bias.weight");
            assert_eq!(changed, expected, "{name}");
            if changed && !name.ends_with("relative_attention_bias.weight") {
                let ratio = deviation(is) / deviation(was);
                assert!((ratio - 1.0).abs() < 0.1, "{name}: {ratio}");
            }
        }
        let table = &weights["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"];
        let table = table.to_vec2::<f32>().unwrap(); // (buckets, heads)
        let half = table.len() / 2;
        assert!(table[1][0] > 2.0 && table[half + 1][1] > 2.0 && table[1][1] < 2.0 && table[half + 1][0] < 2.0);
    }

    #[test]
    fn standard_deviations_equal_those_of_transformers() {
        // factor 0.5, d_model 96, d_kv 16, 4 heads, d_ff 160
        let weights = t5(&t5_config(false, "gated-gelu"), 7).unwrap();
        let rules: [(&str, f64); 10] = [
            ("shared.weight", 1.0),
            ("lm_head.weight", 96.0), // T5X's, not transformers'
            (".q.weight", 96.0 * 16.0),
            (".k.weight", 96.0),
            (".v.weight", 96.0),
            (".o.weight", 4.0 * 16.0),
            (".wi_0.weight", 96.0),
            (".wi_1.weight", 96.0),
            (".wo.weight", 160.0),
            ("relative_attention_bias.weight", 96.0),
        ];
        for (name, tensor) in &weights {
            if name.ends_with("layer_norm.weight") {
                assert_eq!(moments(tensor), (0.5, 0.0), "{name}");
                continue;
            }
            let rule = rules.iter().find(|(end, _)| name.ends_with(end)).unwrap();
            let want = 0.5 / rule.1.sqrt();
            let (mean, std) = moments(tensor);
            // 3 %, or four standard errors for the 128 numbers of a bias table
            let n = tensor.elem_count() as f64;
            assert!((std / want - 1.0).abs() < f64::max(0.03, 4.0 / (2.0 * n).sqrt()), "{name}: {std}, not {want}");
            assert!(mean.abs() < 4.0 * want / n.sqrt(), "{name}: mean {mean}");
        }
    }

    #[test]
    fn a_classifier_starts_with_zero_biases_and_a_zero_padding_row() {
        let weights = roberta(&roberta_config(), 7).unwrap();
        for (name, tensor) in &weights {
            let (mean, std) = moments(tensor);
            if name.ends_with("bias") {
                assert_eq!((mean, std), (0.0, 0.0), "{name}");
            } else if name.contains("LayerNorm") {
                assert_eq!((mean, std), (1.0, 0.0), "{name}");
            } else {
                let bound = f64::max(0.03, 4.0 / (2.0 * tensor.elem_count() as f64).sqrt());
                assert!((std / 0.02 - 1.0).abs() < bound, "{name}: {std}");
            }
        }
        for table in ["word", "position"] {
            let rows = weights[&format!("roberta.embeddings.{table}_embeddings.weight")].to_vec2::<f32>().unwrap();
            let zero: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].iter().all(|x| *x == 0.0)).collect();
            assert_eq!(zero, [1], "{table}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_weights() {
        let config = t5_config(true, "relu");
        let flat = |weights: &HashMap<String, Tensor>| {
            let mut names: Vec<&String> = weights.keys().collect();
            names.sort();
            let numbers = |n: &String| weights[n].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            names.into_iter().flat_map(numbers).collect::<Vec<f32>>()
        };
        let (a, b, c) = (t5(&config, 3).unwrap(), t5(&config, 3).unwrap(), t5(&config, 4).unwrap());
        assert_eq!(flat(&a), flat(&b));
        assert_ne!(flat(&a), flat(&c));
    }
}
