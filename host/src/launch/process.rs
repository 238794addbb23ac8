//! The machine's own process: `plinth-vmm`, with the configuration and its
//! descriptors and nothing else.
//!
//! In the foreground it takes this process's place. Detached, it is another,
//! in a session of its own.

use std::env;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vmm::handover::{Handover, Registration};

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::registry::new_machine::{Belongings, NewMachine};

use super::Launch;

/// Names the program, for tests and unusual installations.
const VARIABLE: &str = "PLINTH_VMM";

/// The program, beside this one.
const NAME: &str = "plinth-vmm";

/// Where the VM process's program is.
///
/// # Errors
/// It is not there.
pub fn program() -> Result<PathBuf, Error> {
    let program = match env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => env::current_exe()
            .map_err(|error| Error::unexpected("this program cannot find itself").because(error))?
            .with_file_name(NAME),
    };
    if program.is_file() {
        return Ok(program);
    }
    Err(
        Error::unexpected(format!("there is no program '{}'", program.display())).remedy(format!(
            "installing {NAME} beside plinth, or naming it in {VARIABLE}"
        )),
    )
}

/// Executes `program` with the machine that was `asked` for: from then on it
/// is this process. Returns only if that fails.
pub fn become_machine(
    program: &Path,
    launch: Launch,
    (mut machine, belongings): (NewMachine, Belongings),
    asked: Instant,
) -> Error {
    let command = hand_over(program, launch, belongings, None, asked);
    let started = command.and_then(|command| {
        machine.started(std::process::id())?;
        Ok(command)
    });
    let error = match started {
        // The descriptors that it inherits are open until this process ends.
        Ok((mut command, _memfd)) => unexecuted(program, command.exec()),
        Err(error) => error,
    };
    machine.failed();
    error
}

/// Starts `program` with the machine as a process that outlives this one, and
/// waits until the guest has been entered. If it was not, what the process
/// said is said again here, and its status is the answer.
///
/// # Errors
/// The process cannot be started, or was killed.
pub fn detach(
    program: &Path,
    launch: Launch,
    (mut machine, belongings): (NewMachine, Belongings),
    asked: Instant,
) -> Result<ExitStatus, Error> {
    let broken = |error: io::Error| Error::unexpected("the machine's start").because(error);
    let (heard, entered) = io::pipe().map_err(broken)?;
    let log = machine.log()?;
    let (mut command, _memfd) = hand_over(program, launch, belongings, Some(entered), asked)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| unexecuted(program, error))?;
    machine.started(child.id())?;
    if is_entered(&heard, &child).map_err(broken)? {
        return Ok(ExitStatus::Success);
    }
    let status = child.wait().map_err(broken)?;
    eprint!("{}", machine.said());
    machine.failed();
    match status.code() {
        Some(code) => Ok(ExitStatus::from_code(code)),
        None => Err(Error::unexpected(format!(
            "the VM process died before the guest was entered: {status}"
        ))),
    }
}

/// Whether the guest was entered before its process ended.
///
/// This process has the pipe's other end as well, as it has every descriptor
/// that was handed over, so it would wait for the pipe's end for ever.
fn is_entered(heard: &PipeReader, child: &Child) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut events = [
        PollFd::new(heard, PollFlags::IN),
        PollFd::new(&process, PollFlags::IN),
    ];
    retry_on_intr(|| poll(&mut events, None))?;
    Ok(events[0].revents().contains(PollFlags::IN))
}

/// The command that takes the machine over, and the file it reads it from,
/// which is to stay open until the command has been executed.
fn hand_over(
    program: &Path,
    launch: Launch,
    belongings: Belongings,
    entered: Option<PipeWriter>,
    asked: Instant,
) -> Result<(Command, OwnedFd), Error> {
    let handover = Handover {
        config: launch.config,
        asked,
        report: launch.report.map(Into::into),
        api: Some(belongings.api),
        console: launch.console,
        registration: Some(Registration {
            lock: belongings.lock,
            end: belongings.end,
            detached: entered.map(Into::into),
        }),
    };
    let memfd = handover
        .send()
        .map_err(|error| Error::unexpected("the machine cannot be handed over").because(error))?;
    let mut command = Command::new(program);
    command.arg(memfd.as_raw_fd().to_string());
    Ok((command, memfd))
}

fn unexecuted(program: &Path, error: io::Error) -> Error {
    Error::unexpected(format!("'{}' cannot be executed", program.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::registry::record::Record;
    use std::collections::BTreeMap;
    use std::fs::File;
    use vmm::config::BootConfig;
    use vmm::{CommandLine, CpuCount, MemoryConfig, MemoryLayout, Protocol, VmConfig};

    fn launch() -> Launch {
        let config = VmConfig {
            kvm: File::open("/dev/null").unwrap().into(),
            boot: BootConfig {
                kernel: File::open("/dev/null").unwrap(),
                initrd: None,
                command_line: CommandLine::new("").unwrap(),
                protocol: Protocol::Auto,
            },
            max_cpus: None,
            watchdog: false,
            generation_id: None,
            on_reset: vmm::OnReset::default(),
            cpus: CpuCount::new(1).unwrap(),
            memory: MemoryConfig {
                layout: MemoryLayout::new(64 << 20).unwrap(),
                backing: vmm::Backing::Anonymous,
                transparent_huge_pages: None,
                prefault: false,
            },
            identity: crate::option::smbios::default_identity(),
            console: None,
            rtc: false,
            transport: vmm::config::TransportKind::Pci,
            devices: Vec::new(),
        };
        Launch::new(config)
    }

    /// Detaches a machine whose process is a script of host/tests/vm-process;
    /// what came of it, and of the registry.
    fn detached(script: &str) -> (Result<ExitStatus, Error>, Registry, tempfile::TempDir) {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm-process");
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::at(directory.path().join("machines"));
        let record = Record::now(true, BTreeMap::new());
        let name = Some("web".parse().unwrap());
        let machine = registry.create(name, &record).unwrap();
        let outcome = detach(&scripts.join(script), launch(), machine, Instant::now());
        (outcome, registry, directory)
    }

    #[test]
    fn a_machine_that_is_entered_stays() {
        let (outcome, registry, _directory) = detached("entered.sh");
        assert_eq!(outcome.unwrap(), ExitStatus::Success);
        let machine = registry.find(&"web".parse().unwrap()).unwrap();
        assert!(machine.record().pid.is_some());
    }

    #[test]
    fn a_refusal_in_the_machines_process_is_the_commands_and_leaves_nothing() {
        let (outcome, registry, _directory) = detached("refused.sh");
        assert_eq!(outcome.unwrap(), ExitStatus::Host);
        assert!(registry.machines().unwrap().is_empty());
    }

    #[test]
    fn a_machines_process_that_is_killed_at_once_is_told() {
        let (outcome, registry, _directory) = detached("killed.sh");
        let error = outcome.unwrap_err();
        assert!(error.report().contains("died before the guest was entered"));
        assert!(registry.machines().unwrap().is_empty());
    }
}
