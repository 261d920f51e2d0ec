//! Settings from JSON over a preset: our names, TRL's names as aliases, keys of TRL's that mean nothing here, and for
//! anything else an error with the nearest name. Reads no file.

use crate::error::{Error, Result};
use crate::ppo::config::PpoConfig;
use serde_json::{Map, Value};

/// TRL's `PPOConfig` (and transformers' or the notebook's) names of settings that are ours under another name.
pub const ALIASES: [(&str, &str); 15] = [
    ("init_kl_coef", "kl_coef"),
    ("adap_kl_ctrl", "adaptive_kl"),
    ("target", "kl_target"),
    ("horizon", "kl_horizon"),
    ("kl_penalty", "kl_estimator"),
    ("lam", "lambda"),
    ("cliprange", "clip_range"),
    ("cliprange_value", "clip_range_value"),
    ("use_score_scaling", "score_scaling"),
    ("use_score_norm", "score_norm"),
    ("summary_dropout_prob", "value_head_dropout"),
    ("lr", "learning_rate"),
    ("lr_scheduler_type", "lr_schedule"),
    ("adam_epsilon", "adam_eps"),
    ("forward_batch_size", "mini_batch_size"),
];

/// Keys of TRL's `PPOConfig` that change no number here; accepted, so that a TRL config can be used as it is.
pub const IGNORED: [&str; 25] = [
    "exp_name",
    "task_name",
    "model_name",
    "query_dataset",
    "reward_model",
    "remove_unused_columns",
    "log_with",
    "tracker_kwargs",
    "tracker_project_name",
    "accelerator_kwargs",
    "project_kwargs",
    "push_to_hub_if_best_kwargs",
    "compare_steps",
    "steps",
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
];

impl PpoConfig {
    /// `base` with the settings of a JSON object put over it, then validated.
    ///
    /// Errors: not an object; an unknown key (with the nearest known one); a value of the wrong kind; one setting given
    /// twice, under two names, with different values; TRL's `kl_penalty: "full"`; nonsense that
    /// [`validate`](PpoConfig::validate) finds.
    pub fn from_json(base: PpoConfig, json: &Value) -> Result<PpoConfig> {
        let Some(given) = json.as_object() else {
            return Err(Error::input("the settings are not a JSON object", "write {\"learning_rate\": 1.41e-5, …}"));
        };
        let mut settings = as_object(&base)?;
        let mut seen: Map<String, Value> = Map::new();
        for (key, value) in given {
            let Some(name) = canonical(key, value, &settings)? else { continue };
            if seen.insert(name.to_string(), value.clone()).is_some_and(|earlier| earlier != *value) {
                return Err(Error::input(
                    format!("setting {name} is given twice with different values, once as {key}"),
                    "give it once",
                ));
            }
            set(&mut settings, name, value)?;
        }
        let config: PpoConfig = read(settings)?;
        config.validate()?;
        Ok(config)
    }
}

/// The setting that `key` means, or none when it is to be ignored.
fn canonical<'a>(key: &'a str, value: &Value, settings: &Map<String, Value>) -> Result<Option<&'a str>> {
    if settings.contains_key(key) {
        return Ok(Some(key));
    }
    if IGNORED.contains(&key) || (key == "forward_batch_size" && value.is_null()) {
        return Ok(None);
    }
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == key) {
        return Ok(Some(name));
    }
    let known = settings.keys().map(String::as_str).chain(ALIASES.iter().map(|(alias, _)| *alias));
    let nearest = known.min_by_key(|name| edit_distance(key, name)).unwrap_or_default();
    Err(Error::input(format!("unknown setting {key}"), format!("the nearest known setting is {nearest}")))
}

/// Puts one setting over the others; an error names it.
fn set(settings: &mut Map<String, Value>, name: &str, value: &Value) -> Result<()> {
    if name == "kl_estimator" && value == "full" {
        return Err(Error::input(
            "kl_penalty \"full\" is not offered: it needs both models' whole distribution at every token, and only the \
             chosen tokens' log-probs are kept",
            "use k3: it estimates the same KL, without bias and never negative, from the chosen tokens",
        ));
    }
    settings.insert(name.to_string(), value.clone());
    read(settings.clone()).map(|_| ()).map_err(|e| match e {
        Error::Input { what, hint } => Error::Input { what: format!("setting {name} = {value}: {what}"), hint },
        other => other,
    })
}

fn read(settings: Map<String, Value>) -> Result<PpoConfig> {
    serde_json::from_value(Value::Object(settings)).map_err(|e| Error::input(e, "correct the value's kind or spelling"))
}

fn as_object(config: &PpoConfig) -> Result<Map<String, Value>> {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) | Err(_) => {
            Err(Error::input("the settings cannot be written as JSON", "check that every number is finite"))
        }
    }
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ppo::config::Preset;
    use crate::ppo::kl::KlEstimator;
    use serde_json::json;

    fn merge(json: Value) -> Result<PpoConfig> {
        PpoConfig::from_json(PpoConfig::preset(Preset::Published), &json)
    }

    #[test]
    fn a_trl_config_is_taken_as_it_is() {
        let config = merge(json!({
            "exp_name": "ppo", "seed": 3, "log_with": null, "model_name": "gpt2", "steps": 20000, "learning_rate": 1e-3,
            "adap_kl_ctrl": false, "init_kl_coef": 0.1, "kl_penalty": "mse", "target": 5, "horizon": 5000, "gamma": 0.9,
            "lam": 0.8, "cliprange": 0.1, "cliprange_value": 0.3, "vf_coef": 0.5, "batch_size": 8,
            "forward_batch_size": null, "mini_batch_size": 2, "gradient_accumulation_steps": 2, "ppo_epochs": 4,
            "max_grad_norm": 1.0, "early_stopping": true, "target_kl": 1, "ratio_threshold": 10.0,
            "use_score_scaling": true, "use_score_norm": true, "score_clip": 2.0, "whiten_rewards": true,
            "summary_dropout_prob": 0, "backward_batch_size": 4, "tracker_kwargs": {}, "optimize_cuda_cache": null,
        }))
        .unwrap();
        assert_eq!((config.batch_size, config.mini_batch_size, config.ppo_epochs, config.seed), (8, 2, 4, 3));
        assert_eq!(
            (config.kl_coef, config.kl_target, config.kl_horizon, config.adaptive_kl),
            (0.1, 5.0, 5000.0, false)
        );
        assert_eq!((config.kl_estimator, config.gamma, config.lambda), (KlEstimator::K2, 0.9, 0.8));
        assert_eq!((config.clip_range, config.clip_range_value, config.vf_coef), (0.1, 0.3, 0.5));
        assert_eq!(
            (config.max_grad_norm, config.ratio_threshold, config.score_clip),
            (Some(1.0), Some(10.0), Some(2.0))
        );
        assert!(config.score_scaling && config.score_norm && config.whiten_rewards && config.early_stopping);
        assert_eq!((config.value_head_dropout, config.min_length), (0.0, 5));
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = PpoConfig { score_clip: Some(0.1), kl_coef: 0.1 + 0.2, ..PpoConfig::default() };
        let json = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(PpoConfig::from_json(PpoConfig::preset(Preset::Published), &json).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |json| merge(json).unwrap_err().to_string();
        assert!(message(json!({"learning_rat": 1})).contains("nearest known setting is learning_rate"));
        assert!(message(json!({"clip_rangee": 1})).contains("clip_range"));
        assert!(message(json!({"gamma": "high"})).contains("setting gamma"));
        assert!(message(json!({"whiten_over": "rows"})).contains("whiten_over"));
        assert!(message(json!({"temperature": "hot"})).contains("temperature"));
        assert!(message(json!({"gamma": 2})).contains("gamma"));
        assert!(message(json!({"lam": 0.5, "lambda": 0.6})).contains("twice"));
        assert!(message(json!({"kl_penalty": "full"})).contains("k3"));
        assert!(message(json!([1])).contains("object"));
        assert!(merge(json!({"lam": 0.5, "lambda": 0.5, "mini_batch_size": 8})).is_ok());
    }
}
