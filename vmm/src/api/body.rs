//! A request's body: a JSON object, read into a type of this interface.
//!
//! Serde's own errors do not say which field is wrong when its value is, and
//! speak of Rust's types; this reader keeps the field's name beside each value,
//! and says in plain words what belongs there.

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::map::IntoIter;
use serde_json::{Map, Value};

use super::failure::{Code, Failure};
use super::flaw::Flaw;
use super::json::{self, Unreadable};

/// A body's fields. No body at all is one without fields.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        match json::parse(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Failure::new(
                Code::BadValue,
                "the body is not a JSON object",
            )),
            Err(Unreadable::Malformed(error)) => Err(Failure::new(
                Code::BadValue,
                format!("the body is not JSON: {error}"),
            )),
            Err(Unreadable::Twice(field)) => {
                let message = format!("field '{field}': it is there twice; send it once");
                Err(Failure::in_field(field, message))
            }
        }
    }

    /// Whether there is a field `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Reads all fields into a `T`, which refuses those that it does not know.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        T::deserialize(Node(Value::Object(self.0))).map_err(Failure::from)
    }

    /// Takes the field `name` out and reads it.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, Failure> {
        let value = self.0.remove(name);
        let value = value.ok_or_else(|| Flaw::missing_field(name))?;
        T::deserialize(Node(value)).map_err(|flaw| flaw.inside(name).into())
    }
}

/// A value that is being read.
struct Node(Value);

impl<'de> Deserializer<'de> for Node {
    type Error = Flaw;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Node)))
            }
            Value::Object(fields) => visitor.visit_map(Fields {
                rest: fields.into_iter(),
                current: None,
            }),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            // No kind of this interface has fields.
            other => Node(other).deserialize_str(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Flaw> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Its fields, and the one whose value comes next.
struct Fields {
    rest: IntoIter,
    current: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Flaw;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Flaw> {
        self.current = self.rest.next();
        let Some((name, _)) = &self.current else {
            return Ok(None);
        };
        let name: StringDeserializer<Flaw> = name.clone().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Flaw> {
        let (name, value) = self.current.take().expect("a key comes before its value");
        let read = seed.deserialize(Node(value));
        read.map_err(|flaw| flaw.inside(&name))
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
            (r#"{"count":1,"count":1}"#, "count"),
            (r#"{"count":1,"inner":{"rate":1,"rate":1}}"#, "inner.rate"),
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

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sizes {
        #[serde(default)]
        size_bytes: Option<u64>,
        #[serde(default)]
        wait_ms: u64,
        #[serde(default)]
        count: u8,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        #[default]
        Hot,
        Cold,
    }

    #[test]
    fn what_belongs_there_is_said_in_plain_words() {
        for (text, message) in [
            (
                r#"{"size_bytes":"1G"}"#,
                "field 'size_bytes': the text \"1G\" is not a whole number of bytes, 0 or more",
            ),
            (
                r#"{"size_bytes":-1}"#,
                "field 'size_bytes': -1 is not a whole number of bytes, 0 or more",
            ),
            (
                r#"{"wait_ms":1.5}"#,
                "field 'wait_ms': 1.5 is not a whole number of milliseconds, 0 or more",
            ),
            (
                r#"{"wait_ms":null}"#,
                "field 'wait_ms': null is not a whole number of milliseconds, 0 or more",
            ),
            (
                r#"{"count":[]}"#,
                "field 'count': a list is not a whole number from 0 to 255",
            ),
            (
                r#"{"count":256}"#,
                "field 'count': 256 is not a whole number from 0 to 255",
            ),
            (r#"{"on":1}"#, "field 'on': 1 is not true or false"),
            (
                r#"{"kind":"tepid"}"#,
                "field 'kind': 'tepid' is none of hot, cold",
            ),
            (
                r#"{"on":true,"on":true}"#,
                "field 'on': it is there twice; send it once",
            ),
        ] {
            let failure = Body::parse(text.as_bytes()).and_then(Body::read::<Sizes>);
            let document = serde_json::to_value(failure.unwrap_err().document()).unwrap();
            assert_eq!(document["error"]["message"], message, "{text}");
        }
        let body = Body::parse(br#"{"kind":"cold","size_bytes":null}"#).unwrap();
        assert_eq!(body.read::<Sizes>().unwrap().kind, Kind::Cold);
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
