//! Building a machine: its configuration is checked, what outlives a reset is
//! made, and its [`Blueprint`] puts it together. Nothing runs until it is whole.

mod check;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use boot::layout::MIB;
use boot::smbios::Identity;
use boot::{CommandLine, CpuCount, MemoryLayout, Protocol};
use devices::reactor::threads::IoThreads;

use crate::blueprint::Blueprint;
use crate::catalog;
use crate::command::STORAGE_PATIENCE;
use crate::config::{BootConfig, ConsoleConfig, DeviceConfig, OnReset, TransportKind, VmConfig};
use crate::control::{self, ControlChannel};
use crate::cpu::kick;
use crate::cpu::vcpu::VcpuCounters;
use crate::error::{Error, Result};
use crate::memory::{Backing, MemoryConfig};
use crate::operator::Operator;
use crate::parts::Assemble;
use crate::platform::{self, SerialConsole};
use crate::statistics::BootClock;
use crate::vm::{PausedVm, Vm};

/// Memory of a machine that was not told how much.
const DEFAULT_MEMORY: u64 = 256 * MIB;

/// Makes a machine, step by step. What is not set has a default: one vCPU,
/// 256 MiB of anonymous memory, no console, no CMOS clock, no devices.
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
            max_cpus: None,
            memory: MemoryConfig {
                layout: MemoryLayout::new(DEFAULT_MEMORY).expect("the default is allowed"),
                backing: Backing::default(),
                transparent_huge_pages: None,
                prefault: false,
            },
            identity: Identity::default(),
            console: None,
            rtc: false,
            watchdog: false,
            generation_id: None,
            on_reset: OnReset::default(),
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

    /// Sets how many vCPUs there may be in the end, if some are to be added
    /// while the machine runs.
    #[must_use]
    pub fn max_cpus(mut self, cpus: CpuCount) -> Self {
        self.config.max_cpus = Some(cpus);
        self
    }

    /// Sets what becomes of the machine when its guest resets itself; by
    /// default, the guest starts anew.
    #[must_use]
    pub fn on_reset(mut self, on_reset: OnReset) -> Self {
        self.config.on_reset = on_reset;
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

    /// Adds a CMOS clock, for a guest that sets itself by one; see
    /// [`rtc`](VmConfig::rtc).
    #[must_use]
    pub fn rtc(mut self) -> Self {
        self.config.rtc = true;
        self
    }

    /// Adds a watchdog, which resets a guest that started it and then stops
    /// to count it down anew.
    #[must_use]
    pub fn watchdog(mut self) -> Self {
        self.config.watchdog = true;
        self
    }

    /// Sets the VM generation id, a random number of this machine's own.
    #[must_use]
    pub fn generation_id(mut self, id: [u8; 16]) -> Self {
        self.config.generation_id = Some(id);
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
        let Self { mut config, asked } = self;
        kick::install_handler()?;
        check::memory(&config)?;
        check::interrupts(&config)?;
        let max_cpus = check::cpus(&config)?;
        if config.memory.layout.growth().is_some() {
            config.devices.push(DeviceConfig::Mem);
        }
        let description = check::describe(&config)?;
        let root = check::root_disk(&config);

        let channel = ControlChannel::new();
        let threads = IoThreads::start(max_cpus.get().into());
        let mut threads = threads.map_err(Error::host("the I/O thread"))?;
        let user = channel.reporter(None).request_sender();
        let console = config
            .console
            .map(|console| SerialConsole::new(console, &threads.first(), &user));
        let devices = config.devices.into_iter();
        let devices =
            devices.map(|device| catalog::make(device, &mut threads, &config.memory, &user));
        let devices = devices.collect::<Result<_>>()?;
        let watchdog = config.watchdog.then(platform::make_watchdog).transpose()?;
        let clock = Arc::new(BootClock::new(asked));
        let counters: Vec<Arc<VcpuCounters>> =
            (0..max_cpus.get()).map(|_| Arc::default()).collect();
        let mut blueprint = Blueprint {
            kvm: config.kvm,
            boot: config.boot,
            memory: config.memory,
            identity: config.identity,
            rtc: config.rtc,
            watchdog,
            generation_id: config.generation_id,
            transport: config.transport,
            console: console.transpose()?,
            user,
            counters: counters.clone(),
            clock: Arc::clone(&clock),
            threads,
        };
        let parts = blueprint.assemble(devices, config.cpus, &channel.reporter(Some(0)))?;
        let operator = Operator {
            sender: channel.sender.clone(),
        };
        let machine = control::Machine {
            parts,
            assembler: Box::new(blueprint),
            description,
            cpus: config.cpus,
            root,
            on_reset: config.on_reset,
            clock: Arc::clone(&clock),
            storage_patience: STORAGE_PATIENCE,
        };
        let control =
            control::spawn(channel, machine).map_err(Error::host("the control thread"))?;
        Ok(PausedVm(Vm::new(operator, control, counters, clock)))
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, ErrorKind};
    use crate::kvm::machine::KvmMachine;

    #[test]
    fn a_descriptor_that_is_not_kvm_is_refused_as_the_host_s_fault() {
        let error = KvmMachine::create(tempfile::tempfile().unwrap().into()).err();
        let error = error.expect("a file is not KVM");
        assert_eq!(error.kind(), ErrorKind::Host);
        assert!(matches!(error, Error::Kvm { .. }), "{error}");
    }
}
