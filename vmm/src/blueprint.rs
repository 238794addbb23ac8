//! The blueprint of a machine: what its parts are put together from, when it
//! is built and again after each reset.
//!
//! It keeps what outlives a reset on the host's side: the configuration's
//! descriptors, the console, the I/O threads, counters. Devices outlive it too,
//! and are handed in.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use boot::smbios::Identity;
use boot::{BootPlan, CpuCount, Machine, MmioDevice, PciHost, SlotSet};
use devices::bus::Bus;
use devices::memory::Ram;
use devices::platform::request::RequestSender;
use devices::platform::watchdog::Watchdog;
use devices::reactor::threads::IoThreads;
use devices::thread;

use crate::attach::{AttachedDevice, Backplane, Place, place};
use crate::catalog::{self, NamedDevice};
use crate::config::{BootConfig, DeviceConfig, TransportKind};
use crate::control::Reporter;
use crate::cpu::create::create_vcpus;
use crate::cpu::vcpu::{Buses, VcpuContext, VcpuCounters};
use crate::cpu::vcpus::Vcpus;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;
use crate::memory::live::LiveMemory;
use crate::memory::load::{Files, load};
use crate::memory::{MemoryConfig, ram, slots};
use crate::parts::{Assemble, Parts};
use crate::platform::{self, GuestEvents, SerialConsole, WatchdogClock};
use crate::statistics::BootClock;

/// What a machine is built from, dropped from top to bottom.
pub(crate) struct Blueprint {
    pub(crate) kvm: OwnedFd,
    pub(crate) boot: BootConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) identity: Identity,
    pub(crate) rtc: bool,
    /// Whoever looks at it after a reset finds whether it was the reason.
    pub(crate) watchdog: Option<Watchdog>,
    pub(crate) generation_id: Option<[u8; 16]>,
    pub(crate) transport: TransportKind,
    pub(crate) console: Option<SerialConsole>,
    /// Where a console's user ends the machine.
    pub(crate) user: RequestSender,
    /// One for each vCPU that there may ever be.
    pub(crate) counters: Vec<Arc<VcpuCounters>>,
    pub(crate) clock: Arc<BootClock>,
    /// Where devices and the console work.
    pub(crate) threads: IoThreads,
}

impl Assemble for Blueprint {
    fn assemble(
        &mut self,
        devices: Vec<NamedDevice>,
        cpus: CpuCount,
        reporter: &Reporter,
    ) -> Result<Parts> {
        let kept: Vec<Option<Place>> = devices.iter().map(|device| device.place).collect();
        let places = place_devices(self.transport, &kept)?;
        let plan = self.plan(cpus, &places)?;

        // Memory first, so that it goes last, should a later step fail.
        let kvm = self.kvm.try_clone();
        let kvm = kvm.map_err(Error::host("a duplicate of the KVM device"))?;
        let (ram, machine) =
            make_in_parallel(|| self.filled_memory(&plan), || KvmMachine::create(kvm))?;
        // SAFETY: `Parts` keeps the memory until after the vCPUs and the
        // machine are gone.
        #[allow(unsafe_code)]
        unsafe {
            slots::set(&machine.vm, &ram)?;
        }

        let buses = Buses {
            ports: Bus::default(),
            mmio: Bus::default(),
        };
        let mut vcpus = Vcpus::default();
        let requests = vcpus.rest_after(reporter.request_sender());
        platform::add_fixed(&buses.ports, &requests, self.rtc)?;
        platform::add_panic_port(&buses.ports, reporter.panic_reporter())?;
        let watchdog = self.watchdog.as_ref().map(|watchdog| {
            WatchdogClock::start(watchdog, &buses.ports, &self.threads.first(), &requests)
        });
        let watchdog = watchdog.transpose()?;
        let events = GuestEvents::add(&buses.ports, &machine, cpus, reporter.eject_reporter())?;
        if let Some(console) = &self.console {
            console.connect(&buses.ports, &machine)?;
        }
        let machine = Arc::new(machine);
        let mut backplane = Backplane::new(self.transport, &machine, &ram, &buses)?;
        let devices = attach_devices(devices, &places, &mut backplane)?;
        let handles = devices.iter().map(|device| &device.handle);
        let memory = LiveMemory::new(ram.clone(), &self.memory, handles);
        self.start_vcpus(&mut vcpus, &machine, &plan, buses, reporter)?;
        Ok(Parts {
            vcpus,
            devices,
            events: Some(events),
            watchdog,
            backplane: Some(backplane),
            memory: Some(memory),
            keep: Some(Box::new((machine, ram))),
        })
    }

    fn make(&mut self, config: DeviceConfig) -> Result<NamedDevice> {
        catalog::make(config, &mut self.threads, &self.memory, &self.user)
    }
}

impl Blueprint {
    /// What lies where in the memory of a guest with `cpus` vCPUs and devices
    /// at `places`, and where it starts.
    fn plan(&self, cpus: CpuCount, places: &[Place]) -> Result<BootPlan> {
        let windows = places.iter().filter_map(|place| match place {
            Place::Mmio(window) => Some(*window),
            Place::Pci(_) => None,
        });
        let windows: Vec<MmioDevice> = windows.collect();
        let boot = &self.boot;
        let initrd = boot.initrd.as_ref();
        let initrd = initrd.map(|initrd| initrd.metadata().map(|metadata| metadata.len()));
        let machine = Machine {
            memory: self.memory.layout,
            cpus,
            max_cpus: Some(self.max_cpus()),
            command_line: &boot.command_line,
            initrd: initrd
                .transpose()
                .map_err(Error::host("the length of the initrd"))?,
            protocol: boot.protocol,
            virtio_mmio: &windows,
            pci: match self.transport {
                TransportKind::Pci => Some(PciHost {
                    hotplug: SlotSet::ALL,
                }),
                TransportKind::Mmio => None,
            },
            generation_id: self.generation_id,
            watchdog: self.watchdog.is_some(),
            power_button: true,
            panic_port: true,
            serial: self.console.is_some(),
            rtc: self.rtc,
            identity: &self.identity,
        };
        Ok(boot::plan(&boot.kernel, &machine)?)
    }

    fn max_cpus(&self) -> CpuCount {
        let count = CpuCount::new(self.counters.len() as u64);
        count.expect("there is a counter for each vCPU that may be")
    }

    /// Guest memory with everything in it that the guest starts from.
    fn filled_memory(&self, plan: &BootPlan) -> Result<Ram> {
        let ram = ram::allocate(&self.memory)?;
        let files = Files {
            kernel: &self.boot.kernel,
            initrd: self.boot.initrd.as_ref(),
        };
        load(&plan.segments, &files, &ram)?;
        Ok(ram)
    }

    /// Makes all vCPUs that there may ever be, and starts their threads, which
    /// wait. Those beyond the guest's first wait on in KVM until the guest
    /// starts them. Should one fail, those before it end.
    fn start_vcpus(
        &self,
        vcpus: &mut Vcpus,
        machine: &KvmMachine,
        plan: &BootPlan,
        buses: Buses,
        reporter: &Reporter,
    ) -> Result<()> {
        let fds = create_vcpus(machine, self.max_cpus(), plan)?;
        let run_size = machine.vm.run_size();
        let buses = Arc::new(buses);
        for ((id, fd), counters) in (0..).zip(fds).zip(&self.counters) {
            let clock = Arc::clone(&self.clock);
            let context = VcpuContext {
                id,
                buses: Arc::clone(&buses),
                counters: Arc::clone(counters),
                on_crash: reporter.crash_reporter(),
                on_entry: (id == 0).then(|| -> Box<dyn FnOnce(Instant) + Send> {
                    Box::new(move |now| clock.enter(now))
                }),
            };
            vcpus.add(fd, run_size, context)?;
        }
        Ok(())
    }
}

/// Makes the machine here and memory on a thread of its own: while it makes a machine,
/// KVM sleeps for as long as RCU takes, often longer than reading a kernel (Linux:
/// `kvm_vm_create_worker_thread`). A thread that was just started runs after the one
/// that started it, where both have one CPU, and so is the one that has more to do.
fn make_in_parallel(
    memory: impl FnOnce() -> Result<Ram> + Send,
    machine: impl FnOnce() -> Result<KvmMachine>,
) -> Result<(Ram, KvmMachine)> {
    std::thread::scope(|scope| {
        let ram = thread::builder("fill-memory")
            .spawn_scoped(scope, memory)
            .map_err(Error::host("a thread"))?;
        let machine = machine();
        let ram = ram
            .join()
            .map_err(|_| Error::internal("filling memory", "the thread panicked"))?;
        Ok((ram?, machine?))
    })
}

/// Where each device goes: one that had a place keeps it, the others get the
/// first that are free.
fn place_devices(kind: TransportKind, kept: &[Option<Place>]) -> Result<Vec<Place>> {
    let all = (0..).map_while(|index| place(kind, index));
    let mut free = all.filter(|place| !kept.contains(&Some(*place)));
    let places = kept.iter().map_while(|kept| kept.or_else(|| free.next()));
    let places: Vec<Place> = places.collect();
    if places.len() < kept.len() {
        return Err(Error::Config(format!(
            "{} virtio devices are too many: a machine has room for {}",
            kept.len(),
            kind.room()
        )));
    }
    Ok(places)
}

fn attach_devices(
    devices: Vec<NamedDevice>,
    places: &[Place],
    backplane: &mut Backplane,
) -> Result<Vec<AttachedDevice>> {
    let placed = devices.into_iter().zip(places);
    placed
        .map(|(made, place)| backplane.attach(made, *place))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn devices_have_places_of_their_own_until_there_is_no_room() {
        for kind in [TransportKind::Mmio, TransportKind::Pci] {
            assert!(place_devices(kind, &[]).unwrap().is_empty());
            let most = kind.room();
            let places = place_devices(kind, &vec![None; most]).unwrap();
            assert_eq!(places.len(), most);
            assert!((1..most).all(|at| !places[..at].contains(&places[at])));
            for count in [most + 1, 1000] {
                let error = place_devices(kind, &vec![None; count]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Configuration);
                assert!(error.to_string().contains(&count.to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_device_that_had_a_place_keeps_it_whoever_has_left_or_come_before_it() {
        for kind in [TransportKind::Mmio, TransportKind::Pci] {
            let at = |index| place(kind, index).unwrap();
            let places = place_devices(kind, &[Some(at(0)), Some(at(2)), Some(at(1))]);
            assert_eq!(places.unwrap(), [at(0), at(2), at(1)]);
            let places = place_devices(kind, &[None, Some(at(0)), None, Some(at(2))]);
            assert_eq!(places.unwrap(), [at(1), at(0), at(3), at(2)]);
            // Nor is one beyond the last of the others lost.
            let last = at(kind.room() - 1);
            assert_eq!(place_devices(kind, &[Some(last)]).unwrap(), [last]);
        }
    }
}
