//! The kernel command line: text that was checked once, at the edge.
//!
//! The text reaches the kernel byte for byte. It is bounded by what any x86
//! kernel takes; a bzImage may name a lower limit, which the plan checks.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A kernel command line: printable ASCII and tabs, at most
/// [`CommandLine::MAX`] bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(String);

impl CommandLine {
    /// Most bytes a command line can have: the kernel's `COMMAND_LINE_SIZE`
    /// (arch/x86/include/asm/setup.h, 2048) less its terminating NUL.
    pub const MAX: usize = 2047;

    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// [`Error::CommandLineTooLong`] and [`Error::CommandLineCharacter`].
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let allowed = |character| matches!(character, ' '..='~' | '\t');
        if let Some((position, character)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
            return Err(Error::CommandLineCharacter {
                character,
                position,
            });
        }
        let line = CommandLine(text);
        line.check_length(Self::MAX)?;
        Ok(line)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses a line longer than a kernel's own `limit` in bytes.
    pub(crate) fn check_length(&self, limit: usize) -> Result<()> {
        let length = self.0.len();
        if length > limit {
            return Err(Error::CommandLineTooLong { length, limit });
        }
        Ok(())
    }

    /// The text with its terminating NUL, as it lies in guest memory.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone().into_bytes();
        bytes.push(0);
        bytes
    }
}

impl FromStr for CommandLine {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        CommandLine::new(text)
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_line_fits_and_one_more_byte_does_not() {
        assert!(CommandLine::new("a".repeat(CommandLine::MAX)).is_ok());
        assert!(matches!(
            CommandLine::new("a".repeat(CommandLine::MAX + 1)),
            Err(Error::CommandLineTooLong {
                length: 2048,
                limit: 2047
            })
        ));
    }

    #[test]
    fn the_first_bad_character_is_named() {
        for (text, character, position) in [
            ("quiet\nro", '\n', 5),
            ("a\0b", '\0', 1),
            ("root=/dev/vdä", 'ä', 12),
            ("\x1b[31m", '\x1b', 0),
        ] {
            match CommandLine::new(text) {
                Err(Error::CommandLineCharacter {
                    character: c,
                    position: p,
                }) => {
                    assert_eq!((c, p), (character, position));
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn an_accepted_line_is_kept_as_it_is(text in "\\PC{0,2100}") {
            if let Ok(line) = CommandLine::new(text.clone()) {
                prop_assert_eq!(line.as_str(), &text);
                let bytes = line.to_bytes();
                prop_assert!(bytes.len() <= CommandLine::MAX + 1);
                prop_assert_eq!(bytes.iter().position(|&b| b == 0), Some(text.len()));
            }
        }
    }
}
