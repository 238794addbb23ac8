//! The exit statuses of `plinth` and of the VM process that it becomes.

use std::process::ExitCode;

/// How a command ended. The numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done; for a guest: it powered off, or reset itself and was not to start
    /// anew.
    Success = 0,
    /// Something failed that should not have.
    Unexpected = 1,
    /// The configuration or the usage is wrong: another command line helps.
    Configuration = 2,
    /// This host cannot do it: see `plinth doctor`.
    Host = 3,
    /// The guest crashed: triple fault, KVM internal error, unhandled exit. Or
    /// it let its watchdog run out and was not to start anew.
    GuestCrash = 4,
    /// Ended from outside: Ctrl-A x, plinth vm kill, plinth vm stop whose
    /// deadline the guest let pass, or SIGINT, SIGTERM or SIGHUP.
    Ended = 5,
}

/// The statuses for `--help`.
pub const HELP: &str = "\
Exit status:
  0  the guest powered off, or reset itself with --on-reset stop
  1  unexpected failure
  2  wrong usage or configuration: nothing was started
  3  this host cannot run it: see plinth doctor
  4  the guest crashed, or its watchdog ran out with --on-reset stop
  5  ended from outside: Ctrl-A x, plinth vm kill, plinth vm stop that the
     guest did not heed, or SIGINT, SIGTERM or SIGHUP";

impl ExitStatus {
    /// What a process that ended with `code` means by it.
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Success,
            2 => Self::Configuration,
            3 => Self::Host,
            4 => Self::GuestCrash,
            5 => Self::Ended,
            _ => Self::Unexpected,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_status() {
        for status in [
            ExitStatus::Success,
            ExitStatus::Unexpected,
            ExitStatus::Configuration,
            ExitStatus::Host,
            ExitStatus::GuestCrash,
            ExitStatus::Ended,
        ] {
            assert!(HELP.contains(&format!("\n  {}  ", status as u8)));
            assert_eq!(ExitStatus::from_code(status as i32), status);
        }
    }
}
