//! The number of a guest's virtual CPUs.

use std::str::FromStr;

use super::Invalid;

/// The most vCPUs a guest can have.
pub const MOST: u8 = 64;

/// A number of vCPUs, from 1 to [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuCount(u8);

impl CpuCount {
    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for CpuCount {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let count = text.parse().ok().filter(|count| (1..=MOST).contains(count));
        count
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("a guest has 1 to {MOST} vCPUs")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_1_to_64() {
        for (text, count) in [("1", 1), ("64", 64)] {
            assert_eq!(text.parse(), Ok(CpuCount(count)));
        }
        for text in ["0", "65", "1000", "-1", "two", ""] {
            assert!(text.parse::<CpuCount>().is_err(), "{text}");
        }
    }
}
