//! Sizes as people write them: a number with an optional suffix. Used by every
//! program that takes a size or an offset.

use std::error::Error;

/// Reads `512`, `64K`, `300M`, `2G`, `1T`: powers of 1024.
pub(super) fn parse(text: &str) -> Result<u64, Box<dyn Error>> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let factor: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(format!("{text} is not a size").into()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("{text} is not a size").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(parse("0").unwrap(), 0);
        assert_eq!(parse("512").unwrap(), 512);
        assert_eq!(parse("3K").unwrap(), 3072);
        assert_eq!(parse("2T").unwrap(), 2 << 40);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "K", "1KK", "-1", "1k", "16777216T", "1.5G"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
