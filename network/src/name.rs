//! What networks and their parts are called by people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// As long as a host name's label may be (RFC 1035 §2.3.4).
const MAX_LEN: usize = 63;

/// A name: 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or a
/// digit. It is also a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {MAX_LEN} characters, letters, digits, '-', '_' and '.', and begins with a \
     letter or a digit"
)]
pub struct BadName;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of what every network has: one of plinth's own names.
    pub(crate) fn own(text: &'static str) -> Self {
        text.parse().expect("plinth's own names are names")
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins || text.len() > MAX_LEN || !text.bytes().all(allowed) {
            return Err(BadName);
        }
        Ok(Self(text))
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        text.to_owned().try_into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_that_can_be_a_file() {
        for good in ["a", "0", "web-1.example_x", &"a".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(BadName));
        }
    }
}
