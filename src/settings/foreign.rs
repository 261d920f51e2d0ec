//! Names of settings in other programs: TRL's `PPOConfig` of all versions, transformers' `TrainingArguments` and generation
//! arguments, and the lab notebook's variables. Lists which of them change no number here, which belong to another option, and
//! which cannot be used and why. `json` uses these lists. Other names for our settings are in the table.

use super::table::SETTINGS;
use super::values;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// Keys that change no number here; they are accepted so that a TRL config can be used unchanged.
const IGNORED: [&str; 52] = [
    "exp_name",
    "task_name",
    "query_dataset",
    "remove_unused_columns",
    "log_with",
    "tracker_kwargs",
    "tracker_project_name",
    "accelerator_kwargs",
    "project_kwargs",
    "push_to_hub_if_best_kwargs",
    "compare_steps",
    "total_ppo_epochs",
    "world_size",
    "optimize_cuda_cache",
    "optimize_device_cache",
    "gradient_checkpointing",
    "is_encoder_decoder",
    "is_peft_model",
    "backward_batch_size",
    "global_backward_batch_size",
    "global_batch_size",
    "dataset_num_proc",
    // TRL 0.12 and later
    "run_name",
    "report_to",
    "logging_steps",
    "logging_dir",
    "num_sample_generations",
    "local_rollout_forward_batch_size",
    "local_batch_size",
    "local_mini_batch_size",
    "micro_batch_size",
    "num_total_batches",
    "push_to_hub",
    "hub_model_id",
    "eval_strategy",
    "eval_steps",
    "per_device_eval_batch_size",
    "save_strategy",
    "model_adapter_name",
    "ref_adapter_name",
    "ds3_gather_for_generation",
    "dataloader_num_workers",
    "ddp_find_unused_parameters",
    "disable_tqdm",
    "sanity_check",
    "num_updates",
    "torch_empty_cache_steps",
    "use_liger_kernel",
    // generation
    "pad_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "use_cache",
];

/// Keys that are options of the command line; they are ignored with a notice that names the option.
const OPTIONS: [(&str, &str); 19] = [
    ("model_name", "--policy"),
    ("model_name_or_path", "--policy"),
    ("sft_model_path", "--policy"),
    ("base_model", "--policy"),
    ("reward_model", "--reward"),
    ("reward_model_path", "--reward"),
    ("dataset_name", "--data"),
    ("output_dir", "--out"),
    ("steps", "--steps"),
    ("max_ppo_steps", "--steps"),
    ("max_steps", "--steps"),
    ("num_train_epochs", "--steps"),
    ("total_episodes", "--steps (total_episodes / batch_size)"),
    ("save_steps", "--save-every"),
    ("save_freq", "--save-every"),
    ("save_total_limit", "--keep"),
    ("bf16", "--weights bf16"),
    ("fp16", "--weights f16"),
    ("load_in_8bit", "--weights q8_0"),
];

/// Keys that are refused, and what to write instead.
const INSTEAD: [(&str, &str); 17] = [
    ("num_ppo_epochs", "write ppo_epochs"),
    ("response_length", LENGTHS),
    ("max_new_tokens", LENGTHS),
    ("max_length", LENGTHS),
    ("min_new_tokens", "write min_length with a number that is larger by one: it counts the decoder's start token"),
    ("per_device_train_batch_size", "write batch_size (rows of a step) and mini_batch_size (rows of a forward pass)"),
    ("num_mini_batches", "write mini_batch_size: batch_size / num_mini_batches"),
    ("warmup_ratio", "write warmup_steps, in PPO steps"),
    ("missing_eos_penalty", NO_PENALTY),
    ("non_eos_penalty", NO_PENALTY),
    ("penalty_reward_value", NO_PENALTY),
    ("lr_scheduler_kwargs", "leave it out and use lr_schedule and warmup_steps"),
    ("stop_token", "leave it out: a response ends with the policy's end token"),
    ("stop_token_id", "leave it out: a response ends with the policy's end token"),
    ("weight_decay", "leave it out: Adam runs without weight decay, as in TRL's PPOTrainer"),
    ("optim", "leave it out: the optimizer is Adam"),
    ("kl_ctl", "write kl_coef"),
];

const NO_PENALTY: &str = "leave it out: there is no penalty for a response without an end token";

const LENGTHS: &str =
    "write output_min_length and output_max_length; for at most N new tokens in each response, N and N + 1";

/// Whether a refused key has a value that switches it off.
fn means_nothing(key: &str, value: &Value) -> bool {
    let number = |n: f64| value.as_f64() == Some(n);
    match key {
        "do_sample" => *value == json!(true),
        "non_eos_penalty" => *value == json!(false),
        "num_beams" | "num_return_sequences" | "num_beam_groups" => number(1.0),
        "repetition_penalty" | "encoder_repetition_penalty" | "length_penalty" | "typical_p" => number(1.0),
        "no_repeat_ngram_size" | "diversity_penalty" | "penalty_alpha" | "weight_decay" | "warmup_ratio" => number(0.0),
        "stop_token" => *value == json!("eos"),
        "optim" => value.as_str().is_some_and(|name| name.starts_with("adam")),
        _ => false,
    }
}

/// Keys of other ways of generating, which are not supported.
const GENERATION: [&str; 18] = [
    "do_sample",
    "num_beams",
    "num_return_sequences",
    "num_beam_groups",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "length_penalty",
    "typical_p",
    "no_repeat_ngram_size",
    "diversity_penalty",
    "penalty_alpha",
    "bad_words_ids",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_p",
    "epsilon_cutoff",
    "eta_cutoff",
];

/// The meaning of a key that is not one of our settings.
pub enum Foreign {
    /// Our setting with this name.
    Alias(&'static str),
    Ignored,
    /// An unknown name.
    Unknown,
}

/// The meaning of a key that is not one of our settings.
///
/// # Errors
/// A known name that cannot be used; the hint says what to write instead.
pub fn meaning(key: &str, value: &Value) -> Result<Foreign> {
    let alias = SETTINGS.iter().find(|setting| setting.aliases.contains(&key));
    if key == "forward_batch_size" && value.is_null() || IGNORED.contains(&key) || option(key).is_some() {
        return Ok(Foreign::Ignored);
    }
    if let Some(setting) = alias {
        return Ok(Foreign::Alias(setting.name));
    }
    let instead = INSTEAD.iter().find(|(name, _)| *name == key).map(|(_, instead)| *instead);
    let generation = GENERATION.contains(&key);
    match instead {
        _ if (generation || instead.is_some()) && (value.is_null() || means_nothing(key, value)) => {
            Ok(Foreign::Ignored)
        }
        Some(instead) => {
            Err(Error::input(format!("setting {key} = {} is not supported", values::to_json(value)), instead))
        }
        None if generation => Err(Error::input(
            format!(
                "setting {key} = {}: responses are sampled token by token, other ways are not supported",
                values::to_json(value)
            ),
            "leave it out; temperature, top_k, top_p and min_length are supported",
        )),
        None => Ok(Foreign::Unknown),
    }
}

fn option(key: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(name, _)| *name == key).map(|(_, option)| *option)
}

/// The settings of a JSON object, including those in the notebook's nested objects: `generation_kwargs`, and the
/// `LengthSampler` as `output_length_sampler`.
///
/// # Errors
/// A nested object with another form.
pub fn flat(given: &serde_json::Map<String, Value>) -> Result<Vec<(&str, Value)>> {
    let mut all = Vec::new();
    for (key, value) in given {
        match (key.as_str(), value) {
            ("generation_kwargs" | "generation_config" | "gen_kwargs", Value::Object(kwargs)) => {
                for (key, value) in kwargs {
                    all.extend(generation(key, value)?);
                }
            }
            ("generation_kwargs" | "generation_config" | "gen_kwargs", Value::Null) => {}
            ("output_length_sampler", value) => all.extend(lengths(value)?),
            ("generation_kwargs" | "generation_config" | "gen_kwargs", _) => {
                return Err(Error::input(
                    format!("setting {key} is not a JSON object"),
                    "write {\"min_length\": 5, \"top_k\": 0, \"top_p\": 1, \"do_sample\": true}",
                ));
            }
            (key, value) => all.push((key, value.clone())),
        }
    }
    Ok(all)
}

/// A generation argument as our settings, with the values that null and -1 mean in transformers.
fn generation<'a>(key: &'a str, value: &Value) -> Result<Vec<(&'a str, Value)>> {
    let nothing = value.is_null();
    Ok(match key {
        "max_new_tokens" if nothing => Vec::new(),
        "max_new_tokens" => match whole(value) {
            Some(n) => vec![("output_min_length", json!(n)), ("output_max_length", json!(n.saturating_add(1)))],
            None => {
                let what = format!("setting max_new_tokens = {} in generation_kwargs", values::to_json(value));
                return Err(Error::input(what, "give a whole number of tokens"));
            }
        },
        "top_k" | "min_length" if nothing || value.as_f64() == Some(-1.0) => vec![(key, json!(0))],
        "top_p" | "temperature" if nothing => vec![(key, json!(1))],
        _ => vec![(key, value.clone())],
    })
}

/// `LengthSampler(min, max)` as an object or a pair.
fn lengths(value: &Value) -> Result<[(&'static str, Value); 2]> {
    let (low, high) = match value {
        Value::Array(pair) if pair.len() == 2 => (pair[0].clone(), pair[1].clone()),
        other => (other["min_value"].clone(), other["max_value"].clone()),
    };
    if low.is_null() || high.is_null() {
        return Err(Error::input(
            format!("setting output_length_sampler = {}", values::to_json(value)),
            "write output_min_length and output_max_length, as LengthSampler has them",
        ));
    }
    Ok([("output_min_length", low), ("output_max_length", high)])
}

/// A whole number of at least 0; 4.0 is accepted too.
pub fn whole(value: &Value) -> Option<u64> {
    let float = |x: f64| (x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&x)).then_some(x as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(float))
}

/// Notices about accepted settings that change nothing.
pub fn notices(given: &Value) -> Vec<String> {
    let Some(given) = given.as_object() else { return Vec::new() };
    let kwargs = ["generation_kwargs", "generation_config", "gen_kwargs"].into_iter().filter_map(|key| given.get(key));
    let kwargs: Vec<_> = kwargs.filter_map(Value::as_object).collect();
    let keys = || given.iter().chain(kwargs.iter().copied().flatten()).filter(|(_, value)| !value.is_null());
    let ignored: Vec<&str> = keys().map(|(key, _)| key.as_str()).filter(|key| IGNORED.contains(key)).collect();
    let mut notices = Vec::new();
    if !ignored.is_empty() {
        notices.push(format!("these settings change nothing here: {}", ignored.join(", ")));
    }
    for (key, option) in keys().filter_map(|(key, _)| Some((key, option(key)?))) {
        notices.push(format!("{key} is ignored here; use the option {option}"));
    }
    if kwargs.iter().any(|kwargs| !kwargs.contains_key("top_k")) && !given.contains_key("top_k") {
        notices.push(
            "generation_kwargs has no top_k: transformers would sample from 50 tokens, detox-lab samples from all"
                .into(),
        );
    }
    notices
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn penalties_for_missing_ends_are_refused_unless_they_are_off() {
        let of = |key: &str, value: Value| meaning(key, &value);
        assert!(matches!(of("non_eos_penalty", json!(false)), Ok(Foreign::Ignored)));
        assert!(matches!(of("missing_eos_penalty", Value::Null), Ok(Foreign::Ignored)));
        for (key, value) in
            [("non_eos_penalty", json!(true)), ("penalty_reward_value", json!(-1)), ("missing_eos_penalty", json!(1.0))]
        {
            assert!(of(key, value).is_err_and(|e| e.to_string().contains("no penalty")), "{key}");
        }
        assert!(matches!(of("sanity_check", json!(false)), Ok(Foreign::Ignored)));
        assert!(matches!(of("nobodys_name", json!(1)), Ok(Foreign::Unknown)));
    }
}
