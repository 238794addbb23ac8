//! What happens to a machine, for whoever operates it.

use std::fmt;

use crate::cpu::crash::Crash;

/// Why a machine stopped. It does not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The guest turned its power off.
    PowerOff,
    /// The guest reset itself.
    Reset,
    /// Its console's user ended it.
    UserQuit,
    /// [`Vm::stop`](crate::Vm::stop), or its handle was dropped.
    Stopped,
    /// A vCPU could not go on.
    Crashed(Crash),
}

impl StopReason {
    /// Its name where programs read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PowerOff => "power-off",
            Self::Reset => "reset",
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
    /// The machine stopped. No event follows.
    Stopped(StopReason),
}
