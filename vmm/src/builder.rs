//! Building a machine: everything that boot needs, in order, and nothing runs
//! until it is whole.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use boot::layout::MIB;
use boot::smbios::Identity;
use boot::{BootPlan, CommandLine, CpuCount, Machine, MemoryLayout, MmioDevice, Protocol};
use devices::bus::Bus;
use devices::memory::Ram;
use devices::reactor::Reactor;
use kvm_ioctls::VcpuFd;

use crate::attach::{AttachedDevice, attach};
use crate::catalog;
use crate::config::{BootConfig, ConsoleConfig, DeviceConfig, VmConfig};
use crate::control::{self, ControlChannel, Parts};
use crate::cpu::cpuid::CpuidTemplate;
use crate::cpu::gate::Gate;
use crate::cpu::vcpu::{Buses, VcpuContext, VcpuCounters, VcpuHandle};
use crate::cpu::{kick, registers};
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;
use crate::memory::load::{Files, load};
use crate::memory::{Backing, MemoryConfig, ram, slots};
use crate::platform::{self, Console};
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

        let slots = place_devices(config.devices.len())?;
        let plan = plan_boot(&config, &slots)?;

        let (kvm, boot, memory) = (config.kvm, &config.boot, &config.memory);
        // The kernel makes a machine mostly by waiting; memory is filled
        // meanwhile.
        let (machine, ram) = thread::scope(|scope| {
            let machine = devices::thread::builder("create")
                .spawn_scoped(scope, || KvmMachine::create(kvm))
                .map_err(Error::host("a thread"))?;
            let ram = fill_memory(boot, memory, &plan);
            let machine = machine.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, Error>((machine?, ram?))
        })?;
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
                Console::add(console, ports, &machine, &reactor.handle(), &requests)
            })
            .transpose()?;
        let devices = attach_devices(
            config.devices,
            &slots,
            &machine,
            &ram,
            &reactor,
            &mut buses.mmio,
        )?;

        let vcpus = create_vcpus(&machine, config.cpus, &plan)?;
        let threads = Threads {
            buses: Arc::new(buses),
            gate: Arc::new(Gate::new()),
            clock: Arc::new(BootClock::new(asked)),
            channel: &channel,
            run_size: machine.vm.run_size(),
        };
        let (vcpus, counters) = threads.spawn(vcpus)?;
        let clock = threads.clock;
        let sender = channel.sender.clone();
        let parts = Parts {
            vcpus,
            gate: threads.gate,
            devices,
            keep: Box::new(Remains {
                _console: console,
                _reactor: reactor,
                _machine: machine,
                _ram: ram,
            }),
        };
        let control = control::spawn(channel, parts).map_err(Error::host("the control thread"))?;
        Ok(PausedVm(Vm {
            sender,
            control: Some(control),
            stopped: None,
            vcpus: counters,
            clock,
        }))
    }
}

/// What must live as long as the machine, dropped from top to bottom.
struct Remains {
    _console: Option<Console>,
    _reactor: Reactor,
    _machine: KvmMachine,
    _ram: Ram,
}

fn check_memory(memory: &MemoryConfig) -> Result<()> {
    let page = memory.backing.page_size();
    for range in memory.layout.ranges() {
        if (range.end - range.start) % page != 0 {
            return Err(Error::Config(format!(
                "{} bytes of guest memory are not a whole number of {} MiB pages; \
                 choose a multiple",
                memory.layout.bytes(),
                page / MIB,
            )));
        }
    }
    Ok(())
}

/// Memory with all that the guest needs to start.
fn fill_memory(boot: &BootConfig, memory: &MemoryConfig, plan: &BootPlan) -> Result<Ram> {
    let ram = ram::allocate(memory)?;
    let files = Files {
        kernel: &boot.kernel,
        initrd: boot.initrd.as_ref(),
    };
    load(plan, &files, &ram)?;
    Ok(ram)
}

/// Where each of `count` devices goes.
fn place_devices(count: usize) -> Result<Vec<MmioDevice>> {
    let slots = (0..).take(count).map(MmioDevice::at_slot);
    slots.collect::<Option<_>>().ok_or_else(|| {
        Error::Config(format!(
            "{count} virtio devices are too many: a machine has room for {}",
            MmioDevice::MAX
        ))
    })
}

fn plan_boot(config: &VmConfig, slots: &[MmioDevice]) -> Result<BootPlan> {
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
        virtio_mmio: slots,
        serial: config.console.is_some(),
        rtc: config.rtc,
        identity: &config.identity,
    };
    Ok(boot::plan(&boot.kernel, &machine)?)
}

fn attach_devices(
    devices: Vec<DeviceConfig>,
    slots: &[MmioDevice],
    machine: &KvmMachine,
    ram: &Ram,
    reactor: &Reactor,
    mmio: &mut Bus,
) -> Result<Vec<AttachedDevice>> {
    let placed = devices.into_iter().zip(slots);
    placed
        .map(|(config, slot)| {
            let made = catalog::make(config, &reactor.handle())?;
            attach(made.device, &made.name, slot, machine, ram, mmio)
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

/// What vCPU threads share.
struct Threads<'a> {
    buses: Arc<Buses>,
    gate: Arc<Gate>,
    clock: Arc<BootClock>,
    channel: &'a ControlChannel,
    run_size: usize,
}

impl Threads<'_> {
    /// Starts a thread for each vCPU. Should one fail, those before it end.
    fn spawn(&self, vcpus: Vec<VcpuFd>) -> Result<(Vec<VcpuHandle>, Vec<Arc<VcpuCounters>>)> {
        let mut handles = Vec::with_capacity(vcpus.len());
        let mut counters = Vec::with_capacity(vcpus.len());
        for (id, vcpu) in (0..).zip(vcpus) {
            let counter = Arc::<VcpuCounters>::default();
            match VcpuHandle::spawn(vcpu, self.run_size, self.context(id, &counter)) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    self.gate.set(crate::cpu::gate::Phase::Ended);
                    handles.into_iter().for_each(VcpuHandle::join);
                    return Err(error);
                }
            }
            counters.push(counter);
        }
        Ok((handles, counters))
    }

    fn context(&self, id: u8, counters: &Arc<VcpuCounters>) -> VcpuContext {
        let clock = Arc::clone(&self.clock);
        VcpuContext {
            id,
            buses: Arc::clone(&self.buses),
            gate: Arc::clone(&self.gate),
            counters: Arc::clone(counters),
            on_crash: self.channel.crash_reporter(),
            on_entry: (id == 0).then(|| -> Box<dyn FnOnce(Instant) + Send> {
                Box::new(move |now| clock.enter(now))
            }),
        }
    }
}
