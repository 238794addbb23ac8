//! The machine's platform devices, on its I/O ports.

use std::sync::{Arc, Mutex};

use boot::layout;
use devices::bus::{Bus, BusDevice};
use devices::console::buffer::ConsoleBuffer;
use devices::console::host::ConsoleHost;
use devices::interrupt::InterruptLine;
use devices::platform::i8042::{self, I8042};
use devices::platform::power::SleepRegisters;
use devices::platform::request::{MachineRequest, RequestSender};
use devices::platform::reset::ResetRegister;
use devices::platform::rtc::Rtc;
use devices::platform::serial::Serial;
use devices::reactor::ReactorHandle;

use crate::config::ConsoleConfig;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

/// Puts the ways to reset and power off, and a clock if `rtc`, on `ports`.
pub(crate) fn add_fixed(ports: &mut Bus, requests: &RequestSender, rtc: bool) -> Result<()> {
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

fn insert(ports: &mut Bus, base: u64, len: u64, device: impl BusDevice + 'static) -> Result<()> {
    Ok(ports.insert(base, len, Arc::new(Mutex::new(device)))?)
}

/// Puts a serial port on `ports` and connects it to `config`. Dropping what it
/// answers with writes what the guest has sent so far.
pub(crate) fn add_serial_console(
    config: ConsoleConfig,
    ports: &mut Bus,
    machine: &KvmMachine,
    reactor: &ReactorHandle,
    requests: &RequestSender,
) -> Result<ConsoleHost> {
    let failed = Error::host("the serial console");
    let line = InterruptLine::new().map_err(&failed)?;
    machine.connect_interrupt(&line, layout::COM1_GSI)?;
    let buffer = ConsoleBuffer::new().map_err(&failed)?;
    let serial = Serial::new(line, buffer.clone()).map_err(&failed)?;
    insert(ports, layout::COM1_PORT.into(), 8, serial.clone())?;
    let requests = requests.clone();
    let quit = move || requests.send(MachineRequest::UserQuit);
    ConsoleHost::attach(config, &buffer, serial, quit, reactor)
        .map_err(Error::device("the serial console"))
}
