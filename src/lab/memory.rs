//! Forecasts the memory that a command needs, from the headers of its files and its settings, before anything is loaded. The
//! caller compares it with the machine's memory.
//!
//! Activations are those that the tape keeps for the backward pass, counted line by line in `model::t5`. Sizes are multiplied
//! as f64, because settings may be any numbers; products that are too large for u64 become its maximum.

use super::models::Precision;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::weights::Described;
use crate::kernels::matrix::PIECE;
use crate::kernels::pool::threads;
use crate::model::config::T5Config;
use crate::model::may_be_compact;
use crate::model::roberta::RobertaConfig;
use crate::settings::{PpoConfig, ScoredText};

/// The program, its tokenizers and data, and memory that the allocator keeps.
const PROGRAM: u64 = 100 << 20;
/// Bytes of an f32.
const F32: u64 = 4;
/// Maximum total number of tokens of the prompts that are encoded together, unless a single prompt has more.
const ENCODED: usize = crate::model::generate::ENCODE_TOKENS;

/// One use of memory.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MemoryPart {
    pub what: String,
    pub bytes: u64,
}

/// Memory that is held all the time, and memory of phases, of which only the largest counts.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Forecast {
    pub held: Vec<MemoryPart>,
    pub phases: Vec<MemoryPart>,
}

impl Forecast {
    /// The forecast for the program alone.
    pub fn new() -> Self {
        let mut forecast = Self::default();
        forecast.hold("program and data", PROGRAM);
        forecast
    }

    /// Adds memory that is held all the time.
    pub fn hold(&mut self, what: impl Into<String>, bytes: u64) {
        self.held.push(MemoryPart { what: what.into(), bytes });
    }

    /// Adds memory of a phase.
    pub fn phase(&mut self, what: impl Into<String>, bytes: u64) {
        self.phases.push(MemoryPart { what: what.into(), bytes });
    }

    /// The largest phase.
    pub fn largest(&self) -> Option<&MemoryPart> {
        self.phases.iter().max_by_key(|part| part.bytes)
    }

    /// Bytes needed at most.
    pub fn peak(&self) -> u64 {
        let held = self.held.iter().fold(0u64, |sum, part| sum.saturating_add(part.bytes));
        held.saturating_add(self.largest().map_or(0, |part| part.bytes))
    }

    /// Adds a model's frozen weights, and the largest tensor, which is also held in f32 while loading.
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

/// Bytes of a checkpoint's tensors in memory.
pub fn held(tensors: &[Described], precision: Precision) -> u64 {
    let bytes = |t: &Described| match t.shape[..] {
        [rows, cols] if may_be_compact(&t.name, &t.shape) => precision.bytes(rows, cols) as u64,
        _ => count(t) * F32,
    };
    tensors.iter().map(bytes).sum()
}

/// A linear layer under an adapter: name, in, out, rank.
pub type Adapted = (String, u64, u64, u64);

/// The linear layers that an adapter changes, from the base checkpoint's header.
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

/// Number of parameters of an adapter.
pub fn adapter_numbers(adapted: &[Adapted]) -> u64 {
    adapted.iter().map(|(_, input, output, rank)| *rank as f64 * (*input as f64 + *output as f64)).sum::<f64>() as u64
}

/// Bytes of this many f32.
fn f32s(numbers: f64) -> u64 {
    (numbers * F32 as f64) as u64
}

/// Tokens of the longest prompt and of the longest response in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: usize,
    pub response: usize,
}

/// Number of attention scores in memory at the same time, `copies` times: each thread has those of one head and row.
fn scores(c: &T5Config, rows: f64, queries: f64, keys: f64, copies: f64) -> f64 {
    let at_once = (threads() as f64).min(c.num_heads as f64 * rows);
    copies * at_once * queries * keys
}

/// Bytes for encoding `rows` prompts of up to `prompt` tokens, a few at a time.
pub fn encoding(c: &T5Config, rows: usize, prompt: usize) -> u64 {
    let (d, inner, ff) = (c.d_model as f64, c.inner() as f64, c.d_ff as f64);
    let together = (ENCODED / prompt.max(1)).clamp(1, rows.max(1)) as f64;
    let (rows, prompt) = (rows as f64, prompt as f64);
    // a layer's input, output and norm, with either q, k, v, their concatenation and the attention's output, or the parts of a
    // feed-forward layer
    let layer = 4.0 * d + (6.0 * inner).max(3.0 * ff);
    let kept = 2.0 * rows * prompt * d; // every prompt's hidden states, before and after concatenation
    f32s(together * prompt * layer + kept + scores(c, together, prompt, prompt, 1.0))
}

/// Bytes of the caches of `rows` rows that are generated together.
pub fn cache(c: &T5Config, rows: usize, tokens: Tokens) -> u64 {
    let (rows, prompt, new) = (rows as f64, tokens.prompt as f64, tokens.response as f64);
    let keys_and_values = 2.0 * c.inner() as f64 * c.decoder_layers() as f64;
    let logits = 3.0 * rows * c.vocab_size as f64;
    f32s(rows * (prompt + new) * keys_and_values + logits)
}

/// The parameters that are trained.
#[derive(Debug, Clone, Copy)]
pub enum TrainedWeights<'a> {
    /// An adapter for these layers.
    Adapter(&'a [Adapted]),
    /// Every parameter of the model.
    Everything,
}

/// Bytes that a forward pass of `rows` prompts and responses keeps on the tape for its backward pass (`nn::tape`): the inputs
/// of norms, attention, activations and adapters, and of linear layers if their weights are trained.
pub fn taped(c: &T5Config, trained: TrainedWeights<'_>, rows: usize, tokens: Tokens) -> u64 {
    let (d, inner, ff) = (c.d_model as f64, c.inner() as f64, c.d_ff as f64);
    let (encoder, decoder) = (rows as f64 * tokens.prompt as f64, rows as f64 * tokens.response as f64);
    let all = f64::from(u8::from(matches!(trained, TrainedWeights::Everything)));
    let own = 2.0 * d + (3.0 + all) * inner; // before and after the norm; q, k, v; o's input
    let feed_forward = (1.0 + all) * d + (2.0 + all) * ff; // inputs of wi and wo
    let cross = 2.0 * d + (1.0 + all) * inner;
    let blocks = c.num_layers as f64 * encoder * (own + feed_forward)
        + c.decoder_layers() as f64 * (decoder * (own + cross + feed_forward) + encoder * 2.0 * inner);
    let more = match trained {
        TrainedWeights::Adapter(adapted) => adapted.iter().map(|layer| lora(layer, encoder, decoder)).sum::<f64>(),
        // gradients of the embedding table from prompts and from responses, before they are added
        TrainedWeights::Everything => 2.0 * c.vocab_size as f64 * d,
    };
    let ends = d * (2.0 * encoder + 4.0 * decoder); // embeddings, last norms, the head's input
    f32s(blocks + more + ends + in_backward(c, rows, tokens))
}

/// Number of values kept for a layer's adapter: x, unless attention's norm keeps it, and x Aᵀ, scaled and unscaled.
fn lora((name, input, _, rank): &Adapted, encoder: f64, decoder: f64) -> f64 {
    let shared = ["q", "k", "v"].iter().any(|end| name.ends_with(&format!("Attention.{end}")));
    let numbers = 2.0 * *rank as f64 + if shared { 0.0 } else { *input as f64 };
    numbers * if of_prompt(name) { encoder } else { decoder }
}

/// Number of gradient values at the same time: a few of the widest layer's, and attention's probabilities with their gradients.
fn in_backward(c: &T5Config, rows: usize, tokens: Tokens) -> f64 {
    let longest = tokens.prompt.max(tokens.response) as f64;
    let wide = c.d_ff.max(c.inner()) as f64;
    4.0 * rows as f64 * longest * wide + scores(c, rows as f64, longest, longest, 2.0)
}

/// Whether this layer reads the prompt's tokens.
fn of_prompt(name: &str) -> bool {
    name.starts_with("encoder.") || name.ends_with("EncDecAttention.k") || name.ends_with("EncDecAttention.v")
}

/// Bytes for scoring `rows` rows of `tokens` tokens, layer by layer.
pub fn scoring(c: &RobertaConfig, rows: usize, tokens: usize) -> u64 {
    let tokens = rows as f64 * tokens.min(c.limit()) as f64;
    f32s(tokens * (8.0 * c.hidden_size as f64 + 2.0 * c.intermediate_size as f64))
}

/// Adds the memory for generating `rows` rows: encoding their prompts, then the decoder's caches.
pub fn generation(forecast: &mut Forecast, policy: &T5Config, rows: usize, tokens: Tokens) {
    let Tokens { prompt, response } = tokens;
    forecast.phase(format!("encoding prompts of up to {prompt} tokens"), encoding(policy, rows, prompt));
    forecast.phase(
        format!("generating {rows} rows of up to {response} tokens for prompts of up to {prompt}"),
        cache(policy, rows, tokens),
    );
}

/// Adds the memory of PPO steps besides the weights: generation, forward and backward of a mini-batch; the adapter with its
/// copy for the KL, its gradients and Adam's two moments.
pub fn ppo(forecast: &mut Forecast, policy: &T5Config, adapted: &[Adapted], config: &PpoConfig, tokens: Tokens) {
    let rows = config.mini_batch_size.min(config.batch_size);
    let numbers = adapter_numbers(adapted).saturating_mul(5 * F32);
    forecast.hold("the adapter, its copy at step 0, gradients and Adam's moments", numbers);
    generation(forecast, policy, config.batch_size, tokens);
    let Tokens { prompt, response } = tokens;
    forecast.phase(
        format!("forward and backward of {rows} rows of {prompt} + {response} tokens"),
        taped(policy, TrainedWeights::Adapter(adapted), rows, tokens),
    );
}

/// Adds the memory for the numbers of a given row: encoding its prompt, then decoding the whole response.
pub fn teacher_forced(forecast: &mut Forecast, c: &T5Config, tokens: Tokens) {
    let Tokens { prompt, response } = tokens;
    let (d, inner, ff) = (c.d_model as f64, c.inner() as f64, c.d_ff as f64);
    let (encoder, decoder) = (prompt as f64, response as f64);
    let layer = decoder * (4.0 * d + (6.0 * inner).max(3.0 * ff)) + encoder * (d + 4.0 * inner);
    let attention = scores(c, 1.0, decoder, encoder.max(decoder), 1.0);
    let logits = (c.vocab_size as f64).max(f64::from(1 << 22));
    forecast.phase(format!("encoding a prompt of {prompt} tokens"), encoding(c, 1, prompt));
    forecast.phase(format!("decoding a response of {response} tokens"), f32s(layer + attention + logits));
}

/// Tokens of the longest response that a PPO step may generate.
pub fn longest_response(config: &PpoConfig) -> usize {
    config.output_max_length.saturating_sub(1).max(1)
}

/// Tokens of the longest text that the reward model reads, for prompts and responses of these lengths.
pub fn longest_scored(config: &PpoConfig, tokens: Tokens) -> usize {
    match config.scored_text {
        ScoredText::QueryAndResponse => tokens.prompt.saturating_add(tokens.response),
        _ => tokens.response,
    }
}

/// Adds the memory of fine-tuning besides the weights, for batches of `rows` rows. Trains an adapter, or (none) every
/// parameter.
pub fn finetune(
    forecast: &mut Forecast,
    policy: &T5Config,
    base: &[Described],
    adapter: Option<&AdapterConfig>,
    rows: usize,
    tokens: Tokens,
) {
    let adapted = adapter.map(|config| adapted(config, base));
    let trained = match &adapted {
        Some(adapted) => {
            let numbers = adapter_numbers(adapted).saturating_mul(4 * F32);
            forecast.hold("the adapter, its gradients and Adam's moments", numbers);
            TrainedWeights::Adapter(adapted)
        }
        None => {
            forecast.hold("gradients and Adam's moments of every parameter", 3 * held(base, Precision::F32));
            TrainedWeights::Everything
        }
    };
    forecast.phase(
        format!("forward and backward of {rows} pairs of up to {} + {} tokens", tokens.prompt, tokens.response),
        taped(policy, trained, rows, tokens),
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::io::checkpoint::dtype::Dtype;

    fn described(name: &str, shape: &[usize]) -> Described {
        Described { name: name.into(), shape: shape.to_vec(), dtype: Dtype::F16 }
    }

    #[test]
    fn weights_are_counted_in_the_number_type_in_memory_not_in_the_file() {
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
    fn only_the_largest_phase_counts() {
        let mut forecast = Forecast::new();
        forecast.hold("a", 5);
        forecast.phase("b", 7);
        forecast.phase("c", 9);
        assert_eq!(forecast.peak(), PROGRAM + 14);
        assert_eq!(forecast.largest().unwrap().what, "c");
    }

    #[test]
    fn long_prompts_are_dominated_by_attention_and_absurd_numbers_do_not_overflow() {
        let json = br#"{"vocab_size": 4096, "d_model": 192, "d_kv": 32, "d_ff": 512, "num_layers": 4, "num_heads": 6}"#;
        let c = T5Config::from_json("config.json", json).unwrap();
        let squares = |prompt: usize| (prompt * prompt * 4 * threads().min(6)) as u64;
        assert!(encoding(&c, 1, 40_000) > squares(40_000));
        assert!(encoding(&c, 16, 300) < 16 * 300 * 40_000, "short prompts are dominated by their layers");
        let huge = Tokens { prompt: usize::MAX, response: usize::MAX };
        assert_eq!(taped(&c, TrainedWeights::Everything, usize::MAX, huge), u64::MAX);
        let mut forecast = Forecast::new();
        generation(&mut forecast, &c, usize::MAX, huge);
        assert_eq!(forecast.peak(), u64::MAX);
    }
}
