//! What a command will need in memory, reckoned from its files' headers and its settings before anything is loaded. What
//! the machine has, and what to do about it, is for the caller.
//!
//! The activations are those that the tape keeps of a forward pass for its backward: counted in `model::t5` line by line.
//! Sizes are multiplied as f64: the settings may be any numbers, and a product that is too large for u64 becomes its largest.

use super::models::Precision;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::weights::Described;
use crate::kernels::matrix::PIECE;
use crate::kernels::pool::threads;
use crate::model::config::T5Config;
use crate::model::may_be_compact;
use crate::model::roberta::RobertaConfig;
use crate::settings::{PpoConfig, ScoredText};

/// The program itself, its tokenizers and data, and what an allocator keeps back.
const PROGRAM: u64 = 100 << 20;
/// Bytes of an f32.
const F32: u64 = 4;
/// Prompts that are encoded at once have so many tokens together, or one prompt has more.
const ENCODED: usize = crate::model::generate::ENCODE_TOKENS;

/// One thing in memory.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MemoryPart {
    pub what: String,
    pub bytes: u64,
}

/// What lies in memory all along, and what comes and goes: only the largest of these counts.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Forecast {
    pub held: Vec<MemoryPart>,
    pub phases: Vec<MemoryPart>,
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
        self.held.push(MemoryPart { what: what.into(), bytes });
    }

    /// Adds something that comes and goes.
    pub fn phase(&mut self, what: impl Into<String>, bytes: u64) {
        self.phases.push(MemoryPart { what: what.into(), bytes });
    }

    /// The largest of what comes and goes.
    pub fn largest(&self) -> Option<&MemoryPart> {
        self.phases.iter().max_by_key(|part| part.bytes)
    }

    /// Bytes at the worst moment.
    pub fn peak(&self) -> u64 {
        let held = self.held.iter().fold(0u64, |sum, part| sum.saturating_add(part.bytes));
        held.saturating_add(self.largest().map_or(0, |part| part.bytes))
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
    adapted.iter().map(|(_, input, output, rank)| *rank as f64 * (*input as f64 + *output as f64)).sum::<f64>() as u64
}

/// So many f32, in bytes.
fn f32s(numbers: f64) -> u64 {
    (numbers * F32 as f64) as u64
}

/// Tokens of a batch: of the longest prompt, and of the longest response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: usize,
    pub response: usize,
}

/// Numbers of the attention scores that exist at one time, `copies` of them: each thread has those of one head and row.
fn scores(c: &T5Config, rows: f64, queries: f64, keys: f64, copies: f64) -> f64 {
    let at_once = (threads() as f64).min(c.num_heads as f64 * rows);
    copies * at_once * queries * keys
}

/// Bytes of encoding prompts of up to `prompt` tokens, all `rows` of them, a few at a time.
pub fn encoding(c: &T5Config, rows: usize, prompt: usize) -> u64 {
    let (d, inner, ff) = (c.d_model as f64, c.inner() as f64, c.d_ff as f64);
    let together = (ENCODED / prompt.max(1)).clamp(1, rows.max(1)) as f64;
    let (rows, prompt) = (rows as f64, prompt as f64);
    // a layer's input and output and its norm beside q, k, v, both side by side and what they attend to, or beside the
    // parts of a feed-forward layer
    let layer = 4.0 * d + (6.0 * inner).max(3.0 * ff);
    let kept = 2.0 * rows * prompt * d; // every prompt's hidden states, and the parts that they are put together from
    f32s(together * prompt * layer + kept + scores(c, together, prompt, prompt, 1.0))
}

/// Bytes of the caches of `rows` rows that are generated at once.
pub fn cache(c: &T5Config, rows: usize, tokens: Tokens) -> u64 {
    let (rows, prompt, new) = (rows as f64, tokens.prompt as f64, tokens.response as f64);
    let keys_and_values = 2.0 * c.inner() as f64 * c.decoder_layers() as f64;
    let logits = 3.0 * rows * c.vocab_size as f64;
    f32s(rows * (prompt + new) * keys_and_values + logits)
}

/// What a backward pass computes gradients for.
#[derive(Debug, Clone, Copy)]
pub enum TrainedWeights<'a> {
    /// An adapter over these layers.
    Adapter(&'a [Adapted]),
    /// Every parameter of the model.
    Everything,
}

/// Bytes that a forward pass keeps on the tape for its backward (`nn::tape`): of `rows` prompts and responses of so many
/// tokens. Where weights are frozen that is what norms, attention, activations and adapters were given; where they are trained,
/// what linear layers were given too.
pub fn taped(c: &T5Config, trained: TrainedWeights<'_>, rows: usize, tokens: Tokens) -> u64 {
    let (d, inner, ff) = (c.d_model as f64, c.inner() as f64, c.d_ff as f64);
    let (encoder, decoder) = (rows as f64 * tokens.prompt as f64, rows as f64 * tokens.response as f64);
    let all = f64::from(u8::from(matches!(trained, TrainedWeights::Everything)));
    let own = 2.0 * d + (3.0 + all) * inner; // before and after the norm; q, k, v; what o is given
    let feed_forward = (1.0 + all) * d + (2.0 + all) * ff; // what wi and wo are given
    let cross = 2.0 * d + (1.0 + all) * inner;
    let blocks = c.num_layers as f64 * encoder * (own + feed_forward)
        + c.decoder_layers() as f64 * (decoder * (own + cross + feed_forward) + encoder * 2.0 * inner);
    let more = match trained {
        TrainedWeights::Adapter(adapted) => adapted.iter().map(|layer| lora(layer, encoder, decoder)).sum::<f64>(),
        // gradients of the embedding table by the prompts and by the responses, before they are added up
        TrainedWeights::Everything => 2.0 * c.vocab_size as f64 * d,
    };
    let ends = d * (2.0 * encoder + 4.0 * decoder); // embeddings, last norms, the states that the head reads
    f32s(blocks + more + ends + in_backward(c, rows, tokens))
}

/// Numbers kept for a layer's adapter: x, where it is not the norm's of an attention, and x Aᵀ, scaled or not.
fn lora((name, input, _, rank): &Adapted, encoder: f64, decoder: f64) -> f64 {
    let shared = ["q", "k", "v"].iter().any(|end| name.ends_with(&format!("Attention.{end}")));
    let numbers = 2.0 * *rank as f64 + if shared { 0.0 } else { *input as f64 };
    numbers * if of_prompt(name) { encoder } else { decoder }
}

/// Numbers of gradients at one time: a few of the widest layers', and attention's probabilities with their gradients.
fn in_backward(c: &T5Config, rows: usize, tokens: Tokens) -> f64 {
    let longest = tokens.prompt.max(tokens.response) as f64;
    let wide = c.d_ff.max(c.inner()) as f64;
    4.0 * rows as f64 * longest * wide + scores(c, rows as f64, longest, longest, 2.0)
}

/// Does this layer read the prompt's tokens?
fn of_prompt(name: &str) -> bool {
    name.starts_with("encoder.") || name.ends_with("EncDecAttention.k") || name.ends_with("EncDecAttention.v")
}

/// Bytes of scoring `rows` rows of `tokens` tokens: one layer at a time.
pub fn scoring(c: &RobertaConfig, rows: usize, tokens: usize) -> u64 {
    let tokens = rows as f64 * tokens.min(c.limit()) as f64;
    f32s(tokens * (8.0 * c.hidden_size as f64 + 2.0 * c.intermediate_size as f64))
}

/// Adds what generating `rows` rows takes: encoding their prompts, then the decoder's caches.
pub fn generation(forecast: &mut Forecast, policy: &T5Config, rows: usize, tokens: Tokens) {
    let Tokens { prompt, response } = tokens;
    forecast.phase(format!("encoding prompts of up to {prompt} tokens"), encoding(policy, rows, prompt));
    forecast.phase(
        format!("generating {rows} rows of up to {response} tokens for prompts of up to {prompt}"),
        cache(policy, rows, tokens),
    );
}

/// Adds what PPO steps take besides the weights: generation, a mini-batch forward and backward; the adapter with its copy
/// for the KL, its gradients and Adam's two moments.
pub fn ppo(forecast: &mut Forecast, policy: &T5Config, adapted: &[Adapted], config: &PpoConfig, tokens: Tokens) {
    let rows = config.mini_batch_size.min(config.batch_size);
    let numbers = adapter_numbers(adapted).saturating_mul(5 * F32);
    forecast.hold("the adapter, its first state, gradients and Adam's moments", numbers);
    generation(forecast, policy, config.batch_size, tokens);
    let Tokens { prompt, response } = tokens;
    forecast.phase(
        format!("forward and backward of {rows} rows of {prompt} + {response} tokens"),
        taped(policy, TrainedWeights::Adapter(adapted), rows, tokens),
    );
}

/// Adds what the numbers of a given row take: its prompt's encoding, or the decoder over the whole response.
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

/// Tokens of the longest text that the reward model is given about prompts and responses of so many tokens.
pub fn longest_scored(config: &PpoConfig, tokens: Tokens) -> usize {
    match config.scored_text {
        ScoredText::QueryAndResponse => tokens.prompt.saturating_add(tokens.response),
        _ => tokens.response,
    }
}

/// Adds what fine-tuning takes besides the weights, in batches of so many rows: of an adapter, or (none) of every
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

    #[test]
    fn long_prompts_are_counted_by_their_attention_and_absurd_numbers_are_only_large() {
        let json = br#"{"vocab_size": 4096, "d_model": 192, "d_kv": 32, "d_ff": 512, "num_layers": 4, "num_heads": 6}"#;
        let c = T5Config::from_json("config.json", json).unwrap();
        let squares = |prompt: usize| (prompt * prompt * 4 * threads().min(6)) as u64;
        assert!(encoding(&c, 1, 40_000) > squares(40_000));
        assert!(encoding(&c, 16, 300) < 16 * 300 * 40_000, "short prompts take what their layers take");
        let huge = Tokens { prompt: usize::MAX, response: usize::MAX };
        assert_eq!(taped(&c, TrainedWeights::Everything, usize::MAX, huge), u64::MAX);
        let mut forecast = Forecast::new();
        generation(&mut forecast, &c, usize::MAX, huge);
        assert_eq!(forecast.peak(), u64::MAX);
    }
}
