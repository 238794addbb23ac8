//! What happens to a machine, for whoever operates it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

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
    /// [`Operator::stop`](crate::Operator::stop), or its handle was dropped.
    Stopped,
    /// [`Operator::shutdown`](crate::Operator::shutdown), and the guest did not
    /// heed its power button until the deadline.
    PowerCut {
        /// How long it had.
        patience: Duration,
    },
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
            Self::PowerCut { .. } => "power-cut",
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
            Self::PowerCut { patience } => write!(
                f,
                "the guest ignored its power button for {patience:?}, and its power was cut"
            ),
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
    /// A disk waits for the host, which failed what the guest asked of it.
    DeviceWaits {
        /// Which.
        device: DeviceName,
        /// Why, as the host's kernel puts it.
        reason: String,
    },
    /// A disk does not wait any more: the host has done what was asked, or it
    /// was given up.
    DeviceGoesOn(DeviceName),
    /// The machine stopped. No event follows.
    Stopped(StopReason),
}

impl Event {
    /// Its name where programs read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Resumed => "resumed",
            Self::Paused => "paused",
            Self::ResetRequested => "reset-requested",
            Self::Watchdog => "watchdog",
            Self::GuestPanicked => "guest-panicked",
            Self::Restarted => "restarted",
            Self::DeviceAttached(_) => "device-attached",
            Self::DeviceDetached(_) => "device-detached",
            Self::DeviceWaits { .. } => "device-waits",
            Self::DeviceGoesOn(_) => "device-goes-on",
            Self::Stopped(_) => "stopped",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cpu::crash::CrashCause;

    /// One of each. The matches are here to remind whoever adds one.
    pub(crate) fn every_stop_reason() -> Vec<StopReason> {
        use StopReason::{
            Crashed, PowerCut, PowerOff, Reset, ResetFailed, Stopped, UserQuit, Watchdog,
        };
        match PowerOff {
            PowerOff | Reset | ResetFailed { .. } | Watchdog | UserQuit | Stopped => {}
            PowerCut { .. } | Crashed(_) => {}
        }
        vec![
            PowerOff,
            Reset,
            StopReason::reset_failed(&Error::Stopped),
            Watchdog,
            UserQuit,
            Stopped,
            PowerCut {
                patience: Duration::from_secs(30),
            },
            Crashed(Crash {
                vcpu: 0,
                cause: CrashCause::TripleFault,
                rip: None,
                instruction: Vec::new(),
            }),
        ]
    }

    /// One of each.
    pub(crate) fn every_event() -> Vec<Event> {
        use Event::{
            DeviceAttached, DeviceDetached, DeviceGoesOn, DeviceWaits, GuestPanicked, Paused,
            ResetRequested, Restarted, Resumed, Started, Stopped, Watchdog,
        };
        match Started {
            Started | Resumed | Paused | ResetRequested | Watchdog | GuestPanicked => {}
            Restarted | DeviceAttached(_) | DeviceDetached(_) | Stopped(_) => {}
            DeviceWaits { .. } | DeviceGoesOn(_) => {}
        }
        let device = || "data".parse().unwrap();
        vec![
            Started,
            Resumed,
            Paused,
            ResetRequested,
            Watchdog,
            GuestPanicked,
            Restarted,
            DeviceAttached(device()),
            DeviceDetached(device()),
            DeviceWaits {
                device: device(),
                reason: "there is no room".into(),
            },
            DeviceGoesOn(device()),
            Stopped(StopReason::PowerOff),
        ]
    }

    #[test]
    fn whoever_reads_the_end_sees_whether_the_guest_heeded_its_power_button() {
        let patience = Duration::from_secs(30);
        let cut = StopReason::PowerCut { patience };
        let text = cut.to_string();
        assert!(text.contains("ignored its power button for 30s"), "{text}");
        assert_ne!(cut.name(), StopReason::Stopped.name());
    }
}
