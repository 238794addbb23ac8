//! The machine's platform devices, on its I/O ports.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use boot::{CpuCount, layout};
use devices::bus::{Bus, BusDevice};
use devices::console::buffer::ConsoleBuffer;
use devices::console::host::ConsoleHost;
use devices::interrupt::InterruptLine;
use devices::platform::cpu_count::{self, CpuCountRegister};
use devices::platform::events::{self, Event, EventRegister};
use devices::platform::i8042::{self, I8042};
use devices::platform::panic::PanicPort;
use devices::platform::pci_slots::{self, PciSlots};
use devices::platform::power::SleepRegisters;
use devices::platform::request::{MachineRequest, RequestSender};
use devices::platform::reset::ResetRegister;
use devices::platform::rtc::Rtc;
use devices::platform::serial::Serial;
use devices::platform::watchdog::{self, Watchdog, WatchdogTimer};
use devices::reactor::{Attached, ReactorHandle, Worker};

use crate::config::ConsoleConfig;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

/// What the console is called in messages.
const CONSOLE: &str = "the serial console";

/// Puts the ways to reset and power off, and a clock if `rtc`, on `ports`.
pub(crate) fn add_fixed(ports: &Bus, requests: &RequestSender, rtc: bool) -> Result<()> {
    let sleep = SleepRegisters::new(layout::SLEEP_TYPE_SOFT_OFF, requests.clone());
    let reset = ResetRegister::new(layout::RESET_VALUE, requests.clone());
    insert(ports, layout::SLEEP_CONTROL_PORT.into(), 2, sleep)?;
    insert(ports, layout::RESET_PORT.into(), 1, reset)?;
    insert(ports, i8042::BASE, i8042::LEN, I8042::new(requests.clone()))?;
    if rtc {
        insert(ports, layout::RTC_PORT.into(), 2, Rtc::new())?;
    }
    Ok(())
}

/// Puts the port on `ports` through which the guest tells that it panicked.
pub(crate) fn add_panic_port(ports: &Bus, on_panic: impl FnOnce() + Send + 'static) -> Result<()> {
    insert(
        ports,
        layout::PANIC_PORT.into(),
        1,
        PanicPort::new(on_panic),
    )
}

/// A watchdog that does not run.
pub(crate) fn make_watchdog() -> Result<Watchdog> {
    Watchdog::new(layout::WATCHDOG_MAX_S).map_err(Error::host("the watchdog"))
}

/// A watchdog and its timer, for one run of the guest. Dropping it stops the
/// timer.
pub(crate) struct WatchdogClock {
    watchdog: Watchdog,
    timer: Option<Attached<WatchdogTimer>>,
}

impl WatchdogClock {
    /// Puts `watchdog` on `ports` of a machine that is being switched on. When
    /// it runs out, it tells `requests`.
    pub(crate) fn start(
        watchdog: &Watchdog,
        ports: &Bus,
        reactor: &ReactorHandle,
        requests: &RequestSender,
    ) -> Result<Self> {
        watchdog.reset();
        let port = layout::WATCHDOG_PORT.into();
        insert(ports, port, watchdog::LEN, watchdog.clone())?;
        let timer = attach(watchdog.timer(requests.clone()), reactor, "the watchdog")?;
        Ok(Self {
            watchdog: watchdog.clone(),
            timer: Some(timer),
        })
    }

    /// Stops time, once vCPUs rest.
    pub(crate) fn hold(&self) {
        self.watchdog.hold();
    }

    /// Has time go on.
    pub(crate) fn release(&self) {
        self.watchdog.release();
    }
}

impl Drop for WatchdogClock {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let _ = timer.detach(Duration::ZERO);
        }
    }
}

/// How a running guest is told that the machine changed.
pub(crate) struct GuestEvents {
    /// All events, to remind the guest of what it has not looked at.
    pub(crate) register: EventRegister,
    /// Raised when the power button is pressed.
    pub(crate) power_button: Event,
    /// Raised when the VM generation id in guest memory has changed.
    #[expect(dead_code, reason = "nothing changes the id while a guest runs")]
    pub(crate) generation: Event,
    /// The slots of the PCI bus.
    pub(crate) pci_slots: PciSlots,
    /// How many vCPUs there are.
    pub(crate) cpu_count: CpuCountRegister,
}

impl GuestEvents {
    /// Puts the registers of a machine with `cpus` vCPUs on `ports` and
    /// connects their interrupt. `on_eject` is for [`PciSlots::new`].
    pub(crate) fn add(
        ports: &Bus,
        machine: &KvmMachine,
        cpus: CpuCount,
        on_eject: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let line = InterruptLine::new().map_err(Error::host("the event device"))?;
        machine.connect_interrupt(&line, layout::EVENT_GSI)?;
        Self::new(ports, line, cpus, on_eject)
    }

    /// The same with an interrupt that is connected already.
    pub(crate) fn new(
        ports: &Bus,
        line: InterruptLine,
        cpus: CpuCount,
        on_eject: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let register = EventRegister::new(line);
        let pci_slots = PciSlots::new(register.event(layout::EVENT_PCI_SLOTS), on_eject);
        let cpu_count = CpuCountRegister::new(cpus.get(), register.event(layout::EVENT_CPUS));
        let port = layout::EVENTS_PORT.into();
        insert(ports, port, events::LEN, register.clone())?;
        let port = layout::PCI_SLOTS_PORT.into();
        insert(ports, port, pci_slots::LEN, pci_slots.clone())?;
        let port = layout::CPU_COUNT_PORT.into();
        insert(ports, port, cpu_count::LEN, cpu_count.clone())?;
        Ok(Self {
            power_button: register.event(layout::EVENT_POWER_BUTTON),
            generation: register.event(layout::EVENT_GENERATION),
            register,
            pci_slots,
            cpu_count,
        })
    }
}

fn insert(ports: &Bus, base: u64, len: u64, device: impl BusDevice + 'static) -> Result<()> {
    Ok(ports.insert(base, len, Arc::new(Mutex::new(device)))?)
}

/// A serial port and the host's side of it, which outlive the guest's resets.
/// Dropping it writes what the guest has sent so far.
pub(crate) struct SerialConsole {
    serial: Serial,
    line: InterruptLine,
    _host: ConsoleHost,
}

impl SerialConsole {
    /// A serial port whose host's side is `config`. Its user ends the machine
    /// through `requests`.
    pub(crate) fn new(
        config: ConsoleConfig,
        reactor: &ReactorHandle,
        requests: &RequestSender,
    ) -> Result<Self> {
        let failed = Error::host(CONSOLE);
        let line = InterruptLine::new().map_err(&failed)?;
        let buffer = ConsoleBuffer::new().map_err(&failed)?;
        let serial = Serial::new(line.clone(), buffer.clone()).map_err(&failed)?;
        let requests = requests.clone();
        let quit = move || requests.send(MachineRequest::UserQuit);
        let host = ConsoleHost::attach(config, &buffer, serial.clone(), quit, reactor)
            .map_err(Error::device(CONSOLE))?;
        Ok(Self {
            serial,
            line,
            _host: host,
        })
    }

    /// Puts the serial port on `ports` of a machine that is being switched on.
    pub(crate) fn connect(&self, ports: &Bus, machine: &KvmMachine) -> Result<()> {
        self.serial.reset();
        machine.connect_interrupt(&self.line, layout::COM1_GSI)?;
        insert(ports, layout::COM1_PORT.into(), 8, self.serial.clone())
    }
}

/// Has `worker` work on `reactor`.
fn attach<W: Worker>(worker: W, reactor: &ReactorHandle, name: &str) -> Result<Attached<W>> {
    let attached = reactor.attach(worker).map_err(|refused| refused.reason);
    attached.map_err(Error::device(name))
}
