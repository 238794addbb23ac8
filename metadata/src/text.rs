//! One line of text, as a leaf of the metadata tree is: what it holds cannot
//! be taken for a second entry of a listing, or for the end of a header.

use std::fmt;
use std::str::FromStr;

/// Text that is not one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be one line of 1 to {max} printable ASCII characters", max = Line::MAX)]
pub struct BadLine;

/// 1 to [`Line::MAX`] printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(String);

impl Line {
    /// Most bytes: what EC2 takes for names and descriptions.
    pub const MAX: usize = 255;

    /// Takes `text` as it is.
    ///
    /// # Errors
    /// It is empty, too long, or more than one line of printable ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, BadLine> {
        let text = text.into();
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if text.is_empty() || text.len() > Self::MAX || !printable {
            return Err(BadLine);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Line {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        Self::new(text)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_and_not_too_long() {
        assert_eq!(Line::new("a b").unwrap().as_str(), "a b");
        assert!(Line::new("x".repeat(255)).is_ok());
        for text in ["", "a\nb", "a\tb", "\u{e9}", &"x".repeat(256)] {
            assert_eq!(Line::new(text), Err(BadLine), "{text:?}");
        }
    }
}
