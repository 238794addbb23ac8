//! The machine's platform devices, on its I/O ports.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use boot::layout;
use devices::bus::{Bus, BusDevice};
use devices::interrupt::InterruptLine;
use devices::platform::console::buffer::ConsoleBuffer;
use devices::platform::console::input::ConsoleInput;
use devices::platform::console::output::ConsoleOutput;
use devices::platform::i8042::{self, I8042};
use devices::platform::power::SleepRegisters;
use devices::platform::request::RequestSender;
use devices::platform::reset::ResetRegister;
use devices::platform::rtc::Rtc;
use devices::platform::serial::Serial;
use devices::reactor::{Attached, ReactorHandle};

use crate::config::ConsoleConfig;
use crate::error::{Error, Result};
use crate::kvm::machine::KvmMachine;

/// How long the last of the guest's output may take to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

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

/// The host's side of the serial port. Dropping it writes what the guest has
/// sent so far.
pub(crate) struct Console {
    output: Option<Attached<ConsoleOutput>>,
    input: Option<Attached<ConsoleInput>>,
}

impl Console {
    /// Puts a serial port on `ports` and connects it to `config`.
    pub(crate) fn add(
        config: ConsoleConfig,
        ports: &mut Bus,
        machine: &KvmMachine,
        reactor: &ReactorHandle,
        requests: &RequestSender,
    ) -> Result<Self> {
        let failed = Error::host("the serial console");
        let line = InterruptLine::new().map_err(&failed)?;
        machine.connect_interrupt(&line, layout::COM1_GSI)?;
        let buffer = ConsoleBuffer::new().map_err(&failed)?;
        let serial = Serial::new(line, buffer.clone()).map_err(&failed)?;
        insert(ports, layout::COM1_PORT.into(), 8, serial.clone())?;
        let output = ConsoleOutput::new(buffer.clone(), config.output).map_err(&failed)?;
        let output = Some(reactor.attach(output)?);
        let input = match config.input {
            Some(host) => {
                let input =
                    ConsoleInput::new(host, serial, buffer, requests.clone(), config.escapes);
                Some(reactor.attach(input.map_err(&failed)?)?)
            }
            None => None,
        };
        Ok(Self { output, input })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Input first: nobody is left to read it.
        if let Some(input) = self.input.take() {
            let _ = input.detach(Duration::ZERO);
        }
        if let Some(output) = self.output.take()
            && let Err(error) = output.detach(FLUSH_PATIENCE)
        {
            log::warn!("the end of the console's output is lost: {error}");
        }
    }
}
