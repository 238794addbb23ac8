//! The memory of a machine that runs: what can be asked of it and what there
//! is of it. The control thread calls it; the guest's drivers do the work.

use std::cell::OnceCell;
use std::io;

use devices::balloon::handle::BalloonHandle;
use devices::balloon::statistics::MemoryStatistics;
use devices::memory::Ram;
use devices::virtio_mem::handle::MemHandle;

use super::MemoryConfig;
use super::survey::Survey;
use crate::catalog::DeviceHandle;
use crate::error::{Error, Result};

/// A machine's memory and what changes it.
pub(crate) struct LiveMemory {
    ram: Ram,
    /// Bytes that it started with.
    bytes: u64,
    balloon: Option<BalloonHandle>,
    growth: Option<MemHandle>,
    /// From when it is first asked for.
    survey: OnceCell<Survey>,
}

/// How much memory a machine has, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStatus {
    /// What it started with.
    pub boot_bytes: u64,
    /// What takes memory of the host at the moment.
    pub resident_bytes: u64,
    /// What it may have in all, of what it was given room to grow to.
    pub requested_bytes: u64,
    /// What its driver has plugged of that, with what it started with.
    pub plugged_bytes: u64,
    /// What it can have at the most.
    pub most_bytes: u64,
    /// Its balloon, if it has one.
    pub balloon: Option<BalloonStatus>,
}

/// What a balloon holds, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalloonStatus {
    /// What it should hold.
    pub target_bytes: u64,
    /// What the guest's driver says that it holds.
    pub actual_bytes: u64,
    /// Put into it so far, and given back to the host.
    pub inflated_bytes: u64,
    /// Taken out of it so far.
    pub deflated_bytes: u64,
    /// Reported free by the guest so far, and given back to the host.
    pub reported_bytes: u64,
    /// What the guest said last of its memory.
    pub statistics: Option<MemoryStatistics>,
}

impl LiveMemory {
    /// The memory `ram` of a machine with these devices.
    pub(crate) fn new<'a>(
        ram: Ram,
        config: &MemoryConfig,
        devices: impl Iterator<Item = &'a DeviceHandle>,
    ) -> Self {
        let mut memory = Self {
            ram,
            bytes: config.layout.bytes(),
            balloon: None,
            growth: None,
            survey: OnceCell::new(),
        };
        for device in devices {
            match device {
                DeviceHandle::Balloon(balloon) => memory.balloon = Some(balloon.clone()),
                DeviceHandle::Mem(growth) => memory.growth = Some(growth.clone()),
                DeviceHandle::None | DeviceHandle::Disk(_) | DeviceHandle::Net(_) => {}
            }
        }
        memory
    }

    /// Asks the guest to put `bytes` into its balloon.
    pub(crate) fn set_balloon(&self, bytes: u64) -> Result<()> {
        let balloon = self.balloon.as_ref().ok_or_else(|| {
            Error::Config("this machine has no balloon; start it with one (--balloon)".into())
        })?;
        let asked = balloon.set_target(bytes);
        asked.map_err(|error| Error::Config(error.to_string()))
    }

    /// Asks the guest to have `bytes` in all.
    pub(crate) fn resize(&self, bytes: u64) -> Result<()> {
        let growth = self.growth.as_ref().ok_or_else(|| {
            Error::Config(
                "this machine's memory cannot grow; start it with a maximum \
                 (--memory SIZE,max=SIZE)"
                    .into(),
            )
        })?;
        let more = bytes.checked_sub(self.bytes).ok_or_else(|| {
            Error::Config(format!(
                "{bytes} bytes are less than the {} that the machine started with; \
                 a balloon takes of these",
                self.bytes
            ))
        })?;
        growth.request(more).map_err(|error| {
            Error::Config(format!(
                "the machine cannot have {bytes} bytes of memory: it can have {} to {}, \
                 in steps of {}",
                self.bytes,
                self.bytes + error.most,
                error.step
            ))
        })
    }

    /// Has `tell` told how much there is, on another thread, since it takes a
    /// while to count. Has the guest asked for new statistics.
    pub(crate) fn status(&self, tell: impl FnOnce(Result<MemoryStatus>) + Send + 'static) {
        let growth = |of: fn(&MemHandle) -> u64| self.growth.as_ref().map_or(0, of);
        let status = MemoryStatus {
            boot_bytes: self.bytes,
            resident_bytes: 0,
            requested_bytes: self.bytes + growth(MemHandle::requested),
            plugged_bytes: self.bytes + growth(MemHandle::plugged),
            most_bytes: self.bytes + growth(MemHandle::most),
            balloon: self.balloon.as_ref().map(BalloonStatus::of),
        };
        let complete = move |resident_bytes| MemoryStatus {
            resident_bytes,
            ..status
        };
        let unknown = Error::host("a count of the memory that is resident");
        match self.survey() {
            Ok(survey) => survey.resident(move |found| tell(found.map(complete).map_err(unknown))),
            Err(error) => tell(Err(unknown(error))),
        }
    }

    fn survey(&self) -> io::Result<&Survey> {
        if let Some(survey) = self.survey.get() {
            return Ok(survey);
        }
        let survey = Survey::of(self.ram.clone())?;
        Ok(self.survey.get_or_init(|| survey))
    }
}

impl BalloonStatus {
    fn of(balloon: &BalloonHandle) -> Self {
        let counters = balloon.counters();
        Self {
            target_bytes: balloon.target(),
            actual_bytes: balloon.actual(),
            inflated_bytes: counters.inflated_bytes.get(),
            deflated_bytes: counters.deflated_bytes.get(),
            reported_bytes: counters.reported_bytes.get(),
            statistics: balloon.statistics(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::memory::Backing;
    use crate::memory::ram::allocate;
    use boot::MemoryLayout;
    use boot::layout::{GIB, MIB};
    use devices::balloon::device::Balloon;
    use devices::reactor::Reactor;
    use devices::virtio_mem::device::Mem;

    fn config(most: u64) -> MemoryConfig {
        let layout = MemoryLayout::new(256 * MIB).unwrap();
        MemoryConfig {
            layout: layout.growing_to(most).unwrap(),
            backing: Backing::Anonymous,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    fn status(memory: &LiveMemory) -> MemoryStatus {
        let (sender, told) = std::sync::mpsc::channel();
        memory.status(move |status| sender.send(status).unwrap());
        told.recv().unwrap().unwrap()
    }

    #[track_caller]
    fn refused(outcome: Result<()>, why: &str) {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn memory_that_nothing_changes_says_what_it_takes() {
        let config = config(256 * MIB);
        let memory = LiveMemory::new(allocate(&config).unwrap(), &config, [].iter());
        refused(memory.set_balloon(0), "--balloon");
        refused(memory.resize(256 * MIB), "max=SIZE");
        let status = status(&memory);
        assert_eq!(
            (status.boot_bytes, status.most_bytes),
            (256 * MIB, 256 * MIB)
        );
        assert_eq!(status.balloon, None);
    }

    #[test]
    fn what_is_asked_for_is_passed_on_and_told() {
        let reactor = Reactor::spawn("test").unwrap();
        let config = config(GIB);
        let balloon = Balloon::new(256 * MIB, reactor.handle()).unwrap();
        let growth = Mem::new(config.layout.growth().unwrap(), reactor.handle()).unwrap();
        let handles = [
            DeviceHandle::Balloon(balloon.handle()),
            DeviceHandle::Mem(growth.handle()),
        ];
        let memory = LiveMemory::new(allocate(&config).unwrap(), &config, handles.iter());
        memory.set_balloon(64 * MIB).unwrap();
        refused(memory.set_balloon(256 * MIB), "ask for 201326592 or less");
        memory.resize(512 * MIB).unwrap();
        refused(memory.resize(128 * MIB), "less than the 268435456");
        refused(memory.resize(2 * GIB), "268435456 to 1073741824");
        refused(memory.resize(512 * MIB + 1), "steps of 2097152");
        let status = status(&memory);
        assert_eq!(status.requested_bytes, 512 * MIB);
        assert_eq!((status.plugged_bytes, status.most_bytes), (256 * MIB, GIB));
        let balloon = status.balloon.unwrap();
        assert_eq!((balloon.target_bytes, balloon.actual_bytes), (64 * MIB, 0));
    }
}
