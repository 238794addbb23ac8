//! The user's terminal in raw mode, while it is a guest's console.
//!
//! Raw means that every key reaches the guest, Ctrl-C included. The settings
//! belong to the terminal and outlive this process, so they are put back on
//! every way out: when the value is dropped and when the process panics, the
//! abort included that follows in release builds. Termination signals are the
//! business of [`termination`](super::termination): they end the machine, and
//! then the value is dropped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr,
};

/// A terminal in raw mode. Dropping it restores the terminal.
#[derive(Debug)]
pub struct RawTerminal(Arc<Saved>);

/// What is to be restored; nothing once it has been.
#[derive(Debug)]
struct Saved {
    terminal: OwnedFd,
    settings: Mutex<Option<Termios>>,
}

impl RawTerminal {
    /// Puts `fd` into raw mode. Does nothing, and answers with none, if it is
    /// no terminal or if this process runs in its background, where changing
    /// it would stop the process.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter(fd: impl AsFd) -> io::Result<Option<Self>> {
        let fd = fd.as_fd();
        if !isatty(fd) || in_background(fd) {
            return Ok(None);
        }
        let before = tcgetattr(fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output stays processed: this process's own messages end their lines
        // with a line feed alone, and a guest's carriage returns do no harm.
        raw.output_modes |= before.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
        let saved = Arc::new(Saved {
            terminal: fd.try_clone_to_owned()?,
            settings: Mutex::new(Some(before)),
        });
        restore_on_panic(&saved);
        let entered = Self(saved);
        tcsetattr(fd, OptionalActions::Now, &raw)?;
        Ok(Some(entered))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.0.restore();
    }
}

impl Saved {
    /// Once, whoever comes first. At once: output that the terminal has not
    /// shown yet may never be.
    fn restore(&self) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = settings.take() {
            // A terminal that has gone needs nothing.
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &settings);
        }
    }
}

/// Restores before whatever else happens on a panic, so that its message
/// appears on a sane terminal.
fn restore_on_panic(saved: &Arc<Saved>) {
    let saved = Arc::downgrade(saved);
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(saved) = saved.upgrade() {
            saved.restore();
        }
        next(info);
    }));
}

/// Whether another process group has the terminal. One that is not this
/// session's has no foreground to us.
fn in_background(fd: impl AsFd) -> bool {
    match tcgetpgrp(fd) {
        Ok(foreground) => foreground != getpgrp(),
        // No process group has it any more.
        Err(Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    /// A panic restores every terminal of the process, other tests' as well.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// Both ends of a new terminal: the master keeps it alive.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        (master, terminal)
    }

    fn local_modes(terminal: &OwnedFd) -> LocalModes {
        tcgetattr(terminal).unwrap().local_modes
    }

    fn output_modes(terminal: &OwnedFd) -> OutputModes {
        tcgetattr(terminal).unwrap().output_modes
    }

    #[test]
    fn every_key_reaches_the_guest_until_the_value_is_dropped() {
        let _alone = ONE_AT_A_TIME.lock();
        let (_master, terminal) = terminal();
        let before = (local_modes(&terminal), output_modes(&terminal));
        assert!(
            before
                .0
                .contains(LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO)
        );

        let raw = RawTerminal::enter(&terminal).unwrap().unwrap();
        let during = local_modes(&terminal);
        assert!(!during.intersects(LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO));
        assert_eq!(output_modes(&terminal), before.1);

        drop(raw);
        assert_eq!((local_modes(&terminal), output_modes(&terminal)), before);
    }

    #[test]
    fn a_panic_restores_before_anything_is_dropped() {
        let _alone = ONE_AT_A_TIME.lock();
        let (_master, terminal) = terminal();
        let before = local_modes(&terminal);
        let raw = RawTerminal::enter(&terminal).unwrap().unwrap();
        let panicked = std::thread::spawn(|| panic!("expected by this test")).join();
        assert!(panicked.is_err());
        assert_eq!(local_modes(&terminal), before);

        // What has been restored is left alone from then on.
        let mut changed = tcgetattr(&terminal).unwrap();
        changed.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &changed).unwrap();
        drop(raw);
        assert_eq!(local_modes(&terminal), changed.local_modes);
    }

    #[test]
    fn what_is_no_terminal_is_left_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(RawTerminal::enter(&reader).unwrap().is_none());
    }
}
