//! JSON values without serde_json's text format: types are read from a [`Value`], and a value is written as text. The page
//! has no other reader and writer, because serde_json's own, with its tables, would make it larger.

use serde::de::value::{Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Expected, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Map, Value};

/// A type from a JSON value.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Json(value))
}

/// Takes a field out of an object; one that is not there is null if its type can be.
#[inline(never)]
pub fn field<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &'static str) -> Result<T, Error> {
    match fields.swap_remove(name) {
        Some(value) => read(value),
        None => read(Value::Null).map_err(|_| Error::missing_field(name)),
    }
}

/// A value as JSON text.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
        Value::Number(x) => out.push_str(&match (x.as_u64(), x.as_i64(), x.as_f64()) {
            (Some(x), ..) => x.to_string(),
            (_, Some(x), _) => x.to_string(),
            (.., x) => format!("{:?}", x.unwrap_or_default()), // the shortest text that is read as the same number
        }),
        Value::String(text) => quoted(text, out),
        Value::Array(all) => {
            for (i, value) in all.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                write(value, out);
            }
            out.push_str(if all.is_empty() { "[]" } else { "]" });
        }
        Value::Object(all) => {
            for (i, (key, value)) in all.iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                quoted(key, out);
                out.push(':');
                write(value, out);
            }
            out.push_str(if all.is_empty() { "{}" } else { "}" });
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// A value that types are read from. A derived `Deserialize` reads every struct from an object and also from an array.
/// JSON needs only objects, and without the code for arrays the page is about 25 kB smaller.
struct Json(Value);

impl IntoDeserializer<'_, Error> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Each of these calls one method of the visitor, because all code here is compiled again for every type that is read.
macro_rules! scalars {
    ($($read:ident $visit:ident: $($method:ident)+;)+) => {
        $($(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.$read() {
                Some(value) => visitor.$visit(value),
                None => Err(self.unfit(&visitor)),
            }
        })+)+
    };
}

impl<'de> Deserializer<'de> for Json {
    type Error = Error;

    scalars! {
        as_bool visit_bool: deserialize_bool;
        as_i64 visit_i64: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64;
        as_u64 visit_u64: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64;
        as_f64 visit_f64: deserialize_f32 deserialize_f64;
        as_str visit_str: deserialize_char deserialize_str deserialize_bytes deserialize_byte_buf deserialize_identifier;
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            _ => Err(self.unfit(&visitor)),
        }
    }

    // Not used by the protocol.
    serde::forward_to_deserialize_any! { unit_struct tuple tuple_struct }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            Value::Bool(on) => visitor.visit_bool(on),
            Value::String(text) => visitor.visit_string(text),
            Value::Number(x) => match (x.as_u64(), x.as_i64(), x.as_f64()) {
                (Some(x), ..) => visitor.visit_u64(x),
                (_, Some(x), _) => visitor.visit_i64(x),
                (.., x) => visitor.visit_f64(x.unwrap_or_default()),
            },
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_unit() } else { Err(self.unfit(&visitor)) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

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

    #[cold]
    #[inline(never)]
    fn unfit(&self, expected: &dyn Expected) -> Error {
        let found = match &self.0 {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(on) => Unexpected::Bool(*on),
            Value::String(text) => Unexpected::Str(text),
            Value::Number(x) => match (x.as_u64(), x.as_i64(), x.as_f64()) {
                (Some(x), ..) => Unexpected::Unsigned(x),
                (_, Some(x), _) => return Error::invalid_value(Unexpected::Signed(x), expected),
                (.., x) => Unexpected::Float(x.unwrap_or_default()),
            },
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        Error::invalid_type(found, expected)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{read, to_json};
    use serde_json::{Value, json};

    #[test]
    fn text_is_json() {
        let value = json!({
            "a": [1, -2, 0.1, 1e300, 1.41e-5, 18_446_744_073_709_551_615_u64, [], {}], "b\n\"\\\u{1}": "\u{2212}ä", "c": [null, true, false],
        });
        assert_eq!(serde_json::from_str::<Value>(&to_json(&value)).unwrap(), value);
        assert_eq!(to_json(&json!([0.05, 2.0, "x"])), r#"[0.05,2.0,"x"]"#);
    }

    #[test]
    fn a_wrong_type_is_named() {
        let wrong = |value| read::<f64>(value).unwrap_err().to_string();
        assert_eq!(wrong(json!("x")), "invalid type: string \"x\", expected f64");
        assert_eq!(wrong(json!(null)), "invalid type: null, expected f64");
        assert_eq!((read::<f64>(json!(2)).unwrap(), read::<f32>(json!(-2)).unwrap()), (2.0, -2.0));
        assert_eq!(read::<Value>(json!({"a": [null, 1]})).unwrap(), json!({"a": [null, 1]}));
    }
}
