//! What is wrong with a request's body, and where, in words for a person: not
//! "expected u64" but what belongs there.
//!
//! It is the error of the reader of [bodies](super::body), which Serde's
//! derived code makes.

use std::fmt::Display;

use serde::de::{Error, Expected, Unexpected};

use super::failure::{Code, Failure};

/// What is wrong with a body, and where.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Flaw {
    /// A path such as `receive.bytes_per_second`.
    field: Option<String>,
    message: String,
    /// A whole number belongs there, in this range.
    range: Option<String>,
}

impl Flaw {
    fn new(message: impl Into<String>) -> Self {
        Self {
            field: None,
            message: message.into(),
            range: None,
        }
    }

    /// The same, seen from outside the field `outer`.
    pub(super) fn inside(self, outer: &str) -> Self {
        let field = match self.field {
            Some(inner) => format!("{outer}.{inner}"),
            None => outer.to_owned(),
        };
        let message = match self.range {
            Some(range) => format!("{}{}{range}", self.message, unit(outer)),
            None => self.message,
        };
        Self {
            field: Some(field),
            message,
            range: None,
        }
    }

    /// `found` is not what belongs there.
    fn instead(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let wanted = wanted.to_string();
        let range = range(&wanted);
        let words = match wanted.as_str() {
            _ if range.is_some() => "a whole number",
            "a boolean" => "true or false",
            "a string" | "string or map" => "text in quotes",
            other if other.starts_with("struct") => "an object with fields",
            other => other,
        };
        let found = match found {
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unsigned(value) => value.to_string(),
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Float(value) => value.to_string(),
            Unexpected::Str(value) => format!("the text \"{value}\""),
            Unexpected::Unit => "null".into(),
            Unexpected::Seq => "a list".into(),
            Unexpected::Map => "an object".into(),
            other => other.to_string(),
        };
        Self {
            range,
            ..Self::new(format!("{found} is not {words}"))
        }
    }
}

/// The range of the number that Serde calls `wanted`, if it is one: a type of
/// Rust's, such as "u16" or "a nonzero u64".
fn range(wanted: &str) -> Option<String> {
    let least = u8::from(wanted.starts_with("a nonzero "));
    let most = match wanted.rsplit(' ').next()? {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX,
        "u64" => return Some(format!(", {least} or more")),
        _ => return None,
    };
    Some(format!(" from {least} to {most}"))
}

/// What the number in a field of this name counts.
fn unit(field: &str) -> &'static str {
    match field {
        "bytes_per_second" | "bytes_burst" => " of bytes",
        _ if field.ends_with("bytes") => " of bytes",
        _ if field.ends_with("_ms") => " of milliseconds",
        _ => "",
    }
}

impl Error for Flaw {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::instead(found, wanted)
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::instead(found, wanted)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("'{variant}' is none of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new("it is missing")
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = match expected {
            [] => "there is no such field: none is expected".into(),
            _ => format!("there is no such field; there are {}", expected.join(", ")),
        };
        Self {
            field: Some(field.to_owned()),
            ..Self::new(message)
        }
    }
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        match flaw.field {
            Some(field) => {
                let message = format!("field '{field}': {}", flaw.message);
                Self::in_field(field, message)
            }
            None => Self::new(Code::BadValue, flaw.message),
        }
    }
}
