//! Reads settings from JSON values, on top of a preset: our names, and TRL's names as aliases. TRL's keys without meaning here
//! are ignored; any other name is an error that suggests the nearest name.

use super::define::Kind;
use super::foreign::{self, Foreign};
use super::table::{PpoConfig, SETTINGS, find};
use super::values;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

impl PpoConfig {
    /// `base`, changed by the settings of a JSON object, then validated.
    ///
    /// Errors: not an object; an unknown key (with the nearest known one); a value of the wrong kind; one setting given twice
    /// with different values; TRL's `kl_penalty: "full"`; settings that [`validate`](PpoConfig::validate) refuses.
    pub fn from_json(base: PpoConfig, json: &Value) -> Result<PpoConfig> {
        let Some(given) = json.as_object() else {
            return Err(Error::input("the settings are not a JSON object", "write {\"learning_rate\": 1.41e-5, …}"));
        };
        let mut settings = as_object(&base)?;
        let mut seen: Map<String, Value> = Map::new();
        for (key, value) in &foreign::flat(given)? {
            let Some(name) = canonical(key, value, &settings)? else { continue };
            let value = &as_the_setting_has_it(name, value);
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

    /// Notices about settings that [`from_json`](Self::from_json) accepts and that change nothing here.
    pub fn notices(json: &Value) -> Vec<String> {
        foreign::notices(json)
    }
}

/// The setting that `key` means, or none if it is ignored.
fn canonical<'a>(key: &'a str, value: &Value, settings: &Map<String, Value>) -> Result<Option<&'a str>> {
    if settings.contains_key(key) {
        return Ok(Some(key));
    }
    match foreign::meaning(key, value)? {
        Foreign::Alias(name) => return Ok(Some(name)),
        Foreign::Ignored => return Ok(None),
        Foreign::Unknown => {}
    }
    let known = SETTINGS.iter().flat_map(|setting| [setting.name].into_iter().chain(setting.aliases.iter().copied()));
    let nearest = known.min_by_key(|name| strsim::levenshtein(key, name)).unwrap_or_default();
    Err(Error::input(format!("unknown setting {key}"), format!("the nearest known setting is {nearest}")))
}

/// Converts a number to the setting's type: whole numbers may be written as 4.0.
fn as_the_setting_has_it(name: &str, value: &Value) -> Value {
    let counts = find(name).is_some_and(|setting| matches!(setting.kind, Kind::Whole | Kind::OptionalWhole));
    match foreign::whole(value) {
        Some(n) if counts => n.into(),
        _ => value.clone(),
    }
}

/// Sets one setting; an error names it.
fn set(settings: &mut Map<String, Value>, name: &str, value: &Value) -> Result<()> {
    if name == "kl_estimator" && value == "full" {
        return Err(Error::input(
            "kl_penalty \"full\" is not supported: it needs the distributions of both models at every token, and only the \
                             log-probs of the sampled tokens are kept",
            "use k3: it estimates the same KL from the sampled tokens, is unbiased and never negative",
        ));
    }
    if value.as_str().is_some_and(|text| is_number(text.trim())) {
        return Err(Error::input(
            format!("setting {name} = {} is a text, but must be a number", values::to_json(value)),
            format!("write it without quotes: {}", value.as_str().unwrap_or_default().trim()),
        ));
    }
    settings.insert(name.to_string(), value.clone());
    read(settings.clone()).map(|_| ()).map_err(|e| match e {
        Error::Input { what, hint } => {
            Error::Input { what: format!("setting {name} = {}: {what}", values::to_json(value)), hint }
        }
        other => other,
    })
}

fn read(settings: Map<String, Value>) -> Result<PpoConfig> {
    from_map(settings).map_err(|e| Error::input(e, "correct the value's type or spelling"))
}

/// Whether a text looks like a JSON number.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    digits(whole.strip_prefix('-').unwrap_or(whole))
        && digits(part)
        && digits(power.strip_prefix(['+', '-']).unwrap_or(power))
}

/// All settings from JSON.
pub fn from_map(settings: Map<String, Value>) -> std::result::Result<PpoConfig, serde::de::value::Error> {
    PpoConfig::from_fields(settings)
}

fn as_object(config: &PpoConfig) -> Result<Map<String, Value>> {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) | Err(_) => {
            Err(Error::input("the settings cannot be written as JSON", "check that every number is finite"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::choices::{KlEstimator, Preset};
    use serde_json::json;

    fn merge(json: Value) -> Result<PpoConfig> {
        PpoConfig::from_json(PpoConfig::preset(Preset::Published), &json)
    }

    #[test]
    fn a_trl_config_is_accepted_unchanged() {
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
    fn the_settings_in_the_notebook_are_accepted_unchanged() {
        let config = merge(json!({
            "batch_size": 4.0, "mini_batch_size": 2.0, "top_k": 0.0, "top_p": 1.0, "seed": 3.0, "total_steps": 10.0,
            "generation_kwargs": {"min_length": 5, "top_k": 0.0, "top_p": 0.9, "do_sample": true, "pad_token_id": 0,
                "temperature": null, "num_beams": 1, "repetition_penalty": 1.0},
            "output_length_sampler": {"min_value": 100, "max_value": 400}, "missing_eos_penalty": null,
        }));
        assert!(config.unwrap_err().to_string().contains("top_p is given twice"));
        let config = merge(json!({
            "batch_size": 4.0, "mini_batch_size": 2.0, "seed": 3.0, "total_steps": 10.0,
            "generation_kwargs": {"min_length": -1, "top_k": 0.0, "top_p": 0.9, "do_sample": true, "pad_token_id": 0,
                "temperature": null, "num_beams": 1, "repetition_penalty": 1.0},
            "output_length_sampler": {"min_value": 10, "max_value": 40}, "missing_eos_penalty": null,
        }))
        .unwrap();
        assert_eq!((config.batch_size, config.mini_batch_size, config.seed, config.total_steps), (4, 2, 3, Some(10)));
        assert_eq!((config.min_length, config.top_k, config.top_p), (0, 0, 0.9));
        assert_eq!((config.output_min_length, config.output_max_length), (10, 40));
        let fixed = merge(json!({"generation_kwargs": {"max_new_tokens": 32}})).unwrap();
        assert_eq!((fixed.output_min_length, fixed.output_max_length), (32, 33));
    }

    #[test]
    fn refused_names_are_answered_with_ours() {
        let message = |json| merge(json).unwrap_err().to_string();
        for (json, ours) in [
            (json!({"num_ppo_epochs": 2}), "ppo_epochs"),
            (json!({"response_length": 53}), "output_max_length"),
            (json!({"per_device_train_batch_size": 8}), "mini_batch_size"),
            (json!({"missing_eos_penalty": 1.0}), "penalty"),
            (json!({"generation_kwargs": {"do_sample": false}}), "sampled"),
            (json!({"generation_kwargs": {"num_beams": 2}}), "num_beams = 2"),
            (json!({"generation_kwargs": {"max_new_tokens": "all"}}), "max_new_tokens"),
            (json!({"generation_kwargs": {"topk": 2}}), "nearest known setting is top_k"),
            (json!({"generation_kwargs": 5}), "generation_kwargs"),
        ] {
            let message = message(json);
            assert!(message.contains(ours), "{message}");
        }
        let told =
            foreign::notices(&json!({"model_name": "x", "log_with": "wandb", "steps": 3, "tracker_kwargs": null,
            "generation_kwargs": {"pad_token_id": 0}}));
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told[0].contains("log_with, pad_token_id") && told[1].contains("--policy") && told[2].contains("--steps")
        );
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
        assert!(message(json!({"learning_rate": "1e-5"})).contains("without quotes: 1e-5"));
        assert!(message(json!({"batch_size": 4.5})).contains("setting batch_size"));
        assert!(message(json!([1])).contains("object"));
        assert!(merge(json!({"lam": 0.5, "lambda": 0.5, "mini_batch_size": 8})).is_ok());
    }
}
