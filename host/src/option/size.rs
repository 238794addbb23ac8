//! The size of a guest's memory, as in `512M` or `2GiB`.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

const MIB: u64 = 1 << 20;

/// The least memory a guest can have, in bytes.
pub const LEAST: u64 = 64 * MIB;

/// A guest's memory size: whole MiB, 64 at least. What the host has is
/// checked when it is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize(u64);

impl MemorySize {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// A whole number, then K, M, G or T for powers of 1024, also written KiB,
/// MiB, GiB, TiB, in upper or lower case; a number alone is bytes.
impl FromStr for MemorySize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number
            .parse()
            .map_err(|_| Invalid::new("a size is a whole number and a unit, such as 512M or 2G"))?;
        let unit = match unit.to_ascii_lowercase().as_str() {
            "" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => MIB,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => {
                return Err(Invalid::new(format!(
                    "'{unit}' is not a unit: there are K, M, G and T (powers of 1024)"
                )));
            }
        };
        let bytes = number
            .checked_mul(unit)
            .ok_or_else(|| Invalid::new("no machine has that much memory"))?;
        if bytes < LEAST {
            return Err(Invalid::new(format!(
                "a guest needs 64M of memory or more, and this is {}",
                Amount(bytes)
            )));
        }
        if !bytes.is_multiple_of(MIB) {
            return Err(Invalid::new("memory comes in whole MiB"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Amount(self.0).fmt(f)
    }
}

/// An amount of memory for a person: in the largest unit that divides it.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<u64, String> {
        text.parse()
            .map(MemorySize::bytes)
            .map_err(|error: Invalid| error.to_string())
    }

    #[test]
    fn each_unit_is_a_power_of_1024() {
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert_eq!(parse("64mib"), Ok(64 << 20));
        assert_eq!(parse("2GiB"), Ok(2 << 30));
        assert_eq!(parse("65536K"), Ok(64 << 20));
        assert_eq!(parse("1t"), Ok(1 << 40));
        assert_eq!(parse("67108864"), Ok(64 << 20));
    }

    #[test]
    fn what_is_no_size_is_explained() {
        for (text, why) in [
            ("", "whole number"),
            ("M", "whole number"),
            ("1.5G", "'.5G' is not a unit"),
            ("-1G", "whole number"),
            ("512MB", "'MB' is not a unit"),
            ("0", "64M of memory or more, and this is 0 bytes"),
            ("512", "this is 512 bytes"),
            ("63M", "this is 63 MiB"),
            ("67108865", "whole MiB"),
            ("99999999T", "no machine"),
            ("99999999999999999999", "whole number"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_size_is_in_range(text in "[0-9]{0,21}.{0,4}") {
            if let Ok(bytes) = parse(&text) {
                prop_assert!(bytes >= LEAST && bytes % MIB == 0);
            }
        }
    }
}
