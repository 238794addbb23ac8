//! A word to the user while a machine takes its time.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What takes no longer than this needs no word.
const SOON: Duration = Duration::from_secs(1);

/// Says what is waited for, once it has taken a second, until it is dropped.
/// Only on a terminal.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Waits for `what` from now on.
    pub(super) fn for_(what: String) -> Self {
        if !io::stderr().is_terminal() {
            return Self::default();
        }
        let (over, hear) = channel::<()>();
        let thread = thread::spawn(move || {
            if hear.recv_timeout(SOON).is_ok() {
                return;
            }
            let mut terminal = io::stderr();
            let _ = write!(terminal, "waiting for {what}…");
            let _ = hear.recv();
            // To the line's beginning, and the line is cleared (ECMA-48 EL).
            let _ = write!(terminal, "\r\x1b[K");
        });
        Self(Some((over, thread)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.0.take() {
            let _ = over.send(());
            let _ = thread.join();
        }
    }
}
