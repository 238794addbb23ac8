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
use vmm::api::Server;
use vmm::config::DeviceConfig;
use vmm::handover::{End, Handover, Registration};
use vmm::process::descriptors;
use vmm::process::terminal::RawTerminal;
use vmm::process::termination::TerminationSignals;
use vmm::{ErrorKind, Operator, Statistics, StopReason, VmBuilder, VmConfig};

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
    let (registration, end) = match take_over() {
        Ok(mut handover) => {
            let mut registration = handover.registration.take();
            let outcome = run(handover, registration.as_mut());
            (
                registration,
                outcome.map_or_else(|e| failed(&e), |r| end(&r)),
            )
        }
        Err(error) => (None, failed(&error)),
    };
    let status = end.status;
    if let Some(registration) = registration
        && let Err(error) = registration.ended(&end)
    {
        log::error!("how the machine ended cannot be written down: {error}");
    }
    ExitCode::from(status)
}

fn take_over() -> anyhow::Result<Handover> {
    let number: RawFd = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .context("plinth-vmm is started by `plinth run`, not by hand")?;
    // SAFETY: the sender left this descriptor open for this process alone,
    // which has opened none yet.
    #[allow(unsafe_code)]
    Ok(unsafe { Handover::receive(number) }?)
}

fn run(
    handover: Handover,
    mut registration: Option<&mut Registration>,
) -> anyhow::Result<StopReason> {
    if let Some(registration) = &registration {
        let left = registration.leave_session();
        left.context("the machine cannot have a session of its own")?;
    }
    // Before any thread, for then it takes no time.
    descriptors::make_room(&handover.config.kvm);
    // Before any thread, too: they all are to leave these signals alone.
    let signals = TerminationSignals::block().context("signals cannot be waited for")?;
    let terminal = raw_terminal(&handover.config)?;
    let paused = VmBuilder::from_config(handover.config)
        .asked_at(handover.asked)
        .build()?;
    let server = handover
        .api
        .map(|listener| Server::spawn(listener, &paused.operator(), handover.console))
        .transpose()?;
    let vm = match paused.start() {
        // A client was quicker.
        Err(vmm::Error::Stopped) => return Ok(StopReason::Stopped),
        started => started?,
    };
    stop_on(signals, vm.operator())?;
    if let Some(registration) = &mut registration {
        registration.entered();
    }
    let reason = vm.wait();
    drop(terminal);
    // Whoever waits for the end over the socket has it now.
    drop(server);
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

fn write_report(report: OwnedFd, statistics: &Statistics) -> anyhow::Result<()> {
    let mut report = File::from(report);
    serde_json::to_writer(&mut report, statistics)?;
    report.write_all(b"\n")?;
    Ok(())
}

/// How the machine ended; said aloud where that is not what the user expects.
fn end(reason: &StopReason) -> End {
    let status = match reason {
        StopReason::PowerOff | StopReason::Reset => status::SUCCESS,
        StopReason::Crashed(_) | StopReason::Watchdog => {
            eprintln!("plinth: {reason}");
            status::CRASHED
        }
        StopReason::ResetFailed { kind, .. } => {
            eprintln!("plinth: {reason}");
            status_of(Some(*kind))
        }
        StopReason::PowerCut { .. } => {
            eprintln!("plinth: {reason}");
            status::ENDED
        }
        _ => status::ENDED,
    };
    End::now(status, reason.to_string()).for_reason(reason)
}

/// A machine that could not be started or run.
fn failed(error: &anyhow::Error) -> End {
    let message = format!("{error:#}");
    eprintln!("plinth: {message}");
    let error = error.downcast_ref::<vmm::Error>();
    End::now(status_of(error.map(vmm::Error::kind)), message)
}

fn status_of(kind: Option<ErrorKind>) -> u8 {
    match kind {
        Some(ErrorKind::Configuration) => status::CONFIGURATION,
        Some(ErrorKind::Host) => status::HOST,
        _ => status::UNEXPECTED,
    }
}
