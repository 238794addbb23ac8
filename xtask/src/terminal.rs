//! The person's terminal while it is lent to a shell in the outer machine:
//! raw, so that every key goes there, and restored on every way out.

use anyhow::{Context, Result};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A raw terminal; dropping it restores what was.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Makes standard input's terminal raw.
    pub(crate) fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).context("a shell needs a terminal on standard input")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Flush, &raw).context("making the terminal raw")?;
        Ok(Self { before })
    }

    /// Rows and columns; a terminal that does not know has the usual ones.
    pub(crate) fn size() -> (u16, u16) {
        let size = tcgetwinsize(stdin()).map_or((0, 0), |size| (size.ws_row, size.ws_col));
        if size.0 == 0 || size.1 == 0 {
            (24, 80)
        } else {
            size
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}
