//! Reads the large types of the protocol from JSON values. Derived `Deserialize` code of these types would make the page much
//! larger; the small types are read by it. The macros list each type's fields, and the compiler checks that none is missing.

use crate::protocol::*;
use crate::settings::{PpoConfig, from_map, values};
use serde::de::Error as _;
use serde::de::value::Error;
use serde_json::{Map, Value};

/// A type that is read from a value.
pub trait Read: Sized {
    fn read(value: Value) -> Result<Self, Error>;

    /// What a field that is not there means.
    fn absent(name: &str) -> Result<Self, Error> {
        Err(Error::custom(format!("missing field {name}")))
    }
}

/// An object whose fields are taken out one by one.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// # Errors
    /// If it is no object.
    #[inline(never)]
    pub fn of(value: Value) -> Result<Self, Error> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Error::custom("expected an object")),
        }
    }

    #[inline(never)]
    fn value(&mut self, name: &str) -> Option<Value> {
        self.0.swap_remove(name)
    }

    /// # Errors
    /// If the field is missing or of another type.
    #[inline(never)]
    pub fn take<T: Read>(&mut self, name: &str) -> Result<T, Error> {
        match self.value(name) {
            Some(value) => T::read(value),
            None => T::absent(name),
        }
    }
}

/// Structs with all their fields; `= "key"` where the field has another name in JSON.
macro_rules! structs {
    ($($type:ident { $($field:ident $(= $key:literal)?),+ $(,)? })+) => {$(
        impl $crate::web::page::reading::Read for $type {
            fn read(value: serde_json::Value) -> Result<Self, serde::de::value::Error> {
                let mut fields = $crate::web::page::reading::Fields::of(value)?;
                Ok(Self { $($field: fields.take($crate::web::page::reading::structs!(@ $field $($key)?))?),+ })
            }
        }
    )+};
    (@ $field:ident $key:literal) => { $key };
    (@ $field:ident) => { stringify!($field) };
}
pub(in crate::web::page) use structs;

/// `{"variant": content}`, or `"variant"`.
#[inline(never)]
fn variant(value: Value) -> Result<(String, Value), Error> {
    match value {
        Value::String(name) => Ok((name, Value::Null)),
        other => Fields::of(other)?.0.into_iter().next().ok_or_else(|| Error::custom("expected a variant")),
    }
}

macro_rules! enums {
    ($($type:ident {
        $($unit:ident = $unit_key:literal;)*
        $(($tuple:ident) = $tuple_key:literal;)*
        $({$with:ident $($field:ident)+} = $with_key:literal;)*
    })+) => {$(
        impl Read for $type {
            fn read(value: Value) -> Result<Self, Error> {
                let (name, content) = variant(value)?;
                match name.as_str() {
                    $($unit_key => Ok(Self::$unit),)*
                    $($tuple_key => Ok(Self::$tuple(Read::read(content)?)),)*
                    $($with_key => {
                        let mut fields = Fields::of(content)?;
                        Ok(Self::$with { $($field: fields.take(stringify!($field))?),+ })
                    })*
                    _ => Err(Error::custom(format!("unknown variant {name}"))),
                }
            }
        }
    )+};
}

macro_rules! by_serde {
    ($($type:ty)+) => {$(
        impl Read for $type {
            fn read(value: Value) -> Result<Self, Error> {
                values::read(value)
            }
        }
    )+};
}

by_serde! { u8 u32 u64 usize f32 f64 bool String crate::error::Error KeptModel Needs RealModels Phase Adapter Verdict EvaluateOptions }

impl<T: Read> Read for Vec<T> {
    fn read(value: Value) -> Result<Self, Error> {
        match value {
            Value::Array(all) => all.into_iter().map(T::read).collect(),
            _ => Err(Error::custom("expected an array")),
        }
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: Value) -> Result<Self, Error> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }

    fn absent(_: &str) -> Result<Self, Error> {
        Ok(None)
    }
}

impl<T: Read> Read for Box<T> {
    fn read(value: Value) -> Result<Self, Error> {
        T::read(value).map(Self::new)
    }
}

impl Read for PpoConfig {
    fn read(value: Value) -> Result<Self, Error> {
        from_map(Fields::of(value)?.0)
    }
}

impl Read for [String; 2] {
    fn read(value: Value) -> Result<Self, Error> {
        Vec::read(value)?.try_into().map_err(|_| Error::custom("expected two texts"))
    }

    fn absent(_: &str) -> Result<Self, Error> {
        Ok(Self::default())
    }
}

impl Read for Statistics {
    fn read(value: Value) -> Result<Self, Error> {
        let mut fields = Fields::of(value)?;
        Self::from_numbers(&mut |key| fields.value(key).ok_or_else(|| Error::custom(format!("missing field {key}"))))
    }
}

/// Next to its own fields it has those of its spread.
impl Read for Toxicity {
    fn read(value: Value) -> Result<Self, Error> {
        let spread = Spread::read(value.clone())?;
        let mut fields = Fields::of(value)?;
        Ok(Self { spread, maximum: fields.take("maximum")?, ratio: fields.take("ratio")?, all: fields.take("all")? })
    }
}

structs! {
    Grid { rows, cols, data }
    ByLabel { nothate, hate }
    Scored { logits, probabilities, score, toxicity }
    MiniBatchStats {
        policy_loss, value_loss, total_loss, entropy, approx_kl, policy_kl, clip_fraction, advantages_mean, returns_mean, returns_var,
        value_mean, value_error, value_clip_fraction, old_value_mean, old_value_var, ratio_mean,
    }
    Seconds { generate, score, ppo, total }
    Token { id, text, logprob, top }
    Candidate { id, text, probability }
    Piece { id, text }
    Query { id, dialogue, tokens }
    Response { text, pieces }
    Step { step, statistics = "metrics", queries, responses, scored, rewards, grids, seconds }
    Grids {
        mask, old_logprobs, ref_logprobs, old_values, kl, non_score, rewards, advantages, advantages_whitened, returns, ratio,
    }
    PolicyInfo {
        base_parameters, adapter_parameters, value_head_parameters, encoder_blocks, decoder_blocks, width, heads, vocabulary, lora_r,
        lora_alpha, lora_layers, bytes,
    }
    RewardInfo { parameters, bytes }
    Dialogue { id, dialogue, summary, held_out }
    Word { text, change }
    EvaluatedSide { toxicity, score, rouge1, rouge2, rouge_l, distinct1, distinct2, mean_length, empty }
    Evaluation {
        options, n, before, after, toxicity_difference, score_difference, rouge1_difference, toxicity_mean_improvement,
        toxicity_std_improvement, kl,
    }
    Spread { n, mean, std }
    Difference { n, mean, low, high, verdict }
    Evaluated { numbers, rows, csv }
    EvaluatedRow { id, dialogue, reference, before, after, score_before, score_after, toxicity_before, toxicity_after }
    WhatIf { scores, grids, stats, was, not_shown }
}

/// These have fields that older files do not have.
impl Read for RunInfo {
    fn read(value: Value) -> Result<Self, Error> {
        let mut fields = Fields::of(value)?;
        let f = &mut fields;
        Ok(Self {
            step: f.take("step")?,
            steps: f.take("steps")?,
            config: f.take("config")?,
            metrics: f.take("metrics")?,
            command: f.take("command")?,
            models: f.take("models")?,
            weights: f.take::<Option<_>>("weights")?.unwrap_or_default(),
            labels: f.take::<Option<_>>("labels")?.unwrap_or_default(),
            saved: f.take::<Option<_>>("saved")?.unwrap_or_default(),
        })
    }
}

impl Read for Loaded {
    fn read(value: Value) -> Result<Self, Error> {
        let mut fields = Fields::of(value)?;
        let f = &mut fields;
        Ok(Self {
            bytes: f.take("bytes")?,
            policy: f.take("policy")?,
            reward: f.take("reward")?,
            dialogues: f.take("dialogues")?,
            corrected: f.take("corrected")?,
            published: f.take("published")?,
            steps: f.take("steps")?,
            seconds: f.take("seconds")?,
            real: f.take("real")?,
            data: f.take::<Option<_>>("data")?.unwrap_or_default(),
        })
    }
}

enums! {
    Reply {
        {Ready version threads kernel kept models} = "ready";
        {Event id event} = "event";
        {Done id answer} = "done";
        {Failed id error} = "failed";
    }
    Event {
        (Token) = "token";
        (Reached) = "reached";
        (Stage) = "stage";
        (Step) = "step";
        (Warning) = "warning";
        (Memory) = "memory";
        {Bytes done of} = "bytes";
        {Progress phase done of} = "progress";
    }
    Answer {
        Nothing = "nothing";
        (Loaded) = "loaded";
        (Tokens) = "tokens";
        (Scored) = "scored";
        (Evaluated) = "evaluated";
        (Run) = "run";
        (WhatIf) = "what_if";
        (Needs) = "needs";
        (Kept) = "kept";
        {Generated text tokens ended seconds} = "generated";
        {Words scored words} = "words";
        {Adapter name lora_r lora_alpha} = "adapter";
        {Zip name} = "zip";
    }
    Stage {
        (Statistics) = "statistics";
        {Queries rows} = "queries";
        {Responses rows} = "responses";
        {Scores rows} = "scores";
        {Forward mask old_logprobs ref_logprobs old_values} = "forward";
        {Rewards scores kl kl_coef non_score rewards} = "rewards";
        {Advantages advantages returns} = "advantages";
        {MiniBatch indices advantages ratio stats} = "mini_batch";
        {Optimizer updates grad_norm learning_rate} = "optimizer";
    }
}
