//! Building a machine: everything that boot needs, in order, and nothing runs
//! until it is whole.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use boot::layout::MIB;
use boot::smbios::Identity;
use boot::{
    BootPlan, CommandLine, CpuCount, Machine, MemoryLayout, MmioDevice, PciHost, Protocol, SlotSet,
};
use devices::bus::Bus;
use devices::console::host::ConsoleHost;
use devices::memory::Ram;
use devices::platform::request::RequestSender;
use devices::reactor::{Reactor, ReactorHandle};
use devices::thread;
use kvm_ioctls::VcpuFd;

use crate::attach::{AttachedDevice, Backplane, Place, place};
use crate::catalog;
use crate::config::{BootConfig, ConsoleConfig, DeviceConfig, TransportKind, VmConfig};
use crate::control::{self, ControlChannel, Parts};
use crate::cpu::cpuid::CpuidTemplate;
use crate::cpu::vcpu::{Buses, VcpuContext};
use crate::cpu::vcpus::Vcpus;
use crate::cpu::{kick, registers};
use crate::description::{Description, DeviceDescription, State};
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;
use crate::memory::load::{Files, load};
use crate::memory::{Backing, MemoryConfig, ram, slots};
use crate::operator::Operator;
use crate::platform;
use crate::statistics::BootClock;
use crate::vm::{PausedVm, Vm};

/// Memory of a machine that was not told how much.
const DEFAULT_MEMORY: u64 = 256 * MIB;

/// Makes a machine, step by step. What is not set has a default: one vCPU,
/// 256 MiB of anonymous memory, no console, no devices.
#[derive(Debug)]
pub struct VmBuilder {
    config: VmConfig,
    asked: Instant,
}

impl VmBuilder {
    /// A machine of the open KVM device `kvm` that boots `kernel`.
    ///
    /// # Panics
    /// Never: the defaults are valid.
    pub fn new(kvm: OwnedFd, kernel: File) -> Self {
        let config = VmConfig {
            kvm,
            boot: BootConfig {
                kernel,
                initrd: None,
                command_line: CommandLine::default(),
                protocol: Protocol::default(),
            },
            cpus: CpuCount::new(1).expect("one is allowed"),
            memory: MemoryConfig {
                layout: MemoryLayout::new(DEFAULT_MEMORY).expect("the default is allowed"),
                backing: Backing::default(),
                transparent_huge_pages: None,
                prefault: false,
            },
            identity: Identity::default(),
            console: None,
            rtc: true,
            transport: TransportKind::default(),
            devices: Vec::new(),
        };
        Self::from_config(config)
    }

    /// A machine as `config` says.
    pub fn from_config(config: VmConfig) -> Self {
        Self {
            config,
            asked: Instant::now(),
        }
    }

    /// Has time to the first guest instruction counted from `asked`, when the
    /// machine was asked for, instead of from the builder's making.
    #[must_use]
    pub fn asked_at(mut self, asked: Instant) -> Self {
        self.asked = asked;
        self
    }

    /// Sets the initial RAM disk.
    #[must_use]
    pub fn initrd(mut self, initrd: File) -> Self {
        self.config.boot.initrd = Some(initrd);
        self
    }

    /// Sets what the kernel is told.
    #[must_use]
    pub fn command_line(mut self, command_line: CommandLine) -> Self {
        self.config.boot.command_line = command_line;
        self
    }

    /// Sets how the kernel is entered.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.boot.protocol = protocol;
        self
    }

    /// Sets the number of vCPUs.
    #[must_use]
    pub fn cpus(mut self, cpus: CpuCount) -> Self {
        self.config.cpus = cpus;
        self
    }

    /// Sets the memory.
    #[must_use]
    pub fn memory(mut self, memory: MemoryConfig) -> Self {
        self.config.memory = memory;
        self
    }

    /// Sets what the machine says of itself.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.config.identity = identity;
        self
    }

    /// Adds a serial port.
    #[must_use]
    pub fn console(mut self, console: ConsoleConfig) -> Self {
        self.config.console = Some(console);
        self
    }

    /// Sets how the guest reaches its virtio devices.
    #[must_use]
    pub fn transport(mut self, transport: TransportKind) -> Self {
        self.config.transport = transport;
        self
    }

    /// Adds a virtio device behind those added before.
    #[must_use]
    pub fn device(mut self, device: DeviceConfig) -> Self {
        self.config.devices.push(device);
        self
    }

    /// Builds the machine. Its threads exist and wait.
    ///
    /// # Errors
    /// What was asked for cannot be, or this host cannot do it; see
    /// [`Error::kind`]. Nothing is left behind.
    pub fn build(self) -> Result<PausedVm> {
        let Self { config, asked } = self;
        kick::install_handler()?;
        check_memory(&config.memory)?;
        let description = describe(&config)?;

        let places = place_devices(config.transport, config.devices.len())?;
        let plan = plan_boot(&config, &places)?;

        // Memory first, so that it goes last, should a later step fail.
        let (ram, machine) = make_in_parallel(
            || filled_memory(&config.memory, &config.boot, &plan),
            || KvmMachine::create(config.kvm),
        )?;
        // SAFETY: `Parts` keeps the memory until after the vCPUs and the
        // machine are gone.
        #[allow(unsafe_code)]
        unsafe {
            slots::set(&machine.vm, &ram)?;
        }

        let channel = ControlChannel::new();
        let requests = channel.request_sender();
        let reactor = Reactor::spawn("io").map_err(Error::host("the I/O thread"))?;
        let mut buses = Buses {
            ports: Bus::default(),
            mmio: Bus::default(),
        };
        platform::add_fixed(&mut buses.ports, &requests, config.rtc)?;
        let console = config
            .console
            .map(|console| {
                let ports = &mut buses.ports;
                platform::add_serial_console(console, ports, &machine, &reactor.handle(), &requests)
            })
            .transpose()?;
        let backplane = Backplane::new(config.transport, &machine, &ram, &buses.mmio)?;
        let devices = attach_devices(
            config.devices,
            &places,
            &backplane,
            &machine,
            &reactor.handle(),
            &requests,
        )?;

        let clock = Arc::new(BootClock::new(asked));
        let fds = create_vcpus(&machine, config.cpus, &plan)?;
        let vcpus = start_vcpus(fds, machine.vm.run_size(), buses, &clock, &channel)?;
        let counters = vcpus.counters();
        let sender = channel.sender.clone();
        let parts = Parts {
            vcpus,
            devices,
            description,
            _keep: Box::new(Remains {
                _console: console,
                _reactor: reactor,
                _machine: machine,
                _ram: ram,
            }),
        };
        let control = control::spawn(channel, parts).map_err(Error::host("the control thread"))?;
        Ok(PausedVm(Vm {
            operator: Operator { sender },
            control: Some(control),
            stopped: None,
            vcpus: counters,
            clock,
        }))
    }
}

/// Makes memory here and the machine on a thread of its own: while it makes
/// one, KVM sleeps for as long as RCU takes, often longer than reading a
/// kernel (Linux: `kvm_vm_create_worker_thread`).
fn make_in_parallel(
    memory: impl FnOnce() -> Result<Ram>,
    machine: impl FnOnce() -> Result<KvmMachine> + Send,
) -> Result<(Ram, KvmMachine)> {
    std::thread::scope(|scope| {
        let machine = thread::builder("make-vm")
            .spawn_scoped(scope, machine)
            .map_err(Error::host("a thread"))?;
        let ram = memory();
        let machine = machine
            .join()
            .map_err(|_| Error::internal("making a machine", "the thread panicked"))?;
        Ok((ram?, machine?))
    })
}

/// Guest memory with everything in it that the guest starts from.
fn filled_memory(memory: &MemoryConfig, boot: &BootConfig, plan: &BootPlan) -> Result<Ram> {
    let ram = ram::allocate(memory)?;
    let files = Files {
        kernel: &boot.kernel,
        initrd: boot.initrd.as_ref(),
    };
    load(&plan.segments, &files, &ram)?;
    Ok(ram)
}

/// What must live as long as the machine, dropped from top to bottom.
struct Remains {
    _console: Option<ConsoleHost>,
    _reactor: Reactor,
    _machine: KvmMachine,
    _ram: Ram,
}

fn check_memory(memory: &MemoryConfig) -> Result<()> {
    let page = memory.backing.page_size();
    let whole = |range: Range<u64>| (range.end - range.start).is_multiple_of(page);
    if !memory.layout.ranges().all(whole) {
        return Err(Error::Config(format!(
            "{} bytes of guest memory are not a whole number of {} MiB pages; \
             choose a multiple",
            memory.layout.bytes(),
            page / MIB,
        )));
    }
    let pooled = matches!(memory.backing, Backing::Huge2M | Backing::Huge1G);
    if pooled && memory.transparent_huge_pages.is_some() {
        return Err(Error::Config(
            "memory out of the pool of huge pages cannot have transparent huge pages; \
             choose one or the other"
                .into(),
        ));
    }
    Ok(())
}

/// The machine, while it is paused.
fn describe(config: &VmConfig) -> Result<Description> {
    let mut devices: Vec<DeviceDescription> = Vec::with_capacity(config.devices.len());
    for device in &config.devices {
        let device = device
            .description()
            .map_err(|error| Error::Config(error.to_string()))?;
        if devices.iter().any(|other| other.name == device.name) {
            return Err(Error::Config(format!(
                "two devices are called '{}'; give one of them another name",
                device.name
            )));
        }
        devices.push(device);
    }
    Ok(Description {
        state: State::Paused,
        cpus: config.cpus.get(),
        memory_bytes: config.memory.layout.bytes(),
        devices,
    })
}

/// Where each of `count` devices goes.
fn place_devices(kind: TransportKind, count: usize) -> Result<Vec<Place>> {
    let places: Vec<Place> = (0..count).map_while(|index| place(kind, index)).collect();
    if places.len() < count {
        return Err(Error::Config(format!(
            "{count} virtio devices are too many: a machine has room for {}",
            places.len()
        )));
    }
    Ok(places)
}

fn plan_boot(config: &VmConfig, places: &[Place]) -> Result<BootPlan> {
    let windows = places.iter().filter_map(|place| match place {
        Place::Mmio(window) => Some(*window),
        Place::Pci(_) => None,
    });
    let windows: Vec<MmioDevice> = windows.collect();
    let boot = &config.boot;
    let initrd = boot
        .initrd
        .as_ref()
        .map(|initrd| initrd.metadata().map(|metadata| metadata.len()))
        .transpose()
        .map_err(Error::host("the length of the initrd"))?;
    let machine = Machine {
        memory: config.memory.layout,
        cpus: config.cpus,
        command_line: &boot.command_line,
        initrd,
        protocol: boot.protocol,
        virtio_mmio: &windows,
        pci: match config.transport {
            TransportKind::Pci => Some(PciHost {
                hotplug: SlotSet::NONE,
            }),
            TransportKind::Mmio => None,
        },
        power_button: false,
        serial: config.console.is_some(),
        rtc: config.rtc,
        identity: &config.identity,
    };
    Ok(boot::plan(&boot.kernel, &machine)?)
}

fn attach_devices(
    devices: Vec<DeviceConfig>,
    places: &[Place],
    backplane: &Backplane,
    machine: &KvmMachine,
    reactor: &ReactorHandle,
    requests: &RequestSender,
) -> Result<Vec<AttachedDevice>> {
    let placed = devices.into_iter().zip(places);
    placed
        .map(|(config, place)| {
            let made = catalog::make(config, reactor, requests)?;
            backplane.attach(made.device, &made.name, *place, machine)
        })
        .collect()
}

/// Makes the vCPUs, in the state in which a machine is switched on.
fn create_vcpus(machine: &KvmMachine, cpus: CpuCount, plan: &BootPlan) -> Result<Vec<VcpuFd>> {
    let vcpus = (0..cpus.get())
        .map(|id| machine.vm.create_vcpu(id.into()))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(Error::kvm("create a vCPU"))?;
    let first = &vcpus[0];
    let tsc_khz = first
        .get_tsc_khz()
        .map_err(Error::kvm("tell the time stamp counter's frequency"))?;
    let cpuid = CpuidTemplate::new(&machine.kvm, cpus.get(), tsc_khz)?;
    for (id, vcpu) in (0..).zip(&vcpus) {
        vcpu.set_cpuid2(&cpuid.for_cpu(id)?)
            .map_err(Error::kvm("set CPU features"))?;
        registers::set_msrs(vcpu)?;
    }
    registers::set_entry_state(first, &plan.entry)?;
    Ok(vcpus)
}

/// Starts the vCPUs' threads, which wait. Should one fail, those before it end.
fn start_vcpus(
    fds: Vec<VcpuFd>,
    run_size: usize,
    buses: Buses,
    clock: &Arc<BootClock>,
    channel: &ControlChannel,
) -> Result<Vcpus> {
    let buses = Arc::new(buses);
    let mut vcpus = Vcpus::default();
    for (id, fd) in (0..).zip(fds) {
        let clock = Arc::clone(clock);
        let context = VcpuContext {
            id,
            buses: Arc::clone(&buses),
            counters: Arc::default(),
            on_crash: channel.crash_reporter(),
            on_entry: (id == 0).then(|| -> Box<dyn FnOnce(Instant) + Send> {
                Box::new(move |now| clock.enter(now))
            }),
        };
        vcpus.add(fd, run_size, context)?;
    }
    Ok(vcpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use boot::layout::GIB;

    fn memory(bytes: u64, backing: Backing) -> MemoryConfig {
        MemoryConfig {
            layout: MemoryLayout::new(bytes).unwrap(),
            backing,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    #[track_caller]
    fn refusal(memory: &MemoryConfig) -> String {
        let error = check_memory(memory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    }

    #[test]
    fn memory_is_whole_pages() {
        for (bytes, backing) in [
            (65 * MIB, Backing::Anonymous),
            (65 * MIB, Backing::Shared),
            (66 * MIB, Backing::Huge2M),
            (GIB, Backing::Huge1G),
            (5 * GIB, Backing::Huge1G),
        ] {
            check_memory(&memory(bytes, backing)).unwrap();
        }
        let small = refusal(&memory(65 * MIB, Backing::Huge2M));
        assert!(small.contains("2 MiB pages"), "{small}");
        let large = refusal(&memory(3 * GIB + 512 * MIB, Backing::Huge1G));
        assert!(large.contains("1024 MiB pages"), "{large}");
    }

    #[test]
    fn huge_pages_are_of_one_kind() {
        let both = MemoryConfig {
            transparent_huge_pages: Some(true),
            ..memory(64 * MIB, Backing::Huge2M)
        };
        let text = refusal(&both);
        assert!(text.contains("one or the other"), "{text}");
    }

    #[test]
    fn devices_have_places_of_their_own_until_there_is_no_room() {
        for kind in [TransportKind::Mmio, TransportKind::Pci] {
            assert!(place_devices(kind, 0).unwrap().is_empty());
            let most = kind.room();
            let places = place_devices(kind, most).unwrap();
            assert_eq!(places.len(), most);
            assert!((1..most).all(|at| !places[..at].contains(&places[at])));
            for count in [most + 1, 1000, usize::MAX] {
                let error = place_devices(kind, count).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Configuration);
                assert!(error.to_string().contains(&count.to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_descriptor_that_is_not_kvm_is_refused_as_the_host_s_fault() {
        let error = KvmMachine::create(tempfile::tempfile().unwrap().into()).err();
        let error = error.expect("a file is not KVM");
        assert_eq!(error.kind(), ErrorKind::Host);
        assert!(matches!(error, Error::Kvm { .. }), "{error}");
    }
}
