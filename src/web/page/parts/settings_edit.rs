//! Editing settings, without drawing: a typed text becomes a value; values that are not valid together wait for each other;
//! only valid settings are passed on. The fields are in `settings`.

use crate::error::Error;
use crate::settings::{self, Kind, PpoConfig};
use serde_json::{Map, Value};

/// All settings as JSON.
pub fn values(config: &PpoConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A typed text as the value of a setting.
pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    let text = text.trim().replace('\u{2212}', "-");
    let whole = || text.parse::<u64>().map(Value::from).map_err(|_| "Give a whole number of at least 0".to_string());
    let number = || {
        let x = super::format::read(&text).and_then(serde_json::Number::from_f64);
        x.map(Value::Number).ok_or_else(|| "Give a number, such as 0.2 or 1.4e-5".to_string())
    };
    match kind {
        Kind::OptionalNumber | Kind::OptionalWhole if text.is_empty() => Ok(Value::Null),
        Kind::Whole | Kind::OptionalWhole => whole(),
        Kind::Number | Kind::OptionalNumber => number(),
        Kind::Switch => Ok(Value::Bool(text == "true")),
        Kind::Choice(_) => Ok(Value::String(text)),
    }
}

/// A value as a person types it.
pub fn typed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(x) if x.is_f64() => x.as_f64().map_or_else(String::new, |x| x.to_string()),
        other => settings::values::to_json(other),
    }
}

/// A value in words: `none`, `on`, `off`, `0.2`.
pub fn spoken(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(on) => if *on { "on" } else { "off" }.into(),
        Value::Number(x) => x.as_f64().map_or_else(String::new, super::format::setting),
        Value::String(text) => text.replace('_', " "),
        other => settings::values::to_json(other),
    }
}

/// A refused edit: its field shows what was typed, and why it is not in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    name: &'static str,
    text: String,
    why: String,
    /// None if the text is no value at all.
    value: Option<Value>,
}

/// Edits that are not in force yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits(Vec<Refused>);

impl Edits {
    /// Applies an edit. If it is valid together with the settings in force, with the refused values or without them, returns
    /// all settings that differ from `base`; otherwise the edit is refused.
    pub fn edit(
        &mut self,
        base: &PpoConfig,
        changed: &Map<String, Value>,
        name: &'static str,
        text: &str,
    ) -> Option<Map<String, Value>> {
        let kind = settings::find(name)?.kind;
        self.0.retain(|refused| refused.name != name);
        let refused = |why, value| Refused { name, text: text.into(), why, value };
        let value = match parse(kind, text) {
            Ok(value) => value,
            Err(why) => {
                self.0.push(refused(why, None));
                return None;
            }
        };
        let defaults = values(base);
        let with = |others: &[Refused]| {
            let mut whole = changed.clone();
            whole.extend(others.iter().filter_map(|other| Some((other.name.into(), other.value.clone()?))));
            whole.insert(name.into(), value.clone());
            whole.retain(|name, value| !same(defaults.get(name), value));
            PpoConfig::from_json(base.clone(), &Value::Object(whole.clone())).map(|_| whole)
        };
        if let Ok(whole) = with(&self.0) {
            self.0.retain(|refused| refused.value.is_none());
            return Some(whole);
        }
        with(&[]).map_err(|error| self.0.push(refused(said(&error), Some(value.clone())))).ok()
    }

    /// The text of a field: what was typed and refused, or the value in force.
    pub fn text(&self, name: &str, value: &Value) -> String {
        self.of(name).map_or_else(|| typed(value), |refused| refused.text.clone())
    }

    /// What is wrong with a field.
    pub fn wrong(&self, name: &str) -> Option<String> {
        self.of(name).map(|refused| refused.why.clone())
    }

    fn of(&self, name: &str) -> Option<&Refused> {
        self.0.iter().find(|refused| refused.name == name)
    }
}

/// Whether two values are equal as settings: 1 and 1.0 are.
pub fn same(a: Option<&Value>, b: &Value) -> bool {
    let Some(a) = a else { return false };
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

/// The changes that stay when the preset changes: those to settings in which the presets do not differ.
pub fn kept(changed: &Map<String, Value>) -> Map<String, Value> {
    let of_presets = |name: &str| settings::find(name).is_some_and(|setting| setting.why.is_some());
    changed.iter().filter(|(name, _)| !of_presets(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What is wrong with a setting's value, whatever the others are.
pub fn fault(base: &PpoConfig, name: &str, value: &Value) -> Option<String> {
    let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    PpoConfig::from_json(base.clone(), &alone).err().map(|error| said(&error))
}

/// An error as a text.
fn said(error: &Error) -> String {
    match error {
        Error::Input { what, hint } => format!("{what}: {hint}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::SETTINGS;
    use serde_json::json;

    fn edit(draft: &mut Edits, name: &'static str, text: &str) -> Option<Map<String, Value>> {
        draft.edit(&PpoConfig::default(), &Map::new(), name, text)
    }

    #[test]
    fn a_valid_edit_returns_what_differs() {
        let mut draft = Edits::default();
        assert_eq!(edit(&mut draft, "kl_coef", " 0.5 ").unwrap(), json!({"kl_coef": 0.5}).as_object().unwrap().clone());
        assert_eq!(draft, Edits::default());
        let changed = json!({"kl_coef": 0.5, "seed": 3}).as_object().unwrap().clone();
        let back = draft.edit(&PpoConfig::default(), &changed, "kl_coef", "0.2").unwrap();
        assert_eq!(Value::Object(back), json!({"seed": 3}), "a default is no change");
        assert_eq!(Value::Object(edit(&mut draft, "gamma", "1").unwrap()), json!({}), "1 is 1.0");
    }

    #[test]
    fn values_wait_for_each_other() {
        let mut draft = Edits::default();
        assert_eq!(edit(&mut draft, "output_min_length", "500"), None);
        assert!(draft.wrong("output_min_length").unwrap().contains("output_max_length"));
        assert_eq!(draft.text("output_min_length", &json!(100)), "500");
        let both = edit(&mut draft, "output_max_length", "501").unwrap();
        assert_eq!(Value::Object(both), json!({"output_min_length": 500, "output_max_length": 501}));
        assert_eq!(draft, Edits::default());
    }

    #[test]
    fn a_refused_value_stays_marked_and_blocks_no_other_field() {
        let mut draft = Edits::default();
        assert_eq!(edit(&mut draft, "mini_batch_size", "0"), None);
        assert_eq!(Value::Object(edit(&mut draft, "kl_coef", "0.5").unwrap()), json!({"kl_coef": 0.5}));
        assert!(draft.wrong("mini_batch_size").is_some() && draft.wrong("kl_coef").is_none());
        assert_eq!(draft.text("mini_batch_size", &json!(4)), "0");
    }

    #[test]
    fn an_invalid_text_is_reported_and_kept() {
        let mut draft = Edits::default();
        assert_eq!(edit(&mut draft, "batch_size", "many"), None);
        assert_eq!(draft.wrong("batch_size").unwrap(), "Give a whole number of at least 0");
        assert_eq!(draft.text("batch_size", &json!(16)), "many");
        assert_eq!(draft.wrong("seed"), None);
        assert!(edit(&mut draft, "batch_size", "8").is_some() && draft == Edits::default());
        assert_eq!(edit(&mut draft, "gamma", "1.5"), None);
        assert!(draft.wrong("gamma").unwrap().contains("from 0 to 1"));
    }

    #[test]
    fn every_default_is_typed_and_read_back() {
        let defaults = values(&PpoConfig::default());
        for setting in SETTINGS {
            let value = &defaults[setting.name];
            assert!(same(Some(value), &parse(setting.kind, &typed(value)).unwrap()), "{}", setting.name);
        }
        assert_eq!(
            ["max_grad_norm", "adaptive_kl", "learning_rate", "kl_reference"].map(|name| spoken(&defaults[name])),
            ["none", "on", "1.41·10⁻⁵", "initial"]
        );
    }

    #[test]
    fn a_preset_keeps_what_it_does_not_decide() {
        let changed = json!({"kl_coef": 0.5, "min_length": 3}).as_object().unwrap().clone();
        assert_eq!(Value::Object(kept(&changed)), json!({"kl_coef": 0.5}));
    }
}
