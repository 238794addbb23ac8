//! `plinth-vmm`, the per-VM process: takes a machine over from `plinth run`,
//! runs it, and ends with its guest.
//!
//! It opens nothing: its one argument is the number of the descriptor that
//! the [`Handover`] is read from. Its exit statuses are `plinth run`'s.

mod logger;

use std::fs::File;
use std::io::Write;
use std::os::fd::{OwnedFd, RawFd};
use std::process::ExitCode;

use anyhow::Context;
use devices::thread;
use serde::Serialize;
use vmm::api::Server;
use vmm::handover::Handover;
use vmm::process::terminal::RawTerminal;
use vmm::process::termination::TerminationSignals;
use vmm::{Ending, ErrorKind, Operator, StopReason, VmBuilder, VmConfig};

/// Exit statuses, as `plinth run --help` lists them.
mod status {
    pub(crate) const SUCCESS: u8 = 0;
    pub(crate) const UNEXPECTED: u8 = 1;
    pub(crate) const CONFIGURATION: u8 = 2;
    pub(crate) const HOST: u8 = 3;
    pub(crate) const CRASHED: u8 = 4;
    pub(crate) const ENDED: u8 = 5;
}

fn main() -> ExitCode {
    logger::start();
    // The lock goes with the process: whoever finds it free finds the ending
    // written.
    let (outcome, end, _lock) = match receive() {
        Ok(mut handover) => {
            let (end, lock) = (handover.end.take(), handover.lock.take());
            (run(handover), end, lock)
        }
        Err(error) => (Err(error), None, None),
    };
    let ending = match outcome {
        Ok(reason) => Ending::stopped(&reason, status_of(&reason)),
        Err(error) => Ending::failed(format!("{error:#}"), status_of_error(&error)),
    };
    // What the user does not expect is said.
    if !matches!(ending.status, status::SUCCESS | status::ENDED) {
        eprintln!("plinth: {}", ending.message);
    }
    if let Some(end) = end
        && let Err(error) = write_json(end, &ending)
    {
        log::error!("how the machine ended cannot be written: {error:#}");
    }
    ExitCode::from(ending.status)
}

fn receive() -> anyhow::Result<Handover> {
    let number: RawFd = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .context("plinth-vmm is started by `plinth run`, not by hand")?;
    // SAFETY: the sender left this descriptor open for this process alone,
    // which has opened none yet.
    #[allow(unsafe_code)]
    let handover = unsafe { Handover::receive(number) }?;
    Ok(handover)
}

fn run(handover: Handover) -> anyhow::Result<StopReason> {
    if handover.entered.is_some() {
        // Signals meant for whoever started the machine do not come here.
        rustix::process::setsid().context("the machine cannot have a session of its own")?;
    }
    // Before any thread: they all are to leave these signals alone.
    let signals = TerminationSignals::block().context("signals cannot be waited for")?;
    let terminal = raw_terminal(&handover.config)?;
    let paused = VmBuilder::from_config(handover.config)
        .asked_at(handover.asked)
        .build()?;
    let server = handover
        .api
        .map(|listener| Server::spawn(listener, &paused.operator()))
        .transpose()?;
    let mut vm = match paused.start() {
        // A client was quicker.
        Err(vmm::Error::Stopped) => return Ok(StopReason::Stopped),
        started => started?,
    };
    stop_on(signals, vm.operator())?;
    if let Some(entered) = handover.entered {
        // If nobody waits for it any more, that is no matter.
        let _ = File::from(entered).write_all(b"1");
    }
    let reason = vm.wait();
    drop(terminal);
    // Whoever waits for the end over the socket has it now.
    drop(server);
    if let Some(report) = handover.report
        && let Err(error) = write_json(report, &vm.statistics())
    {
        // How the guest ended matters more, and is told by the caller.
        log::error!("the report cannot be written: {error:#}");
    }
    Ok(reason)
}

/// The terminal that the guest's console reads from, if it is one.
fn raw_terminal(config: &VmConfig) -> anyhow::Result<Option<RawTerminal>> {
    let console = config.console.as_ref();
    let Some(input) = console.and_then(|console| console.input.as_ref()) else {
        return Ok(None);
    };
    RawTerminal::enter(input).context("the terminal cannot be put into raw mode")
}

/// Has a termination signal stop the machine, if it is still there.
fn stop_on(signals: TerminationSignals, operator: Operator) -> anyhow::Result<()> {
    let wait = move || {
        if let Ok(name) = signals.wait() {
            log::info!("{name} stops the machine");
            let _ = operator.stop();
        }
    };
    let thread = thread::builder("signals");
    thread.spawn(wait).context("no thread can be started")?;
    Ok(())
}

fn write_json(file: OwnedFd, value: &impl Serialize) -> anyhow::Result<()> {
    let mut file = File::from(file);
    serde_json::to_writer(&mut file, value)?;
    file.write_all(b"\n")?;
    Ok(())
}

fn status_of(reason: &StopReason) -> u8 {
    match reason {
        StopReason::PowerOff | StopReason::Reset => status::SUCCESS,
        StopReason::Crashed(_) => status::CRASHED,
        _ => status::ENDED,
    }
}

fn status_of_error(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<vmm::Error>().map(vmm::Error::kind) {
        Some(ErrorKind::Configuration) => status::CONFIGURATION,
        Some(ErrorKind::Host) => status::HOST,
        _ => status::UNEXPECTED,
    }
}
