//! What a command will need in memory, reckoned from its files' headers and its settings before anything is loaded. What
//! the machine has, and what to do about it, is the door's.
//!
//! The activations are those that the graph of a forward pass keeps for its backward: counted in `model::t5` line by line.

use super::models::Precision;
use crate::io::adapter_config::AdapterConfig;
use crate::io::weights::Described;
use crate::model::config::T5Config;
use crate::model::may_be_compact;
use crate::model::roberta::RobertaConfig;
use crate::nn::weight::PIECE;
use crate::ppo::config::PpoConfig;

/// The program itself, its tokenizers and data, and what an allocator keeps back.
const PROGRAM: u64 = 100 << 20;
/// Tokens of the longest prompt, where it is not known: the lab's dialogues have at most 1000 characters.
pub const PROMPT: u64 = 360;
/// Bytes of an f32.
const F32: u64 = 4;

/// One thing in memory.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Part {
    pub what: String,
    pub bytes: u64,
}

/// What lies in memory all along, and what comes and goes: only the largest of these counts.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Forecast {
    pub held: Vec<Part>,
    pub phases: Vec<Part>,
}

impl Forecast {
    /// Only the program.
    pub fn new() -> Self {
        let mut forecast = Self::default();
        forecast.hold("program and data", PROGRAM);
        forecast
    }

    /// Adds something that stays.
    pub fn hold(&mut self, what: impl Into<String>, bytes: u64) {
        self.held.push(Part { what: what.into(), bytes });
    }

    /// Adds something that comes and goes.
    pub fn phase(&mut self, what: impl Into<String>, bytes: u64) {
        self.phases.push(Part { what: what.into(), bytes });
    }

    /// The largest of what comes and goes.
    pub fn largest(&self) -> Option<&Part> {
        self.phases.iter().max_by_key(|part| part.bytes)
    }

    /// Bytes at the worst moment.
    pub fn peak(&self) -> u64 {
        self.held.iter().map(|part| part.bytes).sum::<u64>() + self.largest().map_or(0, |part| part.bytes)
    }

    /// A model's frozen weights, and the one tensor that is there in f32 as well while they are loaded.
    pub fn weights(&mut self, what: &str, tensors: &[Described], precision: Precision) {
        self.hold(format!("{what}'s weights as {}", precision.name()), held(tensors, precision));
        let largest = tensors.iter().map(|t| count(t) * F32).max().unwrap_or(0);
        if precision != Precision::F32 {
            self.hold(format!("a piece of {what} in f32 while it is multiplied"), PIECE as u64 * F32);
            self.phase(format!("one tensor of {what} in f32 while loading"), largest);
        }
    }
}

fn count(tensor: &Described) -> u64 {
    tensor.shape.iter().map(|dim| *dim as u64).product()
}

/// Bytes of a checkpoint's tensors as they are held.
pub fn held(tensors: &[Described], precision: Precision) -> u64 {
    let bytes = |t: &Described| match t.shape[..] {
        [rows, cols] if may_be_compact(&t.name, &t.shape) => precision.bytes(rows, cols) as u64,
        _ => count(t) * F32,
    };
    tensors.iter().map(bytes).sum()
}

/// A linear layer under an adapter: name, in, out, rank.
pub type Adapted = (String, u64, u64, u64);

/// The linear layers that an adapter stands over, from the base checkpoint's header.
pub fn adapted(config: &AdapterConfig, base: &[Described]) -> Vec<Adapted> {
    let module = |t: &Described| {
        let name = t.name.strip_suffix(".weight")?;
        let [rows, cols] = t.shape[..] else { return None };
        let linear = !["shared", "lm_head", "encoder.embed_tokens", "decoder.embed_tokens"].contains(&name);
        (linear && may_be_compact(&t.name, &t.shape) && config.targets(name))
            .then(|| (name.to_string(), cols as u64, rows as u64, config.rank_for(name) as u64))
    };
    base.iter().filter_map(module).collect()
}

/// Numbers of an adapter.
pub fn adapter_numbers(adapted: &[Adapted]) -> u64 {
    adapted.iter().map(|(_, input, output, rank)| rank * (input + output)).sum()
}

/// Bytes of the caches of `rows` rows that are generated at once: up to `new` tokens each after prompts of `prompt`.
pub fn cache(c: &T5Config, rows: u64, prompt: u64, new: u64) -> u64 {
    let keys_and_values = 2 * c.inner() as u64 * c.decoder_layers() as u64;
    let logits = 3 * rows * c.vocab_size as u64;
    (rows * (prompt + new) * keys_and_values + logits) * F32
}

/// Bytes that the forward pass of a PPO mini-batch, or of an adapter's fine-tuning, keeps on the tape for its backward
/// (`nn::tape`): of `rows` prompts of `prompt` tokens and responses of `response`. Where weights are frozen that is what norms,
/// attention, activations and adapters were given.
pub fn taped(c: &T5Config, adapted: &[Adapted], rows: u64, prompt: u64, response: u64) -> u64 {
    let (d, inner, ff) = (c.d_model as u64, c.inner() as u64, c.d_ff as u64);
    let (encoder, decoder) = (rows * prompt, rows * response);
    let own = 2 * d + 3 * inner; // before and after the norm; q, k, v
    let feed_forward = d + 2 * ff;
    let cross = 2 * d + inner;
    let blocks = c.num_layers as u64 * encoder * (own + feed_forward)
        + c.decoder_layers() as u64 * (decoder * (own + cross + feed_forward) + encoder * 2 * inner);
    // x, where it is not the norm's of an attention, and x Aᵀ, scaled or not
    let lora = adapted.iter().map(|(name, input, _, rank)| {
        let shared = ["q", "k", "v"].iter().any(|end| name.ends_with(&format!("Attention.{end}")));
        (2 * rank + if shared { 0 } else { *input }) * if of_prompt(name) { encoder } else { decoder }
    });
    let ends = d * (2 * encoder + 4 * decoder); // embeddings, last norms, the states that the head reads
    (blocks + lora.sum::<u64>() + ends + in_backward(c, encoder, decoder)) * F32
}

/// Numbers of gradients at one time: a few of the widest layers'.
fn in_backward(c: &T5Config, encoder: u64, decoder: u64) -> u64 {
    4 * encoder.max(decoder) * c.d_ff.max(c.inner()) as u64
}

/// Does this layer read the prompt's tokens?
fn of_prompt(name: &str) -> bool {
    name.starts_with("encoder.") || name.ends_with("EncDecAttention.k") || name.ends_with("EncDecAttention.v")
}

/// Bytes that a forward pass over `rows` rows keeps in candle's graph for its backward: prompts of `prompt` tokens, responses
/// of `response`.
pub fn graph(c: &T5Config, adapted: &[Adapted], rows: u64, prompt: u64, response: u64) -> u64 {
    let (d, inner, ff) = (c.d_model as u64, c.inner() as u64, c.d_ff as u64);
    let (encoder, decoder) = (rows * prompt, rows * response);
    // a self-attention: norm, q, k, v, both side by side, what they attend to, o, sum; a feed-forward layer: norm, two
    // halves, their product, wo, sum
    let own = 3 * d + 6 * inner;
    let feed_forward = 3 * d + 3 * ff;
    let cross_queries = 3 * d + 2 * inner;
    let cross_keys = 4 * inner; // of the prompt's tokens
    let blocks = c.num_layers as u64 * encoder * (own + feed_forward)
        + c.decoder_layers() as u64 * (decoder * (own + cross_queries + feed_forward) + encoder * cross_keys);
    // an adapter: x Aᵀ, scaled, times Bᵀ, the sum with the base's
    let lora = adapted
        .iter()
        .map(|(name, _, output, rank)| 2 * (rank + output) * if of_prompt(name) { encoder } else { decoder });
    let ends = d * (2 * encoder + 4 * decoder); // as on the tape
    (blocks + lora.sum::<u64>() + ends + in_backward(c, encoder, decoder)) * F32
}

/// Bytes of scoring `rows` rows of `tokens` tokens: one layer at a time.
pub fn scoring(c: &RobertaConfig, rows: u64, tokens: u64) -> u64 {
    let tokens = rows * tokens.min(c.limit() as u64);
    tokens * (8 * c.hidden_size as u64 + 2 * c.intermediate_size as u64) * F32
}

/// Adds what generating `rows` rows of up to `new` tokens takes.
pub fn generation(forecast: &mut Forecast, policy: &T5Config, rows: u64, new: u64) {
    forecast.phase(format!("generating {rows} rows of up to {new} tokens"), cache(policy, rows, PROMPT, new));
}

/// Adds what PPO steps take besides the weights: generation, a mini-batch forward and backward; the adapter with its copy
/// for the KL, its gradients and Adam's two moments.
pub fn ppo(forecast: &mut Forecast, policy: &T5Config, adapted: &[Adapted], config: &PpoConfig) {
    let new = config.rollout.output_max_length.saturating_sub(1).max(1) as u64;
    let rows = config.mini_batch_size.min(config.batch_size) as u64;
    forecast.hold("the adapter, its first state, gradients and Adam's moments", 5 * adapter_numbers(adapted) * F32);
    generation(forecast, policy, config.batch_size as u64, new);
    forecast.phase(
        format!("forward and backward of {rows} rows of {PROMPT} + {new} tokens"),
        taped(policy, adapted, rows, PROMPT, new),
    );
}

/// Adds what fine-tuning takes besides the weights, in batches of (rows, source tokens, target tokens): of an adapter, or
/// (none) of every parameter.
pub fn finetune(
    forecast: &mut Forecast,
    policy: &T5Config,
    base: &[Described],
    adapter: Option<&AdapterConfig>,
    (rows, source, target): (u64, u64, u64),
) {
    let adapted = adapter.map(|config| adapted(config, base)).unwrap_or_default();
    match adapter {
        Some(_) => forecast.hold("the adapter, its gradients and Adam's moments", 4 * adapter_numbers(&adapted) * F32),
        None => forecast.hold("gradients and Adam's moments of every parameter", 3 * held(base, Precision::F32)),
    }
    forecast.phase(
        format!("forward and backward of {rows} pairs of up to {source} + {target} tokens"),
        match adapter {
            Some(_) => taped(policy, &adapted, rows, source, target),
            None => graph(policy, &adapted, rows, source, target),
        },
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::io::dtype::Dtype;

    fn described(name: &str, shape: &[usize]) -> Described {
        Described { name: name.into(), shape: shape.to_vec(), dtype: Dtype::F16 }
    }

    #[test]
    fn weights_are_counted_as_they_are_held_whatever_the_file_stores() {
        let tensors = [
            described("shared.weight", &[100, 64]),
            described("encoder.block.0.layer.0.SelfAttention.q.weight", &[64, 64]),
            described("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 4]),
            described("encoder.block.0.layer.0.layer_norm.weight", &[64]),
        ];
        let matrices = 164 * 64;
        let small = (32 * 4 + 64) * 4;
        for (precision, bytes) in
            [(Precision::F32, matrices * 4), (Precision::Bf16, matrices * 2), (Precision::Q8_0, matrices / 32 * 34)]
        {
            assert_eq!(held(&tensors, precision), bytes + small, "{precision:?}");
        }
        let config = AdapterConfig::new(8, 8.0, 0.0, &["q"], "base").unwrap();
        let adapted = adapted(&config, &tensors);
        assert_eq!(adapted, [("encoder.block.0.layer.0.SelfAttention.q".to_string(), 64, 64, 8)]);
        assert_eq!(adapter_numbers(&adapted), 8 * 128);
    }

    #[test]
    fn only_the_largest_of_what_comes_and_goes_counts() {
        let mut forecast = Forecast::new();
        forecast.hold("a", 5);
        forecast.phase("b", 7);
        forecast.phase("c", 9);
        assert_eq!(forecast.peak(), PROGRAM + 14);
        assert_eq!(forecast.largest().unwrap().what, "c");
    }
}
