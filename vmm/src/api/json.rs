//! JSON from a client, in which no object has a field twice: of two readers,
//! one might heed the first and one the second.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why something is not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is not JSON.
    Malformed(serde_json::Error),
    /// The field with this path, such as `receive.bytes_per_second`, is there
    /// twice.
    Twice(String),
}

/// Reads `bytes`, which are one value.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let twice = RefCell::new(None);
    let root = Node {
        path: "",
        twice: &twice,
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = root.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| match twice.take() {
        Some(path) => Unreadable::Twice(path),
        None => Unreadable::Malformed(error),
    })
}

/// Where a value is read.
#[derive(Clone, Copy)]
struct Node<'a> {
    path: &'a str,
    twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = match self.path {
                "" => name.clone(),
                outer => format!("{outer}.{name}"),
            };
            if all.contains_key(&name) {
                *self.twice.borrow_mut() = Some(path);
                return Err(A::Error::custom("a field is there twice"));
            }
            let path = &path;
            let value = fields.next_value_seed(Node { path, ..self })?;
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_that_is_there_twice_is_named_however_deep() {
        for (text, path) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#"{"a":{"b":1,"c":{},"b":2}}"#, "a.b"),
            (r#"{"a":[{"b":1,"b":2}]}"#, "a.b"),
        ] {
            match parse(text.as_bytes()) {
                Err(Unreadable::Twice(found)) => assert_eq!(found, path, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_same_name_in_two_objects_is_two_fields() {
        let text = r#"{"a":{"b":[1,-1,1.5,true,null,"x"]},"b":{"b":{}}}"#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), plain);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_any_reader_reads(text in "[{}\\[\\]\",:ab01 .-]{0,30}") {
            let plain = serde_json::from_str::<Value>(&text);
            match parse(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(value, plain.unwrap()),
                Err(Unreadable::Malformed(_)) => prop_assert!(plain.is_err()),
                // What follows has not been looked at.
                Err(Unreadable::Twice(_)) => {}
            }
        }
    }
}
