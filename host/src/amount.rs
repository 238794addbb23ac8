//! An amount of bytes, for a person.

use std::fmt;

/// An amount of bytes, told in the largest unit that divides it.
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

    #[test]
    fn amounts_read_well() {
        assert_eq!(Amount(3 << 30).to_string(), "3 GiB");
        assert_eq!(Amount(1025 << 20).to_string(), "1025 MiB");
        assert_eq!(Amount(1).to_string(), "1 bytes");
        assert_eq!(Amount(0).to_string(), "0 bytes");
    }
}
