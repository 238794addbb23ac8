//! What a machine is made of from power-on to reset, and who puts it together.

use boot::CpuCount;

use crate::attach::{AttachedDevice, Backplane};
use crate::catalog::NamedDevice;
use crate::config::DeviceConfig;
use crate::control::Reporter;
use crate::cpu::vcpus::Vcpus;
use crate::error::Result;
use crate::memory::live::LiveMemory;
use crate::platform::{GuestEvents, WatchdogClock};

/// The parts of a machine that the control thread operates, dropped from top
/// to bottom. By default there are none: a machine that is switched off.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) vcpus: Vcpus,
    pub(crate) devices: Vec<AttachedDevice>,
    /// How the guest is told of what happens to its machine.
    pub(crate) events: Option<GuestEvents>,
    /// What resets a guest that stops answering, if anything does.
    pub(crate) watchdog: Option<WatchdogClock>,
    /// Where devices are put.
    pub(crate) backplane: Option<Backplane>,
    /// The guest's memory, as far as it can be changed.
    pub(crate) memory: Option<LiveMemory>,
    /// Whatever else must live as long as the guest runs, and go with it.
    pub(crate) keep: Option<Box<dyn Send>>,
}

impl Parts {
    /// Takes the machine apart and keeps its devices, with all that they have
    /// come to on the host's side.
    ///
    /// # Errors
    /// A device did not stop. It is lost, and so are the others.
    pub(crate) fn dismantle(self) -> Result<Vec<NamedDevice>> {
        // vCPUs first: nobody operates the devices from here on.
        drop(self.vcpus);
        let devices = self.devices.iter().map(AttachedDevice::take_device);
        let devices = devices.collect();
        drop(self.devices);
        drop((self.backplane, self.memory, self.watchdog));
        drop(self.keep);
        devices
    }
}

/// Puts a machine's parts together: when it is built, and after each reset.
/// Dropping it closes what outlives a reset on the host's side.
pub(crate) trait Assemble: Send {
    /// A machine with `devices`, each where it was if it was in a machine
    /// before, else in this order, whose guest has `cpus` vCPUs at first and
    /// reports through `reporter`. Its vCPUs wait, its memory
    /// holds nothing but what the guest starts from.
    ///
    /// # Errors
    /// This host cannot do it now. Nothing is left behind.
    fn assemble(
        &mut self,
        devices: Vec<NamedDevice>,
        cpus: CpuCount,
        reporter: &Reporter,
    ) -> Result<Parts>;

    /// A device for the machine, to be attached.
    ///
    /// # Errors
    /// Its file or tap does not do, or this host cannot do it now.
    fn make(&mut self, config: DeviceConfig) -> Result<NamedDevice>;
}
