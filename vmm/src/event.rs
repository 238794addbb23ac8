//! What happens to a machine, for whoever operates it.

use std::error::Error as _;
use std::fmt;

use crate::cpu::crash::Crash;
use crate::device_name::DeviceName;
use crate::error::{Error, ErrorKind};

/// Why a machine stopped. It does not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The guest turned its power off.
    PowerOff,
    /// The guest reset itself, and was not to start anew.
    Reset,
    /// The guest was reset, and its machine could not be put together again.
    ResetFailed {
        /// Whom that concerns.
        kind: ErrorKind,
        /// Why, with all causes.
        reason: String,
    },
    /// The guest let its watchdog run out.
    Watchdog,
    /// Its console's user ended it.
    UserQuit,
    /// [`Vm::stop`](crate::Vm::stop), or its handle was dropped.
    Stopped,
    /// A vCPU could not go on.
    Crashed(Crash),
}

impl StopReason {
    /// The machine could not be put together again because of `error`.
    pub(crate) fn reset_failed(error: &Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self::ResetFailed {
            kind: error.kind(),
            reason,
        }
    }

    /// Its name where programs read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PowerOff => "power-off",
            Self::Reset => "reset",
            Self::ResetFailed { .. } => "reset-failed",
            Self::Watchdog => "watchdog",
            Self::UserQuit => "user-quit",
            Self::Stopped => "stopped",
            Self::Crashed(_) => "crashed",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("the guest powered off"),
            Self::Reset => f.write_str("the guest reset itself"),
            Self::ResetFailed { reason, .. } => {
                write!(f, "the guest was reset and cannot start anew: {reason}")
            }
            Self::Watchdog => f.write_str("the guest's watchdog ran out"),
            Self::UserQuit => f.write_str("the console's user ended the machine"),
            Self::Stopped => f.write_str("the machine was stopped"),
            Self::Crashed(crash) => write!(f, "the guest crashed: {crash}"),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// vCPUs run, for the first time.
    Started,
    /// vCPUs run again.
    Resumed,
    /// vCPUs and devices rest.
    Paused,
    /// The guest asked for a reset; [`Restarted`](Self::Restarted) or
    /// [`Stopped`](Self::Stopped) follows.
    ResetRequested,
    /// The guest let its watchdog run out; [`Restarted`](Self::Restarted) or
    /// [`Stopped`](Self::Stopped) follows.
    Watchdog,
    /// The guest's kernel panicked. What follows is up to the kernel: its
    /// `panic=` says whether it resets itself or stands still for ever. Told
    /// once in a run of the guest, and only by one that has the driver.
    GuestPanicked,
    /// The guest starts anew. A paused machine stays paused.
    Restarted,
    /// A device was plugged in.
    DeviceAttached(DeviceName),
    /// A device is gone, and its descriptor closed.
    DeviceDetached(DeviceName),
    /// The machine stopped. No event follows.
    Stopped(StopReason),
}
