//! What a machine is made of from power-on to reset, and who puts it together.

use boot::CpuCount;
use devices::thread;

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

    /// Takes the machine apart, with its devices.
    pub(crate) fn end(self) {
        drop(self.vcpus);
        drop_at_once(self.devices);
        // What is left goes from top to bottom.
    }
}

/// Drops each on a thread of its own: a disk waits until the kernel has let go of its
/// file, which takes as long as RCU does, however many wait.
fn drop_at_once<T: Send>(all: Vec<T>) {
    let mut all = all.into_iter();
    // The last one needs nobody else.
    let last = all.next_back();
    std::thread::scope(|scope| {
        for one in all {
            // A thread that does not start drops it here.
            let _ = thread::builder("close-device").spawn_scoped(scope, move || drop(one));
        }
        drop(last);
    });
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Is dropped once three are being dropped.
    struct OneOfThree<'a>(&'a AtomicUsize);

    impl Drop for OneOfThree<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            let began = Instant::now();
            while self.0.load(Ordering::SeqCst) < 3 {
                assert!(began.elapsed() < Duration::from_secs(60), "one by one");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn what_takes_its_time_to_end_ends_at_the_same_time() {
        let dropping = AtomicUsize::new(0);
        drop_at_once((0..3).map(|_| OneOfThree(&dropping)).collect());
        assert_eq!(dropping.into_inner(), 3);
        drop_at_once(Vec::<OneOfThree<'_>>::new());
    }
}
