//! What a device is called by whoever operates its machine.

use std::fmt;
use std::str::FromStr;

use devices::block::id::DiskId;
use serde::{Deserialize, Serialize};

/// Most characters in a name: as many as a disk's serial number has.
const MAX_LEN: usize = 20;

/// The name of a device, unique in its machine: 1 to 20 characters of
/// printable ASCII without spaces. A disk's is its serial number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

/// A text that cannot name a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device's name has 1 to 20 characters, all of them printable ASCII without spaces")]
pub struct BadDeviceName;

impl TryFrom<String> for DeviceName {
    type Error = BadDeviceName;

    fn try_from(text: String) -> Result<Self, BadDeviceName> {
        let fits = (1..=MAX_LEN).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadDeviceName);
        }
        Ok(Self(text))
    }
}

impl FromStr for DeviceName {
    type Err = BadDeviceName;

    fn from_str(text: &str) -> Result<Self, BadDeviceName> {
        text.to_owned().try_into()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl TryFrom<DiskId> for DeviceName {
    type Error = BadDeviceName;

    fn try_from(id: DiskId) -> Result<Self, BadDeviceName> {
        id.to_string().try_into()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable() {
        for good in ["disk0", "vol-0123456789abcdef", "a/b:c"] {
            assert_eq!(good.parse::<DeviceName>().unwrap().to_string(), good);
        }
        for bad in ["", "a b", "ü", "line\n", "vol-0123456789abcdef0"] {
            assert_eq!(bad.parse::<DeviceName>(), Err(BadDeviceName), "{bad}");
        }
        assert!(serde_json::from_str::<DeviceName>("\"a b\"").is_err());
    }
}
