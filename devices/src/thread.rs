//! The threads of a machine. Each has a name, for those who watch it run, and
//! a small stack: the usual 2 MiB would be one huge page, cleared and taken
//! whole with its first byte.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Bytes of stack; nothing that a thread runs keeps buffers there.
const STACK: usize = 256 << 10;

/// A thread to be, named `name` (15 characters at most show).
pub fn builder(name: impl Into<String>) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK)
}

/// Starts a thread that does `work`.
///
/// # Errors
/// The host lets this process have no more threads.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    builder(name).spawn(work)
}
