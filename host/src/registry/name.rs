//! What a machine is called on its host.

use std::fmt;
use std::str::FromStr;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

/// As long as a host name's label may be (RFC 1035 §2.3.4).
const MAX_LEN: usize = 63;

/// The name of a machine: 1 to 63 letters, digits, `-`, `_` and `.`, the
/// first a letter or a digit. It is also a directory's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmName(String);

/// A text that cannot name a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a machine's name has 1 to {MAX_LEN} characters, letters, digits, '-', '_' and '.', \
     and begins with a letter or a digit"
)]
pub struct BadVmName;

impl VmName {
    /// A name that reads well, at random; whether it is free is for the
    /// registry to say.
    ///
    /// # Errors
    /// The kernel gives no random numbers, which does not happen once it has
    /// booted.
    pub fn generate() -> rustix::io::Result<Self> {
        let mut random = [0; 3];
        retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))?;
        let [quality, animal, number] = random.map(usize::from);
        let quality = QUALITIES[quality % QUALITIES.len()];
        let animal = ANIMALS[animal % ANIMALS.len()];
        Ok(Self(format!("{quality}-{animal}-{}", number % 100)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const QUALITIES: [&str; 32] = [
    "amber", "brave", "brisk", "calm", "clear", "cool", "early", "fair", "fond", "fresh", "glad",
    "grand", "happy", "keen", "kind", "light", "lucky", "merry", "mild", "neat", "noble", "plain",
    "proud", "quick", "quiet", "ready", "sharp", "still", "sunny", "swift", "warm", "wise",
];

const ANIMALS: [&str; 32] = [
    "badger", "bear", "bee", "crane", "crow", "deer", "dove", "eagle", "falcon", "finch", "fox",
    "frog", "gull", "hare", "hawk", "heron", "ibis", "lark", "lynx", "mole", "newt", "otter",
    "owl", "pike", "robin", "seal", "stork", "swan", "tern", "toad", "trout", "wren",
];

impl TryFrom<String> for VmName {
    type Error = BadVmName;

    fn try_from(text: String) -> Result<Self, BadVmName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins || text.len() > MAX_LEN || !text.bytes().all(allowed) {
            return Err(BadVmName);
        }
        Ok(Self(text))
    }
}

impl FromStr for VmName {
    type Err = BadVmName;

    fn from_str(text: &str) -> Result<Self, BadVmName> {
        text.to_owned().try_into()
    }
}

impl From<VmName> for String {
    fn from(name: VmName) -> Self {
        name.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_directories_and_of_nothing_above_them() {
        for good in ["a", "web-1", "Db_2.test", &"x".repeat(63)] {
            assert_eq!(good.parse::<VmName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(64);
        for bad in [
            "", ".", "..", ".lock", "-x", "a/b", "a b", "ü", "a\n", &long,
        ] {
            assert_eq!(bad.parse::<VmName>(), Err(BadVmName), "{bad:?}");
        }
    }

    #[test]
    fn a_generated_name_is_a_name() {
        for _ in 0..100 {
            let name = VmName::generate().unwrap();
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
    }
}
