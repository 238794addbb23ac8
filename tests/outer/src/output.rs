//! Where a command's output goes while it runs.

use std::io::{self, Write};

/// Receives output in the order in which it was written, stream by stream.
/// An error ends the command.
pub trait Output {
    /// The command wrote `bytes` to standard output.
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The command wrote `bytes` to standard error.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The machine failed, and the command starts over in another.
    fn restarted(&mut self) {}
}

/// Passes everything on to this process's own streams at once.
#[derive(Clone, Copy, Debug)]
pub struct Inherited;

impl Output for Inherited {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = io::stdout().lock();
        stream.write_all(bytes)?;
        stream.flush()
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }
}

/// Keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: Vec<u8>,
}

impl Output for Captured {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.extend(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stderr.extend(bytes);
        Ok(())
    }

    fn restarted(&mut self) {
        *self = Self::default();
    }
}
