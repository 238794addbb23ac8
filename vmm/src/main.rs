//! `plinth-vmm`, the per-VM process: takes a machine over from `plinth run`,
//! runs it, and ends with its guest.
//!
//! It opens nothing: its one argument is the number of the descriptor that
//! the [`Handover`] is read from. Its exit statuses are `plinth run`'s.

use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use anyhow::Context;
use vmm::handover::Handover;
use vmm::{ErrorKind, Statistics, StopReason, VmBuilder};

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
            ExitCode::from(status_of(&error))
        }
    }
}

fn run() -> anyhow::Result<StopReason> {
    let number: RawFd = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .context("plinth-vmm is started by `plinth run`, not by hand")?;
    // SAFETY: the sender left this descriptor open for this process alone,
    // which has opened none yet.
    #[allow(unsafe_code)]
    let handover = unsafe { Handover::receive(OwnedFd::from_raw_fd(number)) }?;
    let mut vm = VmBuilder::from_config(handover.config)
        .asked_at(handover.asked)
        .build()?
        .start()?;
    let reason = vm.wait();
    if let Some(report) = handover.report {
        write_report(report, &vm.statistics()).context("the report cannot be written")?;
    }
    Ok(reason)
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
        StopReason::Crashed(_) => {
            eprintln!("plinth: {reason}");
            ExitCode::from(status::CRASHED)
        }
        _ => ExitCode::from(status::ENDED),
    }
}

fn status_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<vmm::Error>().map(vmm::Error::kind) {
        Some(ErrorKind::Configuration) => status::CONFIGURATION,
        Some(ErrorKind::Host) => status::HOST,
        _ => status::UNEXPECTED,
    }
}
