//! Where a wrapping key is looked for.

use std::fmt;
use std::path::{self, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::wrapping_key::WrappingKey;
use super::{key_file, key_ring};
use crate::error::Error;

/// The longest description of a key, in bytes (add_key(2)).
const LONGEST: usize = 4095;

/// Where a wrapping key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// In a file, by its absolute path.
    File(PathBuf),
    /// In the kernel's keyring.
    Keyring(KeyName),
}

/// What a key in the kernel's keyring is called there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// Not the description of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key in the kernel's keyring is called by 1 to {LONGEST} bytes, none of them zero")]
pub struct BadKeyName;

impl KeySource {
    /// The file at `path`, also for who looks for it from elsewhere.
    ///
    /// # Errors
    /// The path cannot be recorded.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let refused = |why: &str| {
            Error::configuration(format!("the path of key file '{}' {why}", path.display()))
        };
        let absolute =
            path::absolute(path).map_err(|error| refused("does not do").because(error))?;
        match absolute.to_str() {
            Some(_) => Ok(Self::File(absolute)),
            None => Err(refused("is not UTF-8").remedy("another name for it")),
        }
    }

    /// Gets the key.
    pub(super) fn load(&self) -> Result<WrappingKey, Error> {
        match self {
            Self::File(path) => key_file::read(path),
            Self::Keyring(name) => key_ring::read(&name.0),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the key in file '{}'", path.display()),
            Self::Keyring(name) => write!(f, "the key '{}' in the kernel's keyring", name.0),
        }
    }
}

impl FromStr for KeyName {
    type Err = BadKeyName;

    fn from_str(text: &str) -> Result<Self, BadKeyName> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for KeyName {
    type Error = BadKeyName;

    fn try_from(text: String) -> Result<Self, BadKeyName> {
        match text.len() {
            1..=LONGEST if !text.contains('\0') => Ok(Self(text)),
            _ => Err(BadKeyName),
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        let file = KeySource::file(Path::new("/etc/plinth.key")).unwrap();
        let ring = KeySource::Keyring("plinth:web".parse().unwrap());
        for (source, text) in [
            (file, r#"{"file":"/etc/plinth.key"}"#),
            (ring, r#"{"keyring":"plinth:web"}"#),
        ] {
            assert_eq!(serde_json::to_string(&source).unwrap(), text);
            assert_eq!(serde_json::from_str::<KeySource>(text).unwrap(), source);
        }
    }

    #[test]
    fn a_relative_path_is_of_the_directory_that_it_was_given_in() {
        let KeySource::File(path) = KeySource::file(Path::new("key")).unwrap() else {
            panic!("it is a file");
        };
        assert_eq!(path, std::env::current_dir().unwrap().join("key"));
    }

    #[test]
    fn a_description_that_the_kernel_would_refuse_is_refused() {
        assert!("a".repeat(LONGEST).parse::<KeyName>().is_ok());
        for bad in ["", "a\0b", &"a".repeat(LONGEST + 1)] {
            assert_eq!(bad.parse::<KeyName>(), Err(BadKeyName));
        }
        assert!(serde_json::from_str::<KeyName>(r#""""#).is_err());
    }
}
