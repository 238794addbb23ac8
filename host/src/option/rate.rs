//! Rates: operations or bytes in a second.

use super::{Invalid, size};

/// Most operations in a second that a limit can name: more than any host does.
const MAX_OPERATIONS: u64 = 100_000_000;

/// Most bytes in a second.
const MAX_BYTES: u64 = 64 << 30;

/// A number of operations, from 1 to 100 million.
///
/// # Errors
/// It is no number or out of these bounds.
pub fn operations(text: &str) -> Result<u64, Invalid> {
    let wrong = || {
        Invalid::new(format!(
            "operations are a whole number from 1 to {MAX_OPERATIONS}"
        ))
    };
    let number: u64 = text.parse().map_err(|_| wrong())?;
    check(number, MAX_OPERATIONS).ok_or_else(wrong)
}

/// A number of bytes, from 1 to 64 GiB, written as a size.
///
/// # Errors
/// It is no size or out of these bounds.
pub fn bytes(text: &str) -> Result<u64, Invalid> {
    let wrong = || Invalid::new("a bandwidth is from 1 byte to 64G in a second");
    check(size::bytes(text)?, MAX_BYTES).ok_or_else(wrong)
}

fn check(number: u64, most: u64) -> Option<u64> {
    (1..=most).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_positive_and_possible() {
        assert_eq!(operations("3000"), Ok(3000));
        assert_eq!(bytes("100M"), Ok(100 << 20));
        for text in ["0", "-1", "100000001", "3k", "", "1e3"] {
            let error = operations(text).unwrap_err().to_string();
            assert!(error.contains("from 1 to 100000000"), "{text}: {error}");
        }
        for (text, why) in [
            ("0", "1 byte to 64G"),
            ("65G", "1 byte to 64G"),
            ("-1M", "whole number"),
        ] {
            let error = bytes(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
