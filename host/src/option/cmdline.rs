//! A kernel command line.

use std::str::FromStr;

use super::Invalid;

/// The longest command line an x86 kernel takes, in bytes, without the zero
/// at its end (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h).
pub const LONGEST: usize = 2047;

/// A command line that fits and holds no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline(String);

impl Cmdline {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cmdline {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > LONGEST {
            return Err(Invalid::new(format!(
                "it is {} bytes long and a kernel takes {LONGEST}",
                text.len()
            )));
        }
        if let Some(at) = text.find(char::is_control) {
            return Err(Invalid::new(format!(
                "byte {at} is a control character such as a line break, which a kernel does not take"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_up_to_the_kernels_limit() {
        assert!("x".repeat(LONGEST).parse::<Cmdline>().is_ok());
        let error = "x".repeat(LONGEST + 1).parse::<Cmdline>().unwrap_err();
        assert!(error.to_string().contains("2048 bytes long"));
        assert_eq!("".parse(), Ok(Cmdline::default()));
    }

    #[test]
    fn control_characters_are_refused() {
        for text in ["quiet\nro", "a\0b", "tab\there"] {
            assert!(text.parse::<Cmdline>().is_err(), "{text:?}");
        }
    }
}
