//! `plinth-vmm`, the per-VM process: takes a machine over from `plinth run`,
//! runs it, and ends with its guest.
//!
//! It opens nothing: its one argument is the number of the descriptor that
//! the [`Handover`] is read from. Its exit statuses are `plinth run`'s.

mod logger;
mod terminal;
mod termination;

use std::fs::File;
use std::io::Write;
use std::os::fd::{OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::{Arc, Weak};

use anyhow::Context;
use devices::thread;
use vmm::config::DeviceConfig;
use vmm::handover::Handover;
use vmm::{ErrorKind, Statistics, StopReason, Vm, VmBuilder, VmConfig};

use terminal::RawTerminal;
use termination::TerminationSignals;

/// Exit statuses, as `plinth run --help` lists them.
mod status {
    pub(crate) const UNEXPECTED: u8 = 1;
    pub(crate) const CONFIGURATION: u8 = 2;
    pub(crate) const HOST: u8 = 3;
    pub(crate) const CRASHED: u8 = 4;
    pub(crate) const ENDED: u8 = 5;
}

fn main() -> ExitCode {
    match run() {
        Ok(reason) => end(&reason),
        Err(error) => {
            eprintln!("plinth: {error:#}");
            let error = error.downcast_ref::<vmm::Error>();
            ExitCode::from(status_of(error.map(vmm::Error::kind)))
        }
    }
}

fn run() -> anyhow::Result<StopReason> {
    logger::start();
    let number: RawFd = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .context("plinth-vmm is started by `plinth run`, not by hand")?;
    // SAFETY: the sender left this descriptor open for this process alone,
    // which has opened none yet.
    #[allow(unsafe_code)]
    let handover = unsafe { Handover::receive(number) }?;
    // Before any thread: they all are to leave these signals alone.
    let signals = TerminationSignals::block().context("signals cannot be waited for")?;
    let terminal = raw_terminal(&handover.config)?;
    let paused = VmBuilder::from_config(handover.config)
        .asked_at(handover.asked)
        .build()?;
    let vm = Arc::new(paused.start()?);
    stop_on(signals, Arc::downgrade(&vm))?;
    let reason = vm.wait();
    drop(terminal);
    if let Some(report) = handover.report
        && let Err(error) = write_report(report, &vm.statistics())
    {
        // How the guest ended matters more, and is told by the caller.
        log::error!("the report cannot be written: {error:#}");
    }
    Ok(reason)
}

/// The terminal that the guest's console reads from, if it is one.
fn raw_terminal(config: &VmConfig) -> anyhow::Result<Option<RawTerminal>> {
    let consoles = config.devices.iter().filter_map(|device| match device {
        DeviceConfig::Console(console) => Some(console),
        _ => None,
    });
    let mut consoles = config.console.iter().chain(consoles);
    let Some(input) = consoles.find_map(|console| console.input.as_ref()) else {
        return Ok(None);
    };
    RawTerminal::enter(input).context("the terminal cannot be put into raw mode")
}

/// Has a termination signal stop the machine, if it is still there.
fn stop_on(signals: TerminationSignals, vm: Weak<Vm>) -> anyhow::Result<()> {
    let wait = move || {
        if let (Ok(name), Some(vm)) = (signals.wait(), vm.upgrade()) {
            log::info!("{name} stops the machine");
            let _ = vm.stop();
        }
    };
    let thread = thread::builder("signals");
    thread.spawn(wait).context("no thread can be started")?;
    Ok(())
}

fn write_report(report: OwnedFd, statistics: &Statistics) -> anyhow::Result<()> {
    let mut report = File::from(report);
    serde_json::to_writer(&mut report, statistics)?;
    report.write_all(b"\n")?;
    Ok(())
}

/// Says how the machine ended, where that is not what the user expects.
fn end(reason: &StopReason) -> ExitCode {
    match reason {
        StopReason::PowerOff | StopReason::Reset => ExitCode::SUCCESS,
        StopReason::Crashed(_) | StopReason::Watchdog => {
            eprintln!("plinth: {reason}");
            ExitCode::from(status::CRASHED)
        }
        StopReason::ResetFailed { kind, .. } => {
            eprintln!("plinth: {reason}");
            ExitCode::from(status_of(Some(*kind)))
        }
        _ => ExitCode::from(status::ENDED),
    }
}

fn status_of(kind: Option<ErrorKind>) -> u8 {
    match kind {
        Some(ErrorKind::Configuration) => status::CONFIGURATION,
        Some(ErrorKind::Host) => status::HOST,
        _ => status::UNEXPECTED,
    }
}
