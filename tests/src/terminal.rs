//! A pseudo-terminal: what a person's console is to the VM process.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, tcgetattr};

/// A terminal; the test holds the end where the person sits.
#[derive(Debug)]
pub struct Terminal {
    ours: OwnedFd,
}

impl Terminal {
    /// A new terminal.
    pub fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        Self { ours }
    }

    /// Its settings, as text that can be compared. They outlive the process
    /// on the other end.
    pub fn settings(&self) -> String {
        let Termios {
            input_modes,
            output_modes,
            control_modes,
            local_modes,
            special_codes,
            ..
        } = tcgetattr(&self.ours).unwrap();
        format!(
            "{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?} {special_codes:?}"
        )
    }

    pub(crate) fn our_end(&self) -> File {
        self.ours.try_clone().unwrap().into()
    }

    pub(crate) fn guest_end(&self) -> OwnedFd {
        let name = ptsname(&self.ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        open(name, flags, Mode::empty()).unwrap()
    }
}
