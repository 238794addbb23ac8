//! How large the terminal at a console is.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// A size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl ConsoleSize {
    /// The size of the terminal `fd`; none if it is no terminal, or one that
    /// does not know.
    pub fn of(fd: impl AsFd) -> Option<Self> {
        let size = tcgetwinsize(fd).ok()?;
        let known = size.ws_col > 0 && size.ws_row > 0;
        known.then_some(Self {
            columns: size.ws_col,
            rows: size.ws_row,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, openpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    #[test]
    fn only_a_terminal_that_knows_has_a_size() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(ConsoleSize::of(&reader), None);
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert_eq!(ConsoleSize::of(&terminal), None);
        let size = Winsize {
            ws_col: 80,
            ws_row: 25,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let expected = ConsoleSize {
            columns: 80,
            rows: 25,
        };
        assert_eq!(ConsoleSize::of(&terminal), Some(expected));
    }
}
