//! How a command names a volume that is there: by its name or by its id.

use std::fmt;
use std::str::FromStr;

use ::volume::id::VolumeId;

use super::name::{BadVolumeName, VolumeName};

/// A volume's name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The volume that is called this.
    Name(VolumeName),
    /// The volume with this id, whatever it is called.
    Id(VolumeId),
}

impl FromStr for Selector {
    type Err = BadVolumeName;

    fn from_str(text: &str) -> Result<Self, BadVolumeName> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        let id = "vol-0123456789abcdef0";
        assert_eq!(id.parse(), Ok(Selector::Id(id.parse().unwrap())));
        assert_eq!("root".parse(), Ok(Selector::Name("root".parse().unwrap())));
        assert_eq!(
            "../root".parse::<Selector>(),
            Err(BadVolumeName::Characters)
        );
        assert_eq!(id.parse::<Selector>().unwrap().to_string(), id);
    }
}
