//! Where the guest's console goes: `stdio`, `socket`, `file=PATH` or `none`.

use std::path::PathBuf;
use std::str::FromStr;

use super::Invalid;

/// The console as the user asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsoleOption {
    /// This terminal, both ways.
    #[default]
    Stdio,
    /// Whoever attaches with `plinth vm console`, both ways.
    Socket,
    /// Output goes to a file; there is no input.
    File(PathBuf),
    /// The guest has no serial port.
    None,
}

impl FromStr for ConsoleOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match (text, text.strip_prefix("file=")) {
            ("stdio", _) => Ok(Self::Stdio),
            ("socket", _) => Ok(Self::Socket),
            ("none", _) => Ok(Self::None),
            (_, Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(Invalid::new(
                "a console is stdio, socket, file=PATH or none",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_kinds() {
        assert_eq!("stdio".parse(), Ok(ConsoleOption::Stdio));
        assert_eq!("socket".parse(), Ok(ConsoleOption::Socket));
        assert_eq!("none".parse(), Ok(ConsoleOption::None));
        let file = ConsoleOption::File("a,b=c".into());
        assert_eq!("file=a,b=c".parse(), Ok(file));
        for text in ["", "file=", "file", "pty", "stdio,x"] {
            assert!(text.parse::<ConsoleOption>().is_err(), "{text}");
        }
    }
}
