//! Reads the protocol's types from JSON text, which the browser parses: serde_json's parser would make the page larger.

use super::reading::Read;
use js_sys::{Array, Object};
use serde::de::Error as _;
use serde::de::value::Error;
use serde_json::{Number, Value};
use wasm_bindgen::{JsCast, JsValue};

/// A type from its JSON text.
pub fn read<T: Read>(json: &str) -> Result<T, Error> {
    T::read(parse(json)?)
}

/// A value from its JSON text. Unit tests run outside a browser.
pub fn parse(json: &str) -> Result<Value, Error> {
    if cfg!(test) {
        return serde_json::from_str(json).map_err(Error::custom);
    }
    js_sys::JSON::parse(&exact_seeds(json))
        .map(|value| of(&value))
        .map_err(|error| Error::custom(String::from(Object::from(error).to_string())))
}

/// Marks a string that [`of`] reads as a whole number. No text of the protocol begins with this character.
const WHOLE: char = '\u{1}';

/// Quotes the seeds: the browser reads numbers in 64-bit floats, which would round a seed of more than 53 bits.
fn exact_seeds(json: &str) -> String {
    let mut parts = json.split("\"seed\":");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (seed, rest) = part.split_at(digits);
        // A JSON text cannot contain the character itself.
        let quoted = if seed.is_empty() { String::new() } else { format!("\"\\u{:04x}{seed}\"", u32::from(WHOLE)) };
        text.extend(["\"seed\":", &quoted, rest]);
    }
    text
}

fn of(value: &JsValue) -> Value {
    if let Some(x) = value.as_f64() {
        // As in serde_json, whole numbers are integers.
        match x {
            _ if x.fract() != 0.0 || x.to_bits() == (-0.0_f64).to_bits() => Number::from_f64(x).into(),
            0.0..18_446_744_073_709_551_616.0 => (x as u64).into(),
            -9_223_372_036_854_775_808.0..0.0 => (x as i64).into(),
            _ => Number::from_f64(x).into(),
        }
    } else if let Some(text) = value.as_string() {
        match text.strip_prefix(WHOLE).and_then(|digits| digits.parse::<u64>().ok()) {
            Some(whole) => whole.into(),
            None => text.into(),
        }
    } else if let Some(on) = value.as_bool() {
        on.into()
    } else if Array::is_array(value) {
        value.unchecked_ref::<Array>().iter().map(|value| of(&value)).collect()
    } else if value.is_null() {
        Value::Null
    } else {
        let pair = |pair: JsValue| {
            let pair = pair.unchecked_into::<Array>();
            (pair.get(0).as_string().unwrap_or_default(), of(&pair.get(1)))
        };
        Value::Object(Object::entries(value.unchecked_ref()).iter().map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{exact_seeds, read};
    use crate::error::Error;
    use crate::protocol::{Answer, Event, Phase, Reply, Stage, Statistics, Toxicity};

    #[test]
    fn seeds_are_quoted_and_nothing_else() {
        let text = |seed: &str| format!("{{\"seed\":{seed},\"seeds\":7,\"text\":\"\\\"seed\\\":7\"}}");
        assert_eq!(exact_seeds(&text("18446744073709551615")), text("\"\\u000118446744073709551615\""));
        assert_eq!(exact_seeds(&text("null")), text("null"));
    }

    #[test]
    fn what_is_written_is_read() {
        let toxicity = r#"{"n":1,"mean":0.1,"std":0.0,"maximum":0.1,"ratio":0.0,"all":[0.1]}"#;
        assert_eq!(read::<Toxicity>(toxicity).unwrap(), serde_json::from_str(toxicity).unwrap());
        let statistics = Stage::Statistics(Box::new(Statistics { step: 3, ..Statistics::default() }));
        for reply in [
            Reply::Ready { version: "1".into(), threads: 2, kernel: "simd128".into(), kept: None, models: Vec::new() },
            Reply::Done { id: 7, answer: Answer::Nothing },
            Reply::Failed { id: 7, error: Error::Stopped },
            Reply::Failed { id: 7, error: Error::input("what", "hint") },
            Reply::Event { id: 7, event: Event::Progress { phase: Phase::Train, done: 1, of: 2 } },
            Reply::Event { id: 7, event: Event::Stage(Box::new(statistics)) },
            Reply::Event { id: 7, event: Event::Warning("\u{2212}".into()) },
        ] {
            assert_eq!(read::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(), reply);
        }
        let page = include_str!("../../../static/recorded/page.json");
        assert_eq!(crate::web::page::recorded::recorded(page).unwrap(), serde_json::from_str(page).unwrap());
        assert!(read::<Reply>(r#"{"done":[7,"nothing"]}"#).is_err());
    }
}
