//! Something in a network, as commands name it: `VPC/NAME`.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use network::name::Name;

use super::Invalid;

/// A part of a network: by a name, or by what else tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InVpc<T = Name> {
    /// Which network.
    pub vpc: Name,
    /// What it is called there.
    pub name: T,
}

impl<T: FromStr<Err: Error>> FromStr for InVpc<T> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (vpc, name) = text
            .split_once('/')
            .ok_or_else(|| Invalid::new("it is named with its network before it: VPC/NAME"))?;
        Ok(Self {
            vpc: vpc.parse().map_err(Invalid::because)?,
            name: name.parse().map_err(Invalid::because)?,
        })
    }
}

impl<T: fmt::Display> fmt::Display for InVpc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vpc, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_with_its_network() {
        let part: InVpc = "shop/front".parse().unwrap();
        assert_eq!((part.vpc.as_str(), part.name.as_str()), ("shop", "front"));
        assert_eq!(part.to_string(), "shop/front");
        for bad in ["front", "shop/", "/front", "a/b/c", "a/.."] {
            assert!(bad.parse::<InVpc>().is_err(), "{bad}");
        }
    }
}
