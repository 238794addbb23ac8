//! A request's body: a JSON object, read into a type of this interface.
//!
//! Serde's own errors do not say which field is wrong when its value is; this
//! reader keeps the field's name beside each value, so that a client always
//! hears it.

use std::fmt::Display;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::map::IntoIter;
use serde_json::{Map, Value};

use super::failure::{Code, Failure};

/// A body's fields. No body at all is one without fields.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Failure::new(
                Code::BadValue,
                "the body is not a JSON object",
            )),
            Err(error) => Err(Failure::new(
                Code::BadValue,
                format!("the body is not JSON: {error}"),
            )),
        }
    }

    /// Whether there is a field `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Reads all fields into a `T`, which refuses those that it does not know.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        T::deserialize(Object(self.0)).map_err(Failure::from)
    }

    /// Takes the field `name` out and reads it.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, Failure> {
        let value = self.0.remove(name);
        let value = value.ok_or_else(|| Wrong::missing_field(name))?;
        let read = T::deserialize(value).map_err(Wrong::custom);
        read.map_err(|wrong| wrong.inside(name).into())
    }
}

/// What is wrong with a body, and where.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Wrong {
    /// A path such as `receive.bytes_per_second`.
    field: Option<String>,
    message: String,
}

impl Wrong {
    /// The same, seen from outside the field `outer`.
    fn inside(self, outer: &str) -> Self {
        let field = match self.field {
            Some(inner) => format!("{outer}.{inner}"),
            None => outer.to_owned(),
        };
        Self {
            field: Some(field),
            ..self
        }
    }
}

impl Error for Wrong {
    fn custom<T: Display>(message: T) -> Self {
        Self {
            field: None,
            message: message.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            field: Some(field.into()),
            message: "it is missing".into(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = match expected {
            [] => "there is no such field: none is expected".into(),
            _ => format!("there is no such field; there are {}", expected.join(", ")),
        };
        Self {
            field: Some(field.to_owned()),
            message,
        }
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        match wrong.field {
            Some(field) => {
                let message = format!("field '{field}': {}", wrong.message);
                Self::in_field(field, message)
            }
            None => Self::new(Code::BadValue, wrong.message),
        }
    }
}

/// An object that is being read.
struct Object(Map<String, Value>);

impl<'de> Deserializer<'de> for Object {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Fields {
            rest: self.0.into_iter(),
            current: None,
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Its fields, and the one whose value comes next.
struct Fields {
    rest: IntoIter,
    current: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.current = self.rest.next();
        let Some((name, _)) = &self.current else {
            return Ok(None);
        };
        let name: StringDeserializer<Wrong> = name.clone().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.current.take().expect("a key comes before its value");
        let read = match value {
            Value::Object(fields) => seed.deserialize(Object(fields)),
            value => seed.deserialize(value).map_err(Wrong::custom),
        };
        read.map_err(|wrong| wrong.inside(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::num::NonZeroU64;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        count: u8,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        rate: NonZeroU64,
    }

    fn read(text: &str) -> Result<Outer, Failure> {
        Body::parse(text.as_bytes())?.read()
    }

    #[test]
    fn an_object_is_read() {
        let rate = NonZeroU64::new(7).unwrap();
        let both = read(r#"{"inner":{"rate":7},"count":1}"#).unwrap();
        let inner = Some(Inner { rate });
        assert_eq!(both, Outer { count: 1, inner });
        for text in [r#"{"count":2}"#, r#" {"count":2,"inner":null} "#] {
            let inner = None;
            assert_eq!(read(text).unwrap(), Outer { count: 2, inner });
        }
    }

    #[test]
    fn the_offending_field_is_named_however_deep() {
        for (text, field) in [
            ("", "count"),
            ("{}", "count"),
            (r#"{"count":-1}"#, "count"),
            (r#"{"count":256}"#, "count"),
            (r#"{"count":{"a":1}}"#, "count"),
            (r#"{"count":1,"more":1}"#, "more"),
            (r#"{"count":1,"inner":3}"#, "inner"),
            (r#"{"count":1,"inner":{}}"#, "inner.rate"),
            (r#"{"count":1,"inner":{"rate":0}}"#, "inner.rate"),
            (r#"{"count":1,"inner":{"rate":1,"rat":1}}"#, "inner.rat"),
        ] {
            let failure = read(text).unwrap_err();
            let document = serde_json::to_value(failure.document()).unwrap();
            assert_eq!(document["error"]["field"], field, "{text}");
            let message = document["error"]["message"].as_str().unwrap();
            assert!(message.contains(&format!("field '{field}'")), "{message}");
            assert_eq!(failure.code.status().0, 400);
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", "null", "{", "{}{}", "\u{0}"] {
            let failure = Body::parse(text.as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::BadValue, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(body) = Body::parse(&bytes) {
                let _ = body.read::<Outer>();
            }
        }
    }
}
