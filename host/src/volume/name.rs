//! What a volume is called on its host.

use std::fmt;
use std::str::FromStr;

use ::volume::id::VolumeId;
use serde::{Deserialize, Serialize};

/// Longest name.
const MAX_LEN: usize = 64;

/// The name of a volume: 1 to 64 letters, digits, `-`, `_` and `.`, no dot
/// first. It is also a directory's name. A volume's id is not a name, since
/// whoever names a volume may do so by either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// Why a text cannot name a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVolumeName {
    /// It is too long, or has characters that no name has.
    #[error(
        "a volume's name has 1 to {MAX_LEN} characters, letters, digits, '-', '_' and '.', \
         and does not begin with a dot"
    )]
    Characters,
    /// It would be taken for another volume's id.
    #[error("a volume's name is not an id: 'vol-' and 17 digits are what plinth gives")]
    Id,
    /// It would be taken for an option.
    #[error("a volume's name does not begin with '-'")]
    Dash,
}

impl VolumeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VolumeName {
    type Error = BadVolumeName;

    fn try_from(text: String) -> Result<Self, BadVolumeName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let length = 1..=MAX_LEN;
        if !length.contains(&text.len()) || text.starts_with('.') || !text.bytes().all(allowed) {
            return Err(BadVolumeName::Characters);
        }
        if text.starts_with('-') {
            return Err(BadVolumeName::Dash);
        }
        if text.parse::<VolumeId>().is_ok() {
            return Err(BadVolumeName::Id);
        }
        Ok(Self(text))
    }
}

impl FromStr for VolumeName {
    type Err = BadVolumeName;

    fn from_str(text: &str) -> Result<Self, BadVolumeName> {
        text.to_owned().try_into()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn names_are_letters_digits_and_three_signs() {
        for good in ["a", "web-root", "Db_2.data", "0", &"x".repeat(64)] {
            assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", ".new-1", "a/b", "a b", "ü", "a\n", &long] {
            assert_eq!(bad.parse::<VolumeName>(), Err(BadVolumeName::Characters));
        }
        assert_eq!("-x".parse::<VolumeName>(), Err(BadVolumeName::Dash));
    }

    #[test]
    fn an_id_is_no_name_and_what_is_nearly_one_is() {
        let id = "vol-0123456789abcdef0".parse::<VolumeName>();
        assert_eq!(id, Err(BadVolumeName::Id));
        for name in ["vol-0123456789abcdef", "vol-root", "vol0123456789abcdef0"] {
            assert!(name.parse::<VolumeName>().is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_step_down_and_not_hidden(text in "[-._/a-z0-9\\\\\u{e9}]{0,70}") {
            if let Ok(name) = text.parse::<VolumeName>() {
                let steps: Vec<_> = Path::new(name.as_str()).components().collect();
                prop_assert_eq!(steps, vec![Component::Normal(text.as_ref())]);
                prop_assert!(!text.starts_with('.'));
            }
        }
    }
}
