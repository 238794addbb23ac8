//! What a machine can be asked to do while it lives: the one list that the
//! library's typed methods, the control socket and the command line share.
//!
//! A command is plain data. The control thread carries them out, one at a
//! time, and answers each exactly once.

use std::time::Duration;

use boot::CpuCount;
use devices::block::mapped_disk::FreezeFiles;
use devices::rate_limit::Limits;

use crate::config::DeviceConfig;
use crate::description::{Description, DeviceDescription};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::memory::MemoryStatus;
use crate::metrics::Measurements;

/// How long the host's storage may take over what a device that was detached
/// has written, until whoever asked for that is told that it takes longer.
pub const STORAGE_PATIENCE: Duration = Duration::from_secs(30);

/// Something to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Say what the machine is and what state it is in.
    Describe,
    /// Say what it has done and holds.
    Measure,
    /// vCPUs and devices come to rest.
    Pause,
    /// They go on.
    Resume,
    /// The guest starts anew, as if its reset button were pressed.
    Reset,
    /// The guest is told that its power button was pressed.
    PressPowerButton,
    /// The same, and the machine ends at the deadline if the guest has not
    /// ended it by then. Answered when the machine has stopped.
    Shutdown {
        /// How long the guest has.
        deadline: Duration,
    },
    /// The guest is to have this many vCPUs, no fewer than now.
    SetCpus(CpuCount),
    /// A disk is to be this long.
    Resize {
        /// Which one.
        device: DeviceName,
        /// In bytes; as its file is if none are given.
        bytes: Option<u64>,
    },
    /// Volumes keep what they hold at one moment, for snapshots: none has a
    /// request in flight then.
    Freeze(Vec<(DeviceName, FreezeFiles)>),
    /// A device is to be limited so, and not otherwise.
    SetLimits {
        /// Which one.
        device: DeviceName,
        /// How.
        limits: DeviceLimits,
    },
    /// The machine ends at once, as if its power were cut.
    Stop,
    /// The guest is asked to put this much memory into its balloon.
    SetBalloon {
        /// In bytes, rounded down to pages of 4 KiB.
        target: u64,
    },
    /// The guest is asked to have this much memory in all.
    SetMemory {
        /// In bytes: what it started with and a multiple of 2 MiB.
        bytes: u64,
    },
    /// A disk or a network interface is plugged in, and the guest told of it.
    Attach(Box<DeviceConfig>),
    /// The guest is asked to give a device up. Answered when it has: then its
    /// descriptor is closed, and what was written is durable.
    Detach {
        /// Which one.
        device: DeviceName,
        /// How long the guest has.
        deadline: Duration,
    },
    /// A device loses what it stands on at once: the guest sees errors.
    /// Answered when its descriptor is closed, as after a detach.
    ForceDetach {
        /// Which one.
        device: DeviceName,
    },
    /// Say how much memory there is. Asks the guest for new statistics, to be
    /// there the next time.
    Memory,
}

/// How much a device may do in a second. Where there is none, it is not
/// limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLimits {
    /// A disk.
    Disk(Option<Limits>),
    /// A network interface.
    Net {
        /// To the guest.
        receive: Option<Limits>,
        /// From the guest.
        transmit: Option<Limits>,
    },
}

/// What came of a command that succeeded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// It was done.
    Done,
    /// To [`Command::Describe`].
    Description(Box<Description>),
    /// To [`Command::Resize`]: the disk's size in bytes.
    Capacity(u64),
    /// To [`Command::Freeze`]: how long requests were held back.
    Frozen(Duration),
    /// To [`Command::Measure`].
    Measurements(Box<Measurements>),
    /// To [`Command::Attach`].
    Attached(DeviceDescription),
    /// To [`Command::Memory`].
    Memory(Box<MemoryStatus>),
}

/// Where the outcome of a command goes. Dropped without one, it tells that
/// the machine has stopped: whoever asked hears in any case, and once.
pub(crate) struct Answer(Option<Box<dyn FnOnce(Result<Reply>) + Send>>);

impl Answer {
    /// The outcome goes to `receive`, which never blocks.
    pub(crate) fn new(receive: impl FnOnce(Result<Reply>) + Send + 'static) -> Self {
        Self(Some(Box::new(receive)))
    }

    /// Tells the outcome.
    pub(crate) fn send(mut self, outcome: Result<Reply>) {
        if let Some(receive) = self.0.take() {
            receive(outcome);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(receive) = self.0.take() {
            receive(Err(Error::Stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn whoever_asks_hears_exactly_once() {
        let (sender, answers) = channel();
        let answer = || {
            let sender = sender.clone();
            Answer::new(move |outcome| sender.send(outcome).unwrap())
        };
        answer().send(Ok(Reply::Done));
        assert!(matches!(answers.try_recv(), Ok(Ok(Reply::Done))));
        drop(answer());
        assert!(matches!(answers.try_recv(), Ok(Err(Error::Stopped))));
        assert!(answers.try_recv().is_err());
    }
}
