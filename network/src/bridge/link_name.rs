//! What an interface of the host is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// As long as a name may be (IFNAMSIZ less its end).
const MOST: usize = 15;

/// A name that an interface can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

/// A text that no interface is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an interface has 1 to {MOST} printable characters of ASCII, and no slash, colon, \
     percent sign or quote"
)]
pub struct BadLinkName;

impl LinkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LinkName {
    type Error = BadLinkName;

    fn try_from(text: String) -> Result<Self, BadLinkName> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"/:%'\"".contains(&byte);
        let length = (1..=MOST).contains(&text.len());
        if !length || !text.bytes().all(allowed) || [".", ".."].contains(&text.as_str()) {
            return Err(BadLinkName);
        }
        Ok(Self(text))
    }
}

impl FromStr for LinkName {
    type Err = BadLinkName;

    fn from_str(text: &str) -> Result<Self, BadLinkName> {
        text.to_owned().try_into()
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_a_short_name() {
        for good in ["eth0", "eth0.100", "enp0s31f6", &"a".repeat(15)] {
            assert_eq!(good.parse::<LinkName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a%d",
            "ä",
            &"a".repeat(16),
        ] {
            assert_eq!(bad.parse::<LinkName>(), Err(BadLinkName), "{bad}");
        }
    }
}
