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
        other => other.to_string(),
    }
}

/// A value in words: `none`, `on`, `off`, `0.2`.
pub fn spoken(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(on) => if *on { "on" } else { "off" }.into(),
        Value::Number(x) => x.as_f64().map_or_else(String::new, super::format::setting),
        Value::String(text) => text.replace('_', " "),
        other => other.to_string(),
    }
}

/// Edits that are not in force yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    /// Texts that are no value: (setting, text, what is wrong).
    pub unread: Vec<(&'static str, String, String)>,
    /// Values that wait until they are valid together with the others.
    pub waiting: Map<String, Value>,
    /// Why they wait, shown at the setting edited last.
    pub refusal: Option<(&'static str, String)>,
}

impl Edits {
    /// Applies an edit. If all settings are valid together, returns those that differ from `base` and empties the edits.
    pub fn edit(
        &mut self,
        base: &PpoConfig,
        changed: &Map<String, Value>,
        name: &'static str,
        text: &str,
    ) -> Option<Map<String, Value>> {
        let kind = settings::find(name)?.kind;
        self.unread.retain(|(other, ..)| *other != name);
        self.refusal = None;
        match parse(kind, text) {
            Ok(value) => {
                self.waiting.insert(name.into(), value);
            }
            Err(wrong) => {
                self.waiting.remove(name);
                self.unread.push((name, text.into(), wrong));
                return None;
            }
        }
        let mut whole = changed.clone();
        whole.extend(self.waiting.clone());
        let defaults = values(base);
        whole.retain(|name, value| !same(defaults.get(name), value));
        match PpoConfig::from_json(base.clone(), &Value::Object(whole.clone())) {
            Ok(_) => {
                self.waiting = Map::new();
                Some(whole)
            }
            Err(error) => {
                self.refusal = Some((name, said(&error)));
                None
            }
        }
    }

    /// The text of a field: what was typed, the waiting value, or the value in force.
    pub fn text(&self, name: &str, value: &Value) -> String {
        let unread = self.unread.iter().find(|(other, ..)| *other == name).map(|(_, text, _)| text.clone());
        unread.unwrap_or_else(|| typed(self.waiting.get(name).unwrap_or(value)))
    }

    /// What is wrong with a field.
    pub fn wrong(&self, name: &str) -> Option<String> {
        let unread = self.unread.iter().find(|(other, ..)| *other == name).map(|(.., wrong)| wrong.clone());
        let refused = || self.refusal.as_ref().filter(|(other, _)| *other == name).map(|(_, why)| why.clone());
        unread.or_else(refused)
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
    fn an_invalid_text_is_reported_and_kept() {
        let mut draft = Edits::default();
        assert_eq!(edit(&mut draft, "batch_size", "many"), None);
        assert_eq!(draft.wrong("batch_size").unwrap(), "Give a whole number of at least 0");
        assert_eq!(draft.text("batch_size", &json!(16)), "many");
        assert_eq!(draft.wrong("seed"), None);
        assert!(edit(&mut draft, "batch_size", "8").is_some() && draft.unread.is_empty());
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
