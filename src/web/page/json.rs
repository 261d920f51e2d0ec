//! Reads the protocol's types from JSON. A derived `Deserialize` reads every struct from an object and also from an array.
//! JSON needs only objects, and without the code for arrays the page is about 25 kB smaller.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::{Error, Map, Value};

/// A value from its JSON text.
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    T::deserialize(Json(serde_json::from_str(json)?))
}

struct Json(Value);

impl IntoDeserializer<'_, Error> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! as_value {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.$method(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Json {
    type Error = Error;

    as_value! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    // Not used by the protocol.
    serde::forward_to_deserialize_any! { unit_struct tuple tuple_struct }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(all) => visitor.visit_seq(SeqDeserializer::new(all.into_iter().map(Json))),
            _ => Err(Error::custom("expected an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.object()?.into_iter().map(|(key, value)| (key, Json(value)))))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    /// `"Variant"` or `{"Variant": content}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let object = match self.0 {
            Value::String(variant) => Map::from_iter([(variant, Value::Null)]),
            other => Json(other).object()?,
        };
        let object = object.into_iter().map(|(key, value)| (key, Json(value)));
        visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(object)))
    }
}

impl Json {
    fn object(self) -> Result<Map<String, Value>, Error> {
        match self.0 {
            Value::Object(object) => Ok(object),
            _ => Err(Error::custom("expected an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::read;
    use crate::error::Error;
    use crate::protocol::{Answer, Event, Phase, Reply, Stage, Statistics, Toxicity};

    #[test]
    fn what_is_written_is_read() {
        let toxicity = r#"{"n":1,"mean":0.1,"std":0.0,"maximum":0.1,"ratio":0.0,"all":[0.1]}"#;
        assert_eq!(read::<Toxicity>(toxicity).unwrap(), serde_json::from_str(toxicity).unwrap());
        let statistics = Stage::Statistics(Box::new(Statistics { step: 3, ..Statistics::default() }));
        for reply in [
            Reply::Ready { version: "1".into(), threads: 2, kept: None, models: Vec::new() },
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
